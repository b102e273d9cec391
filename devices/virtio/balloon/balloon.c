/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory balloon.
 *
 * Theory of operation. Five ways to deal with memory, each a queue with a role:
 *
 * - inflate: lists of page frame numbers (little-endian u32, 4 KiB pages whatever the guest's page
 *   size) that the guest does without. A list is copied in pieces, each piece is sorted and its
 *   neighbours joined, so that the host is asked once per range.
 * - deflate: pages that the guest uses again. Nothing to do: the first access gets a zeroed page.
 * - statistics: runs backwards. The guest gives a filled buffer, which is kept; giving it back asks
 *   for a newer one. The timer does so each interval.
 * - hinting: the API starts a run by a new command id in the configuration; the guest answers with
 *   the id, sends ranges of free memory and ends by CMD_STOP. It uses none of them until it is told
 *   CMD_DONE, so a range counts only while the run that it belongs to is the present one.
 * - reporting: ranges of free memory, which the guest does not use until the chain comes back.
 *
 * The specification numbers the queues by role [virtio-1.2 §5.5.2], but Linux leaves no gap for
 * one whose feature was not negotiated, on either transport [linux
 * drivers/virtio/virtio_mmio.c, vm_find_vqs]. So activate deals out the roles by the features that
 * the driver acknowledged.
 *
 * A chain may name any amount of memory, so its handling is a job that can pause between pieces:
 * each turn does a bounded amount of it and then lets other sources of the event loop run. The
 * chain stays in its queue until the job is done.
 *
 * What of a range can be given back is the backing's to say: gmem_discard affects whole pages only.
 * On 2 MiB pages of the hugetlb pool a scattered inflation frees nothing; in transparent huge pages
 * the kernel splits the page, and the rest of it costs more TLB entries from then on.
 */
#include "devices/virtio/balloon/balloon.h"

#include <stdlib.h>
#include <string.h>

#include "devices/virtio/balloon/balloon_internal.h"
#include "devices/virtio/core/virtio_state.h"
#include "vmm/base/bytes.h"

/* [virtio-1.2 §5.5.3] */
enum {
	F_STATS_VQ = 1,
	F_DEFLATE_ON_OOM = 2,
	F_FREE_PAGE_HINT = 3,
	F_PAGE_REPORTING = 5,
};

static const struct virtio_feature feature_names[] = {
	{F_STATS_VQ, "VIRTIO_BALLOON_F_STATS_VQ"},
	{F_DEFLATE_ON_OOM, "VIRTIO_BALLOON_F_DEFLATE_ON_OOM"},
	{F_FREE_PAGE_HINT, "VIRTIO_BALLOON_F_FREE_PAGE_HINT"},
	{F_PAGE_REPORTING, "VIRTIO_BALLOON_F_PAGE_REPORTING"},
};

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(balloon_metrics, activate_fails)},
	{METRIC_COUNT(balloon_metrics, inflate_count)},
	{METRIC_COUNT(balloon_metrics, stats_updates_count)},
	{METRIC_COUNT(balloon_metrics, stats_update_fails)},
	{METRIC_COUNT(balloon_metrics, deflate_count)},
	{METRIC_COUNT(balloon_metrics, event_fails)},
	{METRIC_COUNT(balloon_metrics, free_page_report_count)},
	{METRIC_ROW(balloon_metrics, free_page_report_freed, METRIC_COUNTER, METRIC_BYTES)},
	{METRIC_COUNT(balloon_metrics, free_page_report_fails)},
	{METRIC_COUNT(balloon_metrics, free_page_hint_count)},
	{METRIC_ROW(balloon_metrics, free_page_hint_freed, METRIC_COUNTER, METRIC_BYTES)},
	{METRIC_COUNT(balloon_metrics, free_page_hint_fails)},
};

const struct metric_group balloon_metric_group = {
	METRIC_GROUP("balloon", balloon_metrics, metric_fields, 0)};

static struct balloon *to_balloon(struct virtio_dev *dev)
{
	return container_of(dev, struct balloon, dev);
}

/* --- The queues --- */

/*
 * Does a part of a chain's job. One that is not done by the end of the turn stays in its queue, and
 * is taken again: by then its driver may have changed it, which the steps bear.
 */
static enum virtio_step take(struct virtio_dev *dev, unsigned queue,
			     const struct virtq_chain *chain)
{
	struct balloon *balloon = to_balloon(dev);
	struct job *job = &balloon->jobs[queue];

	if (!job->is_open || job->head != chain->head) {
		*job = (struct job){
			.is_open = true,
			.is_new = true,
			.head = chain->head,
			.seg = chain->readable,
		};
	}
	balloon_step(balloon, queue);
	while (job->is_open && dev->budget > 0) {
		virtio_spend(dev, 1);
		balloon_step(balloon, queue);
	}
	return job->is_open ? VIRTIO_LATER : VIRTIO_DONE;
}

static void fault(struct virtio_dev *dev, unsigned queue, enum virtq_result result)
{
	struct balloon *balloon = to_balloon(dev);

	balloon->jobs[queue].is_open = false;
	metric_add(balloon_fails(balloon, queue), 1);
	/* First, so that a buffer that is kept is always the chain that was taken last. */
	if (result == VIRTQ_BAD && balloon->roles[queue] == ROLE_STATS) {
		balloon_return_stats(balloon);
	}
}

/* --- Events --- */

static void queue_ready(struct virtio_dev *dev, unsigned index)
{
	if (to_balloon(dev)->roles[index] != ROLE_NONE) {
		virtio_serve(dev, index, TURN_STEPS);
	}
}

static void on_timer(struct ev_timer *timer)
{
	struct balloon *balloon = container_of(timer, struct balloon, timer);

	virtio_lock(&balloon->dev);
	balloon_request_stats(balloon);
	if (!balloon->dev.is_active) {
		balloon_set_timer(balloon, 0);
	}
	virtio_unlock(&balloon->dev);
}

/* --- State --- */

/*
 * What clients may ask for, as they were answered before: the latest statistics, and the run of
 * hinting, which virtio_resume ends. The command of the host is in the configuration, as are the
 * target and the size of the balloon. A job that was begun begins anew with its chain, and the
 * buffer of statistics is in its queue.
 */
struct balloon_state {
	uint32_t stats_present;
	uint64_t stats_values[BALLOON_STATS_TAGS];
	uint32_t guest_cmd;
	bool has_guest_cmd;
	uint32_t last_cmd;
};

VIRTIO_STATE_FITS(struct balloon_state);

static const struct codec_section section = {
	.tag = CODEC_TAG('V', 'B', 'A', 'L'), .version = 1, .name = "virtio-balloon"};

static void state_codec(struct codec *codec, void *own)
{
	struct balloon_state *state = own;

	codec_u32(codec, "stats_present", &state->stats_present);
	for (uint32_t i = 0; i < BALLOON_STATS_TAGS; i++) {
		codec_begin_item(codec, "stats", i);
		codec_u64(codec, "value", &state->stats_values[i]);
		codec_end(codec);
	}
	codec_u32(codec, "guest_cmd", &state->guest_cmd);
	codec_bool(codec, "has_guest_cmd", &state->has_guest_cmd);
	codec_u32(codec, "last_cmd", &state->last_cmd);
}

static void state_save(struct virtio_dev *dev, void *own)
{
	const struct balloon *balloon = to_balloon(dev);
	const struct hinting *hinting = &balloon->hinting;
	struct balloon_state *state = own;

	state->stats_present = balloon->stats.present;
	memcpy(state->stats_values, balloon->stats.values, sizeof(state->stats_values));
	state->guest_cmd = hinting->status.guest_cmd;
	state->has_guest_cmd = hinting->status.has_guest_cmd;
	state->last_cmd = hinting->last_cmd;
}

static int state_load(struct virtio_dev *dev, const void *own, struct error *err)
{
	struct balloon *balloon = to_balloon(dev);
	const struct balloon_state *state = own;

	if (state->stats_present >> BALLOON_STATS_TAGS != 0) {
		return error_set(err, ERR_CORRUPT, "it has statistics of unknown kinds: %#x",
				 state->stats_present);
	}
	balloon->stats.present = state->stats_present;
	memcpy(balloon->stats.values, state->stats_values, sizeof(state->stats_values));
	balloon->hinting = (struct hinting){
		.status =
			{
				.host_cmd = load_le32(dev->config + CONFIG_CMD_ID),
				.guest_cmd = state->guest_cmd,
				.has_guest_cmd = state->has_guest_cmd,
			},
		.last_cmd = state->last_cmd,
	};
	return 0;
}

static const struct virtio_config_field config_fields[] = {
	{"target", CONFIG_NUM_PAGES, CONFIG_ACTUAL - CONFIG_NUM_PAGES, VIRTIO_CONFIG_SAVED},
	{"size", CONFIG_ACTUAL, CONFIG_CMD_ID - CONFIG_ACTUAL, VIRTIO_CONFIG_SAVED},
	{"hinting command", CONFIG_CMD_ID, CONFIG_LEN - CONFIG_CMD_ID, VIRTIO_CONFIG_SAVED},
};

static const struct virtio_class_state class_state = {
	VIRTIO_CONFIG_FIELDS(config_fields),
	.section = &section,
	.size = sizeof(struct balloon_state),
	.codec = state_codec,
	.save = state_save,
	.load = state_load,
};

/* --- The driver --- */

static int activate(struct virtio_dev *dev, struct error *err)
{
	struct balloon *balloon = to_balloon(dev);
	unsigned count = 0;

	(void)err;
	for (unsigned i = 0; i < QUEUES_MAX; i++) {
		balloon->roles[i] = ROLE_NONE;
	}
	balloon->roles[count++] = ROLE_INFLATE;
	balloon->roles[count++] = ROLE_DEFLATE;
	if (virtio_has(dev, F_STATS_VQ)) {
		balloon->roles[count++] = ROLE_STATS;
	}
	if (virtio_has(dev, F_FREE_PAGE_HINT)) {
		balloon->roles[count++] = ROLE_HINT;
	}
	if (virtio_has(dev, F_PAGE_REPORTING)) {
		balloon->roles[count++] = ROLE_REPORT;
	}
	return 0;
}

/* The target stays: it is the API's. The timer is disarmed when it fires next, on its thread. */
static void reset(struct virtio_dev *dev)
{
	struct balloon *balloon = to_balloon(dev);

	for (unsigned i = 0; i < QUEUES_MAX; i++) {
		balloon->jobs[i].is_open = false;
	}
	balloon->has_stats_head = false;
	balloon->stats = (struct balloon_stats){0};
	balloon->hinting = (struct hinting){0};
	store_le32(dev->config + CONFIG_ACTUAL, 0);
	store_le32(dev->config + CONFIG_CMD_ID, CMD_STOP);
}

/* The driver may write `actual` alone [virtio-1.2 §5.5.4]; what lies beside it is dropped. */
static void config_write(struct virtio_dev *dev, size_t offset, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (offset + i >= CONFIG_ACTUAL && offset + i < CONFIG_CMD_ID) {
			dev->config[offset + i] = data[i];
		}
	}
}

/* The buffer of statistics goes back to its queue; after the pause it is read again, and kept. */
static void quiesce(struct virtio_dev *dev)
{
	struct balloon *balloon = to_balloon(dev);

	if (balloon->has_stats_head) {
		balloon->has_stats_head = false;
		virtq_rewind(&dev->queues[balloon->stats_index].vq, 1);
	}
}

/* A run of hinting ends, and the guest gets its pages back [compat]. */
static void resume(struct virtio_dev *dev)
{
	struct balloon *balloon = to_balloon(dev);

	if (dev->is_active && balloon->hinting.status.host_cmd >= CMD_FIRST) {
		balloon_set_host_cmd(balloon, CMD_DONE);
	}
}

static void destroy(struct virtio_dev *dev)
{
	balloon_free(to_balloon(dev));
}

const struct virtio_class balloon_class = {
	.type = VIRTIO_TYPE_BALLOON,
	.name = "balloon",
	.metrics = &balloon_metric_group,
	VIRTIO_FEATURES(feature_names),
	.state = &class_state,
	.config_write = config_write,
	.activate = activate,
	.queue_ready = queue_ready,
	.take = take,
	.fault = fault,
	.reset = reset,
	.quiesce = quiesce,
	.resume = resume,
	.destroy = destroy,
};

/* --- Making and changing --- */

static int check_amount(uint64_t amount_mib, uint64_t max_mib, uint64_t shown_mib,
			struct error *err)
{
	if (amount_mib > max_mib) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Requested memory should be less than %lluMiB",
				 (unsigned long long)shown_mib);
	}
	return 0;
}

static int build(struct balloon *balloon, const struct dev_env *env,
		 const struct balloon_config *config, struct error *err)
{
	bool has_stats = config->stats_polling_interval_s > 0;
	const struct virtio_params params = {
		.class = &balloon_class,
		.metrics = &balloon->metrics,
		.activate_fails = &balloon->metrics.activate_fails,
		.id = "balloon", /* [compat] */
		.features = (uint64_t)has_stats << F_STATS_VQ |
			    (uint64_t)config->deflate_on_oom << F_DEFLATE_ON_OOM |
			    (uint64_t)config->free_page_hinting << F_FREE_PAGE_HINT |
			    (uint64_t)config->free_page_reporting << F_PAGE_REPORTING,
		.queue_count =
			2U + has_stats + config->free_page_hinting + config->free_page_reporting,
		.config_len = CONFIG_LEN,
	};

	if (check_amount(config->amount_mib, AMOUNT_MAX_MIB, AMOUNT_MAX_MIB, err) < 0 ||
	    virtio_init(&balloon->dev, env, &params, err) < 0) {
		return -1;
	}
	balloon->has_stats = has_stats;
	balloon->has_hinting = config->free_page_hinting;
	balloon->stats_interval_s = config->stats_polling_interval_s;
	store_le32(balloon->dev.config + CONFIG_NUM_PAGES, config->amount_mib * PAGES_PER_MIB);
	balloon->timer = (struct ev_timer){.fn = on_timer, .is_frozen_with_guest = true};
	return has_stats ? ev_timer_init(&balloon->timer, env->loop, err) : 0;
}

int balloon_new(const struct dev_env *env, const struct balloon_config *config,
		struct balloon **out, struct error *err)
{
	struct balloon *balloon = calloc(1, sizeof(*balloon));

	if (balloon == NULL) {
		return error_sys(err, "Cannot allocate the balloon device");
	}
	if (build(balloon, env, config, err) < 0) {
		balloon_free(balloon);
		return -1;
	}
	*out = balloon;
	return 0;
}

void balloon_free(struct balloon *balloon)
{
	if (balloon == NULL) {
		return;
	}
	ev_timer_destroy(&balloon->timer);
	virtio_destroy(&balloon->dev);
	free(balloon);
}

struct virtio_dev *balloon_virtio(struct balloon *balloon)
{
	return &balloon->dev;
}

struct balloon_metrics *balloon_metrics(struct balloon *balloon)
{
	return &balloon->metrics;
}

static int check_active(const struct balloon *balloon, struct error *err)
{
	if (!balloon->dev.is_active) {
		return error_set(err, ERR_BAD_STATE, "Device not activated yet.");
	}
	return 0;
}

int balloon_set_amount(struct balloon *balloon, uint32_t amount_mib, struct error *err)
{
	uint64_t ram_mib = gmem_len(balloon->dev.mem) / MIB;
	int result = -1;

	virtio_lock(&balloon->dev);
	/* The message has what was asked for in place of the limit [compat]. */
	if (check_active(balloon, err) == 0 &&
	    check_amount(amount_mib, ram_mib, amount_mib, err) == 0 &&
	    check_amount(amount_mib, AMOUNT_MAX_MIB, AMOUNT_MAX_MIB, err) == 0) {
		store_le32(balloon->dev.config + CONFIG_NUM_PAGES, amount_mib * PAGES_PER_MIB);
		virtio_config_changed(&balloon->dev);
		result = 0;
	}
	virtio_unlock(&balloon->dev);
	return result;
}

int balloon_set_stats_interval(struct balloon *balloon, uint16_t seconds, struct error *err)
{
	if ((seconds > 0) != balloon->has_stats) {
		return error_set(err, ERR_BAD_STATE,
				 "Statistics cannot be enabled/disabled after activation.");
	}
	virtio_lock(&balloon->dev);
	if (seconds != balloon->stats_interval_s) {
		balloon->stats_interval_s = seconds;
		balloon_request_stats(balloon);
		if (balloon->is_timer_armed) {
			balloon_set_timer(balloon, seconds);
		}
	}
	virtio_unlock(&balloon->dev);
	return 0;
}

int balloon_get_stats(struct balloon *balloon, struct balloon_stats *stats, struct error *err)
{
	if (!balloon->has_stats) {
		return error_set(err, ERR_BAD_STATE,
				 "Received stats query when stats are disabled.");
	}
	virtio_lock(&balloon->dev);
	*stats = balloon->stats;
	stats->target_pages = load_le32(balloon->dev.config + CONFIG_NUM_PAGES);
	stats->actual_pages = load_le32(balloon->dev.config + CONFIG_ACTUAL);
	virtio_unlock(&balloon->dev);
	stats->target_mib = stats->target_pages / PAGES_PER_MIB;
	stats->actual_mib = stats->actual_pages / PAGES_PER_MIB;
	return 0;
}

static int check_hinting(const struct balloon *balloon, struct error *err)
{
	if (!balloon->has_hinting) {
		return error_set(err, ERR_BAD_STATE, "Attempting to use hinting when not enabled");
	}
	return 0;
}

int balloon_start_hinting(struct balloon *balloon, bool acknowledge_on_stop, struct error *err)
{
	struct hinting *hinting = &balloon->hinting;

	if (check_hinting(balloon, err) < 0) {
		return -1;
	}
	virtio_lock(&balloon->dev);
	int result = check_active(balloon, err);

	if (result == 0) {
		hinting->last_cmd++;
		if (hinting->last_cmd < CMD_FIRST) {
			hinting->last_cmd = CMD_FIRST;
		}
		hinting->acknowledge_on_stop = acknowledge_on_stop;
		balloon_set_host_cmd(balloon, hinting->last_cmd);
	}
	virtio_unlock(&balloon->dev);
	return result;
}

int balloon_stop_hinting(struct balloon *balloon, struct error *err)
{
	if (check_hinting(balloon, err) < 0) {
		return -1;
	}
	virtio_lock(&balloon->dev);
	int result = check_active(balloon, err);

	if (result == 0) {
		balloon_set_host_cmd(balloon, CMD_DONE);
	}
	virtio_unlock(&balloon->dev);
	return result;
}

int balloon_get_hinting(struct balloon *balloon, struct balloon_hinting *hinting, struct error *err)
{
	if (check_hinting(balloon, err) < 0) {
		return -1;
	}
	virtio_lock(&balloon->dev);
	*hinting = balloon->hinting.status;
	virtio_unlock(&balloon->dev);
	return 0;
}

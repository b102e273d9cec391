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
 * each turn does a bounded amount of it and then lets other sources of the event loop run.
 *
 * What of a range can be given back is the backing's to say: gmem_discard affects whole pages only.
 * On 2 MiB pages of the hugetlb pool a scattered inflation frees nothing; in transparent huge pages
 * the kernel splits the page, and the rest of it costs more TLB entries from then on.
 */
#include "devices/virtio/balloon.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "devices/virtio/balloon_internal.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

/* [virtio-1.2 §5.5.3] */
enum {
	F_STATS_VQ = 1,
	F_DEFLATE_ON_OOM = 2,
	F_FREE_PAGE_HINT = 3,
	F_PAGE_REPORTING = 5,
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

const struct metric_group balloon_metric_group = {METRIC_GROUP("balloon", metric_fields)};

static void on_timer(struct ev_source *source, uint32_t ready)
{
	struct balloon *balloon = container_of(source, struct balloon, timer);
	uint64_t expirations;

	(void)ready;
	if (read(source->fd, &expirations, sizeof(expirations)) < 0) {
		return; /* disarmed meanwhile */
	}
	virtio_lock(&balloon->dev);
	balloon_request_stats(balloon);
	if (!balloon->dev.is_active) {
		balloon_set_timer(balloon, 0);
	}
	virtio_unlock(&balloon->dev);
}

/* --- queues --- */

/* Opens the queue's next chain; false if there is none and the guest will notify of one. */
static bool open_job(struct balloon *balloon, unsigned index)
{
	struct job *job = &balloon->jobs[index];
	struct virtq *vq = &balloon->dev.queues[index].vq;

	switch (virtq_pop(vq, &job->chain)) {
	case VIRTQ_OK:
		job->is_open = true;
		job->is_new = true;
		job->seg = job->chain.readable;
		job->done = 0;
		return true;
	case VIRTQ_BAD:
		metric_add(balloon_fails(balloon, index), 1);
		virtq_push(vq, job->chain.head, 0);
		return true;
	case VIRTQ_BROKEN:
		metric_add(balloon_fails(balloon, index), 1);
		virtio_publish(&balloon->dev, index);
		virtio_break(&balloon->dev, index);
		return false;
	case VIRTQ_EMPTY:
		break;
	}
	virtio_publish(&balloon->dev, index);
	return virtq_arm_kick(vq);
}

static void queue_ready(struct virtio_dev *dev, unsigned index)
{
	struct balloon *balloon = container_of(dev, struct balloon, dev);
	struct job *job = &balloon->jobs[index];

	if (balloon->roles[index] == ROLE_NONE) {
		return;
	}
	for (unsigned cost = 0; cost < TURN_COST;) {
		if (!job->is_open && !open_job(balloon, index)) {
			return;
		}
		cost += job->is_open ? balloon_step(balloon, index) : STEP_COST;
	}
	virtio_publish(dev, index);
	virtio_requeue(dev, index);
}

static int activate(struct virtio_dev *dev, struct error *err)
{
	struct balloon *balloon = container_of(dev, struct balloon, dev);
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
	struct balloon *balloon = container_of(dev, struct balloon, dev);

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

static const struct virtio_ops ops = {
	.type = VIRTIO_TYPE_BALLOON,
	.name = "balloon",
	.config_write = config_write,
	.activate = activate,
	.queue_ready = queue_ready,
	.reset = reset,
};

/* --- the monitor's side --- */

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

static int init_timer(struct balloon *balloon, struct error *err)
{
	balloon->timer.fn = on_timer;
	balloon->timer.is_frozen_with_guest = true;
	balloon->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (balloon->timer.fd < 0) {
		return error_sys(err, "Cannot create the balloon's timer");
	}
	return ev_add(balloon->dev.loop, &balloon->timer, EPOLLIN, err);
}

static int init(struct balloon *balloon, const struct dev_env *env,
		const struct balloon_config *config, struct error *err)
{
	bool has_stats = config->stats_polling_interval_s > 0;
	const struct virtio_params params = {
		.ops = &ops,
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
	return has_stats ? init_timer(balloon, err) : 0;
}

int balloon_new(const struct dev_env *env, const struct balloon_config *config,
		struct balloon **out, struct error *err)
{
	struct balloon *balloon = calloc(1, sizeof(*balloon));

	if (!balloon) {
		return error_sys(err, "Cannot allocate the balloon device");
	}
	balloon->timer.fd = -1;
	if (init(balloon, env, config, err) < 0) {
		balloon_free(balloon);
		return -1;
	}
	*out = balloon;
	return 0;
}

void balloon_free(struct balloon *balloon)
{
	if (!balloon) {
		return;
	}
	if (balloon->timer.is_added) {
		ev_del(balloon->dev.loop, &balloon->timer);
	}
	fd_close(&balloon->timer.fd);
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

void balloon_resume(struct balloon *balloon)
{
	virtio_lock(&balloon->dev);
	if (balloon->dev.is_active && balloon->hinting.status.host_cmd >= CMD_FIRST) {
		balloon_set_host_cmd(balloon, CMD_DONE);
	}
	virtio_unlock(&balloon->dev);
}

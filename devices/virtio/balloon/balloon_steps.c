/* SPDX-License-Identifier: Apache-2.0 */
/* What the balloon does with a chain, role by role; see balloon.c. */
#include "devices/virtio/balloon/balloon_internal.h"

#include "devices/virtio/balloon/balloon_pfn.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

static const uint64_t range_piece = 32 * MIB;

struct metric *balloon_fails(struct balloon *balloon, unsigned index)
{
	switch (balloon->roles[index]) {
	case ROLE_STATS:
		return &balloon->metrics.stats_update_fails;
	case ROLE_HINT:
		return &balloon->metrics.free_page_hint_fails;
	case ROLE_REPORT:
		return &balloon->metrics.free_page_report_fails;
	case ROLE_NONE:
	case ROLE_INFLATE:
	case ROLE_DEFLATE:
	case ROLES:
		break;
	}
	return &balloon->metrics.event_fails;
}

static struct virtq *queue(struct balloon *balloon, unsigned index)
{
	return &balloon->dev.queues[index].vq;
}

static void close_job(struct balloon *balloon, unsigned index)
{
	balloon->jobs[index].is_open = false;
	virtq_push(queue(balloon, index), balloon->dev.chain.head, 0);
}

/* --- Inflate, deflate --- */

/* Keeps those of the first `count` numbers that are RAM; returns how many. */
static size_t keep_ram(struct balloon *balloon, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t page = (uint64_t)balloon->pfns[i] << PAGE_SHIFT;

		if (gmem_contains(balloon->dev.mem, GPA(page), UINT64_C(1) << PAGE_SHIFT)) {
			balloon->pfns[kept++] = balloon->pfns[i];
		}
	}
	return kept;
}

static void discard_pages(struct balloon *balloon, size_t count)
{
	size_t kept = keep_ram(balloon, count);
	size_t pages = 0;

	pfn_sort(balloon->pfns, kept);
	for (size_t at = 0; at < kept;) {
		struct pfn_range range;

		at += pfn_next_range(balloon->pfns + at, kept - at, &range);
		pages += range.count;
		if (gmem_discard(balloon->dev.mem, GPA((uint64_t)range.first << PAGE_SHIFT),
				 (uint64_t)range.count << PAGE_SHIFT) < 0) {
			log_guest_warn("Balloon: the host does not take %u pages at frame %#x",
				       range.count, range.first);
			metric_add(&balloon->metrics.event_fails, 1);
		}
	}
	if (pages < count) {
		log_guest_warn("Balloon: %zu of %zu page frame numbers are repeated or not RAM",
			       count - pages, count);
		metric_add(&balloon->metrics.event_fails, count - pages);
	}
}

static void step_inflate(struct balloon *balloon, unsigned index)
{
	struct job *job = &balloon->jobs[index];
	const struct virtq_chain *chain = &balloon->dev.chain;
	uint64_t left = chain->read_len - min_u64(job->done, chain->read_len);
	size_t count = min_u64(left / sizeof(uint32_t), PFNS_PER_PIECE);
	size_t len = count * sizeof(uint32_t);

	if (job->is_new) {
		job->is_new = false;
		metric_add(&balloon->metrics.inflate_count, 1);
		if (chain->read_len == 0 || chain->read_len % sizeof(uint32_t) != 0) {
			log_guest_warn("Balloon: a list of %u bytes", chain->read_len);
			metric_add(&balloon->metrics.event_fails, 1);
		}
	}
	if (count == 0 || virtq_chain_read(balloon->dev.mem, chain, (uint32_t)job->done,
					   balloon->pfns, len) < 0) {
		close_job(balloon, index);
		return;
	}
	discard_pages(balloon, count);
	job->done += len;
	virtio_spend(&balloon->dev, count / STEP_PFNS);
}

static void step_deflate(struct balloon *balloon, unsigned index)
{
	metric_add(&balloon->metrics.deflate_count, 1);
	close_job(balloon, index);
}

/* --- Hinting, reporting --- */

struct range_metrics {
	struct metric *count;
	struct metric *freed;
	struct metric *fails;
};

/* The bytes of whole 4 KiB pages within. */
static uint64_t whole_pages(uint64_t base, uint64_t len)
{
	uint64_t first = align_up(base, UINT64_C(1) << PAGE_SHIFT);
	uint64_t end = align_down(base + len, UINT64_C(1) << PAGE_SHIFT);

	return end > first ? end - first : 0;
}

/*
 * Gives back one piece of the writable segments. Pieces end on borders that all kinds of pages
 * share, so that none is lost between two pieces.
 */
static void step_range(struct balloon *balloon, unsigned index, const struct range_metrics *metrics)
{
	struct job *job = &balloon->jobs[index];
	const struct virtq_chain *chain = &balloon->dev.chain;

	if (job->seg >= chain->count || job->done >= chain->segs[job->seg].len) {
		close_job(balloon, index);
		return;
	}
	const struct virtq_seg *seg = &chain->segs[job->seg];
	uint64_t base = seg->gpa.v + job->done;
	uint64_t to_border = range_piece - base % range_piece;
	uint64_t len = min_u64(seg->len - job->done, to_border);

	if (job->done == 0) {
		metric_add(metrics->count, 1);
	}
	if (gmem_discard(balloon->dev.mem, GPA(base), len) < 0) {
		log_guest_warn("Balloon: the host does not take %#llx bytes at %#llx",
			       (unsigned long long)len, (unsigned long long)base);
		metric_add(metrics->fails, 1);
	} else {
		metric_add(metrics->freed, whole_pages(base, len));
	}
	job->done += len;
	if (job->done == seg->len) {
		job->seg++;
		job->done = 0;
	}
	virtio_spend(&balloon->dev, len / STEP_BYTES);
}

static void step_report(struct balloon *balloon, unsigned index)
{
	const struct range_metrics metrics = {
		.count = &balloon->metrics.free_page_report_count,
		.freed = &balloon->metrics.free_page_report_freed,
		.fails = &balloon->metrics.free_page_report_fails,
	};

	step_range(balloon, index, &metrics);
}

void balloon_set_host_cmd(struct balloon *balloon, uint32_t cmd)
{
	balloon->hinting.status.host_cmd = cmd;
	store_le32(balloon->dev.config + CONFIG_CMD_ID, cmd);
	virtio_config_changed(&balloon->dev);
}

/*
 * A command from the guest. The end of a run before the present one says nothing about this one,
 * which the guest has yet to see.
 */
static void take_guest_cmd(struct balloon *balloon, uint32_t cmd)
{
	struct hinting *hinting = &balloon->hinting;
	uint32_t before = hinting->status.has_guest_cmd ? hinting->status.guest_cmd : CMD_STOP;
	bool is_stale = before >= CMD_FIRST && before != hinting->status.host_cmd;

	hinting->status.guest_cmd = cmd;
	hinting->status.has_guest_cmd = true;
	if (cmd < CMD_FIRST && !is_stale && hinting->status.host_cmd >= CMD_FIRST &&
	    hinting->acknowledge_on_stop) {
		balloon_set_host_cmd(balloon, CMD_DONE);
	}
}

static void read_guest_cmd(struct balloon *balloon, const struct virtq_chain *chain)
{
	uint8_t bytes[CMD_LEN];

	if (chain->read_len == 0) {
		return; /* ranges alone */
	}
	if (chain->read_len != CMD_LEN ||
	    virtq_chain_read(balloon->dev.mem, chain, 0, bytes, sizeof(bytes)) < 0) {
		log_guest_warn("Balloon: a hinting command of %u bytes", chain->read_len);
		metric_add(&balloon->metrics.free_page_hint_fails, 1);
		return;
	}
	take_guest_cmd(balloon, load_le32(bytes));
}

/* Asked before each piece, since the API may end the run at any time. */
static bool is_hint_current(const struct balloon *balloon)
{
	const struct balloon_hinting *status = &balloon->hinting.status;

	return status->host_cmd >= CMD_FIRST && status->has_guest_cmd &&
	       status->guest_cmd == status->host_cmd;
}

static void step_hint(struct balloon *balloon, unsigned index)
{
	const struct range_metrics metrics = {
		.count = &balloon->metrics.free_page_hint_count,
		.freed = &balloon->metrics.free_page_hint_freed,
		.fails = &balloon->metrics.free_page_hint_fails,
	};
	struct job *job = &balloon->jobs[index];

	if (job->is_new) {
		job->is_new = false;
		read_guest_cmd(balloon, &balloon->dev.chain);
	}
	if (!is_hint_current(balloon)) {
		close_job(balloon, index);
		return;
	}
	step_range(balloon, index, &metrics);
}

/* --- Statistics --- */

void balloon_set_timer(struct balloon *balloon, uint16_t seconds)
{
	ev_timer_set(&balloon->timer, seconds * NS_PER_S, seconds * NS_PER_S);
	balloon->is_timer_armed = seconds > 0;
}

void balloon_return_stats(struct balloon *balloon)
{
	if (balloon->has_stats_head) {
		balloon->has_stats_head = false;
		virtq_push(queue(balloon, balloon->stats_index), balloon->stats_head, 0);
	}
}

void balloon_request_stats(struct balloon *balloon)
{
	if (balloon->dev.is_active && balloon->has_stats_head) {
		balloon_return_stats(balloon);
		virtio_publish(&balloon->dev, balloon->stats_index);
	}
}

static void take_stats(struct balloon *balloon, size_t len)
{
	for (size_t at = 0; at < len; at += STAT_LEN) {
		uint16_t tag = load_le16(balloon->stats_bytes + at);

		if (tag >= BALLOON_STATS_TAGS) {
			metric_add(&balloon->metrics.stats_update_fails, 1);
			continue;
		}
		balloon->stats.present |= UINT32_C(1) << tag;
		balloon->stats.values[tag] = load_le64(balloon->stats_bytes + at + sizeof(tag));
	}
}

/*
 * Keeps the buffer even if its contents are useless, since giving it back is the only way to ask
 * again. A second one means that the driver does not keep to the rules; then the first goes back.
 */
static void step_stats(struct balloon *balloon, unsigned index)
{
	const struct virtq_chain *chain = &balloon->dev.chain;
	uint32_t len = chain->read_len;

	metric_add(&balloon->metrics.stats_updates_count, 1);
	if (len % STAT_LEN != 0 || len > sizeof(balloon->stats_bytes) ||
	    virtq_chain_read(balloon->dev.mem, chain, 0, balloon->stats_bytes, len) < 0) {
		log_guest_warn("Balloon: statistics of %u bytes", len);
		metric_add(&balloon->metrics.stats_update_fails, 1);
	} else {
		take_stats(balloon, len);
	}
	if (balloon->has_stats_head) {
		log_guest_warn("Balloon: a second buffer for statistics");
		balloon_return_stats(balloon);
	}
	balloon->jobs[index].is_open = false;
	balloon->has_stats_head = true;
	balloon->stats_head = chain->head;
	balloon->stats_index = index;
	if (!balloon->is_timer_armed) {
		balloon_set_timer(balloon, balloon->stats_interval_s);
	}
	virtio_spend(&balloon->dev, len / STAT_LEN / STEP_PFNS);
}

void balloon_step(struct balloon *balloon, unsigned index)
{
	switch (balloon->roles[index]) {
	case ROLE_INFLATE:
		step_inflate(balloon, index);
		break;
	case ROLE_DEFLATE:
		step_deflate(balloon, index);
		break;
	case ROLE_STATS:
		step_stats(balloon, index);
		break;
	case ROLE_HINT:
		step_hint(balloon, index);
		break;
	case ROLE_REPORT:
		step_report(balloon, index);
		break;
	case ROLE_NONE:
	case ROLES:
		break;
	}
}

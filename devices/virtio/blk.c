/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device.
 *
 * Theory of operation
 *
 * A chain is taken, its header copied and checked (blk_req.h), the rate limit asked, and what is
 * left is a struct blk_io: calls on the file (blk_io.h). The Sync engine makes them at once; the
 * Async one has a slot for each request in flight. Either way a request ends in finish(), which
 * writes the status byte and the used entry. A wake ends in settle(): all that was queued is
 * submitted, what ended by then is given back, and each queue is published once.
 *
 * A queue is left alone in three cases, with its chains untaken. Its budget of a wake is used up:
 * it is called again after other sources. The rate limit is reached: the timer goes on with all
 * queues. All slots are in flight: it is in `starved`, and the next completion goes on with it. For
 * the last two, queues take turns in being first.
 *
 * What a request in flight needs is in its slot, and nobody forgets one: a reset and blk_free wait
 * for all of them and drop the answers, a new file and blk_drain wait and give the answers. So none
 * can meet another driver's queues, or another file.
 *
 * A flush covers the writes that were answered before it was made available [virtio-1.2 §5.2.6.2];
 * others may be in flight beside it, in any order.
 */
#include "devices/virtio/blk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "devices/virtio/blk_io.h"
#include "devices/virtio/blk_req.h"
#include "devices/virtio/blk_sync.h"
#include "devices/virtio/blk_uring.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

enum {
	BLK_OPS = BLK_OP_ZEROES + 1,
	/* A chain has room for a header and a status besides. */
	SEGS_MAX = VIRTQ_CHAIN_MAX - 2,
	/* The fields up to the last that one of our features needs [virtio-1.2 §5.2.4]. */
	CONFIG_LEN = 60,
};

/* What one queue may move until others have their turn, but for its last request. */
#define BYTES_PER_WAKE (16 * MIB)

#define BLK_METRIC_BYTES(field) METRIC_ROW(blk_metrics, field, METRIC_COUNTER, METRIC_BYTES)
#define BLK_METRIC_LATENCY(field) METRIC_ROW(blk_metrics, field, METRIC_LATENCY, METRIC_US)

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(blk_metrics, activate_fails)},
	{METRIC_COUNT(blk_metrics, cfg_fails)},
	{METRIC_COUNT(blk_metrics, no_avail_buffer)},
	{METRIC_COUNT(blk_metrics, event_fails)},
	{METRIC_COUNT(blk_metrics, execute_fails)},
	{METRIC_COUNT(blk_metrics, invalid_reqs_count)},
	{METRIC_COUNT(blk_metrics, flush_count)},
	{METRIC_COUNT(blk_metrics, queue_event_count)},
	{METRIC_COUNT(blk_metrics, rate_limiter_event_count)},
	{METRIC_COUNT(blk_metrics, update_count)},
	{METRIC_COUNT(blk_metrics, update_fails)},
	{BLK_METRIC_BYTES(read_bytes)},
	{BLK_METRIC_BYTES(write_bytes)},
	{METRIC_COUNT(blk_metrics, read_count)},
	{METRIC_COUNT(blk_metrics, write_count)},
	{BLK_METRIC_LATENCY(read_agg)},
	{BLK_METRIC_LATENCY(write_agg)},
	{METRIC_COUNT(blk_metrics, rate_limiter_throttled_events)},
	{METRIC_COUNT(blk_metrics, io_engine_throttled_events)},
	{METRIC_COUNT(blk_metrics, remaining_reqs_count)},
};

const struct metric_group blk_metric_group = {METRIC_GROUP("block", metric_fields)};

struct blk {
	struct virtio_dev dev;

	/* immutable */
	bool is_writeback;
	struct ev_source completions; /* of uring; fd -1 without one */

	struct blk_metrics metrics; /* shared */
	struct log_limit failures;  /* of the host: shared */

	/* under the device's lock */
	struct blk_uring *uring; /* NULL: the Sync engine */
	struct blk_file file;	 /* borrowed */
	struct blk_disk disk;
	struct limiter limiter;
	uint32_t touched;     /* queues with chains pushed and not published, as bits */
	uint32_t starved;     /* queues that wait for a slot */
	unsigned turn;	      /* the queue that is first when several may go on */
	int failing[BLK_OPS]; /* why the last request of this kind failed; 0: it did not */
	struct virtq_chain chain;
	struct blk_io io; /* the Sync engine's one */
	struct iovec iov[VIRTQ_IOV_MAX];
};

static struct blk *of_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct blk, dev);
}

/* --- The end of a request --- */

static void push(struct blk *blk, unsigned queue, uint16_t head, uint32_t written)
{
	virtq_push(&blk->dev.queues[queue].vq, head, written);
	blk->touched |= UINT32_C(1) << queue;
}

/* `data_len` bytes of data were written before the status. */
static void give_back(struct blk *blk, const struct blk_io *io, uint8_t status, uint32_t data_len)
{
	/* Checked to be RAM when the chain was taken. */
	(void)!gmem_write(blk->dev.mem, io->status, &status, sizeof(status));
	push(blk, io->queue, io->head, data_len + 1);
}

static uint64_t now_ns(const struct blk *blk)
{
	return blk->dev.clock->now_ns(CLOCK_MONOTONIC);
}

static void count_done(struct blk *blk, const struct blk_io *io)
{
	struct blk_metrics *metrics = &blk->metrics;
	uint64_t us = (now_ns(blk) - io->started_ns) / 1000;

	switch (io->op) {
	case BLK_OP_READ:
		metric_add(&metrics->read_count, 1);
		metric_add(&metrics->read_bytes, io->data_len);
		metric_latency_add(&metrics->read_agg, us);
		break;
	case BLK_OP_WRITE:
		metric_add(&metrics->write_count, 1);
		metric_add(&metrics->write_bytes, io->data_len);
		metric_latency_add(&metrics->write_agg, us);
		break;
	case BLK_OP_FLUSH:
		metric_add(&metrics->flush_count, 1);
		break;
	case BLK_OP_GET_ID:
	case BLK_OP_DISCARD:
	case BLK_OP_ZEROES:
		break;
	}
}

/* The log has each kind of failure once, until such a request succeeds again. */
static void count_failed(struct blk *blk, const struct blk_io *io)
{
	static const char *const names[BLK_OPS] = {
		[BLK_OP_READ] = "read",	      [BLK_OP_WRITE] = "write",
		[BLK_OP_FLUSH] = "flush",     [BLK_OP_GET_ID] = "read",
		[BLK_OP_DISCARD] = "discard", [BLK_OP_ZEROES] = "write zeroes",
	};

	metric_add(&blk->metrics.execute_fails, 1);
	if (blk->failing[io->op] != io->sys) {
		blk->failing[io->op] = io->sys;
		log_limited_warn(&blk->failures, "The drive %s failed to %s: %s (os error %d)",
				 blk->dev.id, names[io->op], error_os_text(io->sys), io->sys);
	}
}

static void finish(struct blk *blk, const struct blk_io *io, enum blk_progress progress)
{
	if (progress == BLK_IO_FAILED) {
		count_failed(blk, io);
		give_back(blk, io, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	blk->failing[io->op] = 0;
	count_done(blk, io);
	give_back(blk, io, VIRTIO_BLK_S_OK, io->op == BLK_OP_READ ? io->data_len : 0);
}

/* Submits what is queued and gives back what has ended. */
static void reap(struct blk *blk)
{
	enum blk_progress progress;
	struct blk_io *io;

	while (blk->uring != NULL && (io = blk_uring_reap(blk->uring, &progress)) != NULL) {
		finish(blk, io, progress);
	}
}

static void publish(struct blk *blk)
{
	for (unsigned i = 0; blk->touched != 0; i++) {
		uint32_t bit = UINT32_C(1) << i;

		if (blk->touched & bit) {
			blk->touched &= ~bit;
			virtio_publish(&blk->dev, i);
		}
	}
}

/* With nothing in flight no completion goes on with queues that wait for one. */
static void resume_starved(struct blk *blk)
{
	if (blk->starved == 0 || blk_uring_in_flight(blk->uring) > 0) {
		return;
	}
	for (unsigned i = 0; i < blk->dev.queue_count; i++) {
		if (blk->starved >> i & 1) {
			virtio_requeue(&blk->dev, i);
		}
	}
	blk->starved = 0;
}

static void settle(struct blk *blk)
{
	reap(blk);
	resume_starved(blk);
	publish(blk);
}

/* --- The way of a request --- */

enum taken {
	TAKEN_ONE,
	TAKEN_NONE, /* there was none, and the next one is notified of */
	TAKEN_STOP, /* none now; somebody goes on later */
};

static void refuse(struct blk *blk, const struct blk_io *io, uint8_t status)
{
	metric_add(&blk->metrics.invalid_reqs_count, status != VIRTIO_BLK_S_OK);
	if (status != VIRTIO_BLK_S_OK) {
		log_guest_warn("The drive %s refused a request (status %u)", blk->dev.id, status);
	}
	give_back(blk, io, status, 0);
}

/* The ranges of a discard or zeroes, copied out of the chain; a status. */
static uint8_t copy_ranges(struct blk *blk, const struct blk_req *req, struct blk_io *io)
{
	uint8_t bytes[BLK_RANGES_MAX * BLK_RANGE_LEN];

	if (req->data.len > sizeof(bytes) ||
	    virtq_chain_read(blk->dev.mem, &blk->chain, req->data.offset, bytes, req->data.len) <
		    0) {
		return VIRTIO_BLK_S_IOERR;
	}
	io->range_count = req->data.len / BLK_RANGE_LEN;
	return blk_req_ranges(&blk->disk, req->op, bytes, req->data.len, io->ranges);
}

static uint8_t map_data(struct blk *blk, const struct blk_req *req, struct blk_io *io)
{
	struct virtq_iov iov = {.iov = io->iov, .cap = VIRTQ_IOV_MAX};

	if (virtq_chain_iov(blk->dev.mem, &blk->chain, req->data, &iov) < 0) {
		return VIRTIO_BLK_S_IOERR;
	}
	io->iov_count = iov.count;
	io->offset = req->offset;
	io->len = req->data.len;
	io->data_len = req->data.len;
	return VIRTIO_BLK_S_OK;
}

/* Fills the rest of *io; a status. */
static uint8_t prepare(struct blk *blk, const struct blk_req *req, struct blk_io *io)
{
	io->op = req->op;
	io->range_count = 0;
	io->data_len = 0;
	switch (req->op) {
	case BLK_OP_READ:
	case BLK_OP_WRITE:
		return map_data(blk, req, io);
	case BLK_OP_DISCARD:
	case BLK_OP_ZEROES:
		return copy_ranges(blk, req, io);
	case BLK_OP_FLUSH:
	case BLK_OP_GET_ID:
		break;
	}
	return VIRTIO_BLK_S_OK;
}

/* What a request takes from the bandwidth: zeroes as if they came from the guest. */
static uint64_t cost(const struct blk_io *io)
{
	return io->op == BLK_OP_ZEROES ? io->ranges[0].len : io->data_len;
}

static void give_id(struct blk *blk, const struct blk_io *io)
{
	if (virtq_chain_write(blk->dev.mem, &blk->chain, 0, blk->file.id, BLK_ID_LEN) < 0) {
		refuse(blk, io, VIRTIO_BLK_S_IOERR);
		return;
	}
	give_back(blk, io, VIRTIO_BLK_S_OK, BLK_ID_LEN);
}

static void start(struct blk *blk, struct blk_io *io)
{
	enum blk_progress progress = blk_io_start(io);

	io->started_ns = now_ns(blk);
	if (progress == BLK_IO_MORE && blk->uring != NULL) {
		blk_uring_queue(blk->uring, io);
		return;
	}
	if (progress == BLK_IO_MORE) {
		progress = blk_sync_run(blk->file.fd, io);
	}
	finish(blk, io, progress);
}

/* Does what blk->chain asks for, by *io; *bytes counts what is moved. */
static enum taken handle(struct blk *blk, unsigned queue, struct blk_io *io, uint64_t *bytes)
{
	const struct virtq_chain *chain = &blk->chain;
	uint8_t header[BLK_HEADER_LEN] = {0};
	uint8_t status = VIRTIO_BLK_S_OK;
	struct blk_req req = {0};
	enum blk_verdict verdict = BLK_REQ_BAD;

	if (virtq_chain_read(blk->dev.mem, chain, 0, header, sizeof(header)) == 0) {
		verdict = blk_req_parse(&blk->disk, chain, header, &req, &status);
	}
	if (verdict == BLK_REQ_BAD) {
		metric_add(&blk->metrics.invalid_reqs_count, 1);
		push(blk, queue, chain->head, 0);
		return TAKEN_ONE;
	}
	const struct virtq_seg *last = &chain->segs[chain->count - 1];

	io->queue = (uint16_t)queue;
	io->head = chain->head;
	io->status = GPA(last->gpa.v + last->len - 1);
	status = verdict == BLK_REQ_OK ? prepare(blk, &req, io) : status;
	bool is_refused = verdict == BLK_REQ_ANSWER || status != VIRTIO_BLK_S_OK;
	uint64_t len = is_refused ? 0 : cost(io);

	if (!limiter_take(&blk->limiter, len)) {
		metric_add(&blk->metrics.rate_limiter_throttled_events, 1);
		virtq_undo_pop(&blk->dev.queues[queue].vq);
		blk->turn = queue;
		return TAKEN_STOP;
	}
	*bytes += len;
	if (is_refused) {
		refuse(blk, io, status);
	} else if (req.op == BLK_OP_GET_ID) {
		give_id(blk, io);
	} else {
		start(blk, io);
	}
	return TAKEN_ONE;
}

static enum taken take(struct blk *blk, unsigned queue, uint64_t *bytes)
{
	struct virtq *vq = &blk->dev.queues[queue].vq;
	struct blk_io *io = blk->uring != NULL ? blk_uring_slot(blk->uring) : &blk->io;

	if (io == NULL) {
		/* Also if it looks empty: the guest may fill it behind that look. */
		metric_add(&blk->metrics.io_engine_throttled_events, virtq_pending(vq) > 0);
		blk->starved |= UINT32_C(1) << queue;
		return TAKEN_STOP;
	}
	switch (virtq_pop(vq, &blk->chain)) {
	case VIRTQ_EMPTY:
		return virtq_arm_kick(vq) ? TAKEN_ONE : TAKEN_NONE;
	case VIRTQ_OK:
		metric_add(&blk->metrics.remaining_reqs_count, virtq_pending(vq));
		return handle(blk, queue, io, bytes);
	case VIRTQ_BAD:
		metric_add(&blk->metrics.invalid_reqs_count, 1);
		push(blk, queue, blk->chain.head, 0);
		return TAKEN_ONE;
	case VIRTQ_BROKEN:
		virtio_break(&blk->dev, queue);
		return TAKEN_STOP;
	}
	return TAKEN_STOP;
}

static void serve(struct blk *blk, unsigned queue)
{
	struct virtq *vq = &blk->dev.queues[queue].vq;
	enum taken taken = TAKEN_ONE;
	uint64_t bytes = 0;

	if (vq->size == 0) { /* the driver does not use it, or it is broken */
		return;
	}
	virtq_disarm_kick(vq);
	for (unsigned i = 0; i < vq->size && bytes < BYTES_PER_WAKE && taken == TAKEN_ONE; i++) {
		taken = take(blk, queue, &bytes);
	}
	settle(blk);
	if (taken == TAKEN_ONE) {
		virtio_requeue(&blk->dev, queue);
	}
}

/* Serves those of the queues in `mask`, another one first each time. */
static void serve_some(struct blk *blk, uint32_t mask)
{
	unsigned count = blk->dev.queue_count;
	unsigned first = blk->turn;

	blk->turn = (first + 1) % count;
	for (unsigned i = 0; i < count; i++) {
		unsigned queue = (first + i) % count;

		if (mask >> queue & 1) {
			serve(blk, queue);
		}
	}
}

/* --- Events --- */

static void queue_ready(struct virtio_dev *dev, unsigned index)
{
	struct blk *blk = of_dev(dev);

	metric_add(&blk->metrics.queue_event_count, 1);
	if (blk->limiter.is_blocked) {
		metric_add(&blk->metrics.rate_limiter_throttled_events, 1);
		return;
	}
	if (virtq_pending(&dev->queues[index].vq) == 0) {
		metric_add(&blk->metrics.no_avail_buffer, 1);
	}
	serve(blk, index);
}

static void limiter_ready(struct ev_source *source, uint32_t ready)
{
	struct blk *blk = container_of(source, struct blk, limiter.timer);

	(void)ready;
	virtio_lock(&blk->dev);
	if (limiter_drain(&blk->limiter)) {
		metric_add(&blk->metrics.rate_limiter_event_count, 1);
		if (blk->dev.is_active) {
			serve_some(blk, UINT32_MAX);
		}
	}
	virtio_unlock(&blk->dev);
}

static void completions_ready(struct ev_source *source, uint32_t ready)
{
	struct blk *blk = container_of(source, struct blk, completions);

	(void)ready;
	virtio_lock(&blk->dev);
	if (blk->dev.is_active) {
		reap(blk);
		uint32_t starved = blk->starved;

		blk->starved = 0;
		serve_some(blk, starved);
		settle(blk);
	}
	virtio_unlock(&blk->dev);
}

static void config_write(struct virtio_dev *dev, size_t offset, const uint8_t *data, size_t len)
{
	(void)offset;
	(void)data;
	(void)len;
	metric_add(&of_dev(dev)->metrics.cfg_fails, 1);
}

static void reset(struct virtio_dev *dev)
{
	struct blk *blk = of_dev(dev);

	if (blk->uring != NULL) {
		blk_uring_abandon(blk->uring);
	}
	blk->touched = 0;
	blk->starved = 0;
}

static const struct virtio_ops ops = {
	.type = VIRTIO_TYPE_BLOCK,
	.name = "block",
	.config_write = config_write,
	.queue_ready = queue_ready,
	.reset = reset,
};

/* --- Making and changing --- */

static uint64_t features(const struct blk_config *config, unsigned queue_count)
{
	uint64_t bits = UINT64_C(1) << VIRTIO_BLK_F_SEG_MAX;

	if (config->cache_type == BLK_CACHE_WRITEBACK) {
		bits |= UINT64_C(1) << VIRTIO_BLK_F_FLUSH;
	}
	if (queue_count > 1) {
		bits |= UINT64_C(1) << VIRTIO_BLK_F_MQ;
	}
	if (config->is_read_only) {
		return bits | UINT64_C(1) << VIRTIO_BLK_F_RO;
	}
	return bits | UINT64_C(1) << VIRTIO_BLK_F_DISCARD |
	       UINT64_C(1) << VIRTIO_BLK_F_WRITE_ZEROES;
}

static void set_file(struct blk *blk, const struct blk_file *file)
{
	blk->file = *file;
	memset(blk->failing, 0, sizeof(blk->failing));
	blk->disk.sectors = file->sectors;
	store_le64(blk->dev.config + offsetof(struct virtio_blk_config, capacity), file->sectors);
}

/* Fields of features that are not offered stay 0. */
static void fill_config(struct blk *blk)
{
	uint8_t *config = blk->dev.config;
	unsigned queue_count = blk->dev.queue_count;

	store_le32(config + offsetof(struct virtio_blk_config, seg_max), SEGS_MAX);
	if (queue_count > 1) {
		store_le16(config + offsetof(struct virtio_blk_config, num_queues),
			   (uint16_t)queue_count);
	}
	if (blk->disk.is_read_only) {
		return;
	}
	store_le32(config + offsetof(struct virtio_blk_config, max_discard_sectors),
		   BLK_DISCARD_SECTORS_MAX);
	store_le32(config + offsetof(struct virtio_blk_config, max_discard_seg), BLK_RANGES_MAX);
	store_le32(config + offsetof(struct virtio_blk_config, discard_sector_alignment), 1);
	store_le32(config + offsetof(struct virtio_blk_config, max_write_zeroes_sectors),
		   BLK_ZEROES_SECTORS_MAX);
	store_le32(config + offsetof(struct virtio_blk_config, max_write_zeroes_seg),
		   BLK_ZEROES_RANGES_MAX);
	config[offsetof(struct virtio_blk_config, write_zeroes_may_unmap)] = 1;
}

static int start_uring(struct blk *blk, struct error *err)
{
	if (blk_uring_new(blk->file.fd, &blk->uring, err) < 0) {
		return -1;
	}
	blk->completions.fd = blk_uring_event_fd(blk->uring);
	return ev_add(blk->dev.loop, &blk->completions, EPOLLIN | EPOLLET, err);
}

static int build(struct blk *blk, const struct dev_env *env, const struct blk_config *config,
		 struct error *err)
{
	unsigned queue_count = config->num_queues > 0 ? config->num_queues : 1;
	const struct virtio_params params = {
		.ops = &ops,
		.activate_fails = &blk->metrics.activate_fails,
		.id = config->drive_id,
		.features = features(config, queue_count),
		.queue_count = queue_count,
		.config_len = CONFIG_LEN,
	};

	if (virtio_init(&blk->dev, env, &params, err) < 0 ||
	    limiter_init(&blk->limiter, env->loop, env->clock, limiter_ready, err) < 0) {
		return -1;
	}
	if (config->has_rate_limiter &&
	    limiter_configure(&blk->limiter, &config->rate_limiter, err) < 0) {
		return -1;
	}
	set_file(blk, &blk->file);
	fill_config(blk);
	return config->io_engine == BLK_ENGINE_ASYNC ? start_uring(blk, err) : 0;
}

int blk_new(const struct dev_env *env, const struct blk_config *config, const struct blk_file *file,
	    struct blk **out, struct error *err)
{
	struct blk *blk = calloc(1, sizeof(*blk));

	if (blk == NULL) {
		return error_sys(err, "Cannot allocate the drive %s", config->drive_id);
	}
	blk->is_writeback = config->cache_type == BLK_CACHE_WRITEBACK;
	blk->disk.is_read_only = config->is_read_only;
	blk->io.iov = blk->iov;
	blk->completions.fd = -1;
	blk->completions.fn = completions_ready;
	blk->completions.is_frozen_with_guest = true;
	blk->file = *file;
	if (build(blk, env, config, err) < 0) {
		blk->file.fd = -1;
		blk_free(blk);
		return -1;
	}
	*out = blk;
	return 0;
}

/* Under the lock: gives all answers that are owed. */
static void drain(struct blk *blk)
{
	reap(blk);
	while (blk->uring != NULL && blk_uring_in_flight(blk->uring) > 0) {
		blk_uring_wait(blk->uring);
		reap(blk);
	}
	settle(blk);
}

static void synchronise(struct blk *blk)
{
	if (blk->is_writeback && !blk->disk.is_read_only && blk->file.fd >= 0 &&
	    fdatasync(blk->file.fd) < 0) {
		log_error("The drive %s can't be synchronised: %s (os error %d)", blk->dev.id,
			  error_os_text(errno), errno);
	}
}

void blk_free(struct blk *blk)
{
	if (blk == NULL) {
		return;
	}
	if (blk->completions.fd >= 0) {
		ev_del(blk->dev.loop, &blk->completions);
	}
	virtio_destroy(&blk->dev);
	limiter_destroy(&blk->limiter);
	blk_uring_free(blk->uring);
	synchronise(blk);
	free(blk);
}

struct virtio_dev *blk_virtio(struct blk *blk)
{
	return &blk->dev;
}

struct blk_metrics *blk_metrics(struct blk *blk)
{
	return &blk->metrics;
}

int blk_set_file(struct blk *blk, const struct blk_file *file, struct error *err)
{
	virtio_lock(&blk->dev);
	drain(blk);
	int rc = blk->uring != NULL ? blk_uring_set_file(blk->uring, file->fd, err) : 0;

	if (rc == 0) {
		set_file(blk, file);
		virtio_config_changed(&blk->dev);
	}
	virtio_unlock(&blk->dev);
	metric_add(rc == 0 ? &blk->metrics.update_count : &blk->metrics.update_fails, 1);
	return rc;
}

int blk_set_limits(struct blk *blk, const struct limiter_config *limits, struct error *err)
{
	virtio_lock(&blk->dev);
	int rc = limiter_configure(&blk->limiter, limits, err);

	for (unsigned i = 0; rc == 0 && blk->dev.is_active && i < blk->dev.queue_count; i++) {
		virtio_requeue(&blk->dev, i);
	}
	virtio_unlock(&blk->dev);
	return rc;
}

void blk_drain(struct blk *blk)
{
	virtio_lock(&blk->dev);
	drain(blk);
	synchronise(blk);
	virtio_unlock(&blk->dev);
}

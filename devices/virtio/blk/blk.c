/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device.
 *
 * Theory of operation. A chain is taken, its header copied and checked (blk_req.h), the rate limit
 * asked, and what is left is a struct blk_io: calls on the file (blk_io.h). The Async engine has a
 * slot of its io_uring for each request in flight. So has the Sync one, but it does at once what
 * waits for no disk, such as a read of the page cache. Where a file is in memory, or the host
 * refuses io_uring, all its calls are made at once, and wait as long as they must. Either way a
 * request ends in finish(), which writes the status byte and the used entry. A turn ends in
 * settle(): all that was queued is submitted, what ended by then is given back, and each queue is
 * published once.
 *
 * A queue is left alone in three cases, with its chains untaken. Its budget of a turn is used up:
 * it is called again after other sources. The rate limit is reached: the timer goes on with all
 * queues. There is no slot for it: it is in `starved`, and the next completion goes on with it. For
 * the last two, queues take turns in being first.
 *
 * A request of several calls may take as long as its driver likes, so `lone` has it alone, with
 * nothing else in flight. Its calls are made one by one, and between two of them other sources of
 * the loop have their turn. Without slots it is given the turns of its queue, in next(). With slots
 * only those too long for one call are alone; where something is in flight such a request stays in
 * its queue, and nothing else is taken either (is_clearing) until the slots are free.
 *
 * What a request in flight needs is in its slot, and nobody forgets one: a reset and blk_free wait
 * for all calls and drop the answers, a new file and a pause wait and give the answers. They don't
 * wait for the calls that a lone request has before it: it goes back to its queue, and is done
 * anew. So no call can meet another driver's queues, or another file.
 *
 * A flush covers the writes that were answered before it was made available [virtio-1.2 §5.2.6.2];
 * others may be in flight beside it, in any order.
 */
#include "devices/virtio/blk/blk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "devices/virtio/blk/blk_io.h"
#include "devices/virtio/blk/blk_overlay.h"
#include "devices/virtio/blk/blk_req.h"
#include "devices/virtio/blk/blk_rings.h"
#include "devices/virtio/blk/blk_sync.h"
#include "devices/virtio/blk/blk_uring.h"
#include "devices/virtio/core/virtio_leave.h"
#include "devices/virtio/core/virtio_state.h"
#include "vmm/base/bytes.h"
#include "vmm/base/file_lock.h"
#include "vmm/base/log.h"

enum {
	BLK_OPS = BLK_OP_ZEROES + 1,
	/* A chain has room for a header and a status besides. */
	SEGS_MAX = VIRTQ_CHAIN_MAX - 2,
	/* The fields up to the last that one of our features needs [virtio-1.2 §5.2.4]. */
	CONFIG_LEN = 60,
	LIMITS_AT = 8,		 /* behind the capacity */
	LOCK_PATIENCE_MS = 1000, /* at a start: nobody runs yet */
};

/*
 * A turn of a queue: as many requests, or 16 MiB, but for its last request. What calls without an
 * io_uring wait for counts too, since small requests of a slow disk move few bytes. A flush ends
 * the turn then, and so do four changes of the file's extents.
 */
enum {
	TURN_STEPS = 256,
	STEP_BYTES = 64 * 1024,
	STEP_US = 8,
	FALLOCATE_STEPS = TURN_STEPS / 4,
};

static const struct virtio_feature feature_names[] = {
	{VIRTIO_BLK_F_SEG_MAX, "VIRTIO_BLK_F_SEG_MAX"},
	{VIRTIO_BLK_F_RO, "VIRTIO_BLK_F_RO"},
	{VIRTIO_BLK_F_FLUSH, "VIRTIO_BLK_F_FLUSH"},
	{VIRTIO_BLK_F_MQ, "VIRTIO_BLK_F_MQ"},
	{VIRTIO_BLK_F_DISCARD, "VIRTIO_BLK_F_DISCARD"},
	{VIRTIO_BLK_F_WRITE_ZEROES, "VIRTIO_BLK_F_WRITE_ZEROES"},
};

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

const struct metric_group blk_metric_group = {METRIC_GROUP("block", blk_metrics, metric_fields, 2)};

struct blk {
	struct virtio_dev dev;

	/* immutable */
	bool is_writeback;
	enum blk_io_engine engine;
	struct blk_uring *ring;	      /* NULL: the host refuses it to the Sync engine */
	struct blk_rings *rings;      /* where the ring is from; NULL: it is the drive's own */
	struct ev_source completions; /* of ring; fd -1 without one */

	bool is_synchronised; /* whoever freed the drive has done it */

	struct blk_metrics metrics; /* shared */
	struct log_limit failures;  /* of the host: shared */

	/* under the device's lock */
	struct blk_uring *uring; /* the ring if the file has a use for it, else NULL */
	unsigned waiting;	 /* calls that are not tried first, as bits of enum blk_call */
	struct blk_file file;	 /* borrowed */
	struct blk_disk disk;
	struct limiter limiter;
	uint32_t touched;     /* queues with chains pushed and not published, as bits */
	uint32_t starved;     /* queues that wait for a slot */
	struct blk_io *lone;  /* in flight, and nothing is taken until it ends; NULL: none */
	bool is_clearing;     /* nothing is taken, for a request that is to be alone */
	unsigned turn;	      /* the queue that is first when several may go on */
	int failing[BLK_OPS]; /* why the last request of this kind failed; 0: it did not */
	struct blk_io io;     /* the one there is without slots */
	struct iovec iov[VIRTQ_IOV_MAX];
};

static struct blk *to_blk(struct virtio_dev *dev)
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

static void count_done(struct blk *blk, const struct blk_io *io)
{
	struct blk_metrics *metrics = &blk->metrics;
	uint64_t us = (virtio_look(&blk->dev) - io->started_ns) / NS_PER_US;

	virtio_spend(&blk->dev, us / STEP_US);
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
	virtio_spend(&blk->dev, TURN_STEPS); /* disks take their time to fail */
	if (blk->failing[io->op] != io->sys) {
		blk->failing[io->op] = io->sys;
		log_limited_warn(&blk->failures, "The drive %s failed to %s: %s (os error %d)",
				 blk->dev.id, names[io->op], error_os_text(io->sys), io->sys);
	}
}

static unsigned in_flight(const struct blk *blk)
{
	return blk->uring != NULL ? blk_uring_in_flight(blk->uring) : blk->lone != NULL;
}

static void finish(struct blk *blk, const struct blk_io *io, enum blk_progress progress)
{
	blk->lone = io == blk->lone ? NULL : blk->lone;
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

		if ((blk->touched & bit) != 0) {
			blk->touched &= ~bit;
			virtio_publish(&blk->dev, i);
		}
	}
}

/* With nothing in flight no completion goes on with queues that wait for one. */
static void resume_starved(struct blk *blk)
{
	if (blk->starved == 0 || in_flight(blk) > 0) {
		return;
	}
	for (unsigned i = 0; i < blk->dev.queue_count; i++) {
		if (blk->starved >> i & 1) {
			virtio_kick(&blk->dev, i);
		}
	}
	blk->starved = 0;
}

/* Calls that a disk is waited for with. */
static bool is_busy(const struct virtio_dev *dev)
{
	const struct blk *blk = container_of(dev, struct blk, dev);

	return blk->uring != NULL && in_flight(blk) > 0;
}

static void settle(struct blk *blk)
{
	reap(blk);
	resume_starved(blk);
	publish(blk);
	if (!is_busy(&blk->dev)) {
		virtio_note_idle(&blk->dev);
	}
}

/* --- The way of a request --- */

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
	    virtq_chain_read(blk->dev.mem, &blk->dev.chain, req->data.offset, bytes,
			     req->data.len) < 0) {
		return VIRTIO_BLK_S_IOERR;
	}
	io->range_count = req->data.len / BLK_RANGE_LEN;
	return blk_req_ranges(&blk->disk, req->op, bytes, req->data.len, io->ranges);
}

static uint8_t map_data(struct blk *blk, const struct blk_req *req, struct blk_io *io)
{
	struct virtq_iov iov = {.iov = io->iov, .cap = VIRTQ_IOV_MAX};

	if (virtq_chain_iov(blk->dev.mem, &blk->dev.chain, req->data, &iov) < 0) {
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
	io->overlay = blk->file.overlay;
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
	if (virtq_chain_write(blk->dev.mem, &blk->dev.chain, 0, blk->file.id, BLK_ID_LEN) < 0) {
		refuse(blk, io, VIRTIO_BLK_S_IOERR);
		return;
	}
	give_back(blk, io, VIRTIO_BLK_S_OK, BLK_ID_LEN);
}

/* What the next call takes of the turn, besides its step. io_uring's threads flush and allocate. */
static uint64_t work(const struct blk *blk, const struct blk_step *step)
{
	switch (step->call) {
	case BLK_CALL_READV:
	case BLK_CALL_WRITEV:
		return step->len / STEP_BYTES;
	case BLK_CALL_FALLOCATE:
		return blk->uring != NULL ? 0 : FALLOCATE_STEPS;
	case BLK_CALL_FDATASYNC:
		break;
	}
	return blk->uring != NULL ? 0 : TURN_STEPS;
}

/* Makes the next call on this thread. With slots only if that waits for no disk. */
static enum blk_progress call(struct blk *blk, struct blk_io *io)
{
	const struct blk_step step = blk_io_step(io);

	virtio_spend(&blk->dev, work(blk, &step));
	if (blk->uring == NULL) {
		return blk_sync_step(blk->file.fd, io, &step);
	}
	return blk_uring_is_allocating(blk->uring)
		       ? BLK_IO_MORE
		       : blk_sync_try(blk->file.fd, io, &step, &blk->waiting);
}

static void start(struct blk *blk, struct blk_io *io)
{
	enum blk_progress progress = blk_io_start(io);

	io->started_ns = blk->dev.now_ns;
	if (progress == BLK_IO_MORE) {
		progress = call(blk, io);
	}
	if (progress != BLK_IO_MORE) {
		finish(blk, io, progress);
		return;
	}
	blk->lone = blk->uring == NULL || blk_io_is_long(io) ? io : NULL;
	if (blk->uring != NULL) {
		blk_uring_queue(blk->uring, io);
	}
}

/* Without slots, when a request of several calls ends, queues that wait are first. */
static enum virtio_step go_on(struct blk *blk)
{
	struct blk_io *io = blk->lone;
	enum blk_progress progress = call(blk, io);

	if (progress == BLK_IO_MORE) {
		return VIRTIO_DONE;
	}
	finish(blk, io, progress);
	return blk->starved != 0 ? VIRTIO_LATER : VIRTIO_DONE;
}

/* A slot to fill; NULL: all are in flight. */
static struct blk_io *find_slot(struct blk *blk)
{
	return blk->uring != NULL ? blk_uring_slot(blk->uring) : &blk->io;
}

static bool has_room(struct blk *blk)
{
	blk->is_clearing = blk->is_clearing && in_flight(blk) > 0;
	return blk->lone == NULL && !blk->is_clearing && find_slot(blk) != NULL;
}

static enum virtio_step next(struct virtio_dev *dev, unsigned queue)
{
	struct blk *blk = to_blk(dev);

	if (blk->uring == NULL && blk->lone != NULL && blk->lone->queue == queue) {
		return go_on(blk);
	}
	if (!has_room(blk)) {
		/* Also if it looks empty: the guest may fill it behind that look. */
		metric_add(&blk->metrics.io_engine_throttled_events,
			   virtq_pending(&dev->queues[queue].vq) > 0);
		blk->starved |= UINT32_C(1) << queue;
		return VIRTIO_WAIT;
	}
	return VIRTIO_TAKE;
}

/* Parses and maps the chain into *io, and *req if it is fine; a verdict, and a status with it. */
static enum blk_verdict parse(struct blk *blk, struct blk_io *io, struct blk_req *req,
			      uint8_t *status)
{
	const struct virtq_chain *chain = &blk->dev.chain;
	uint8_t header[BLK_HEADER_LEN] = {0};
	enum blk_verdict verdict = BLK_REQ_BAD;

	if (virtq_chain_read(blk->dev.mem, chain, 0, header, sizeof(header)) == 0) {
		verdict = blk_req_parse(&blk->disk, chain, header, req, status);
	}
	if (verdict == BLK_REQ_BAD) {
		return verdict;
	}
	const struct virtq_seg *last = &chain->segs[chain->count - 1];

	io->head = chain->head;
	io->status = GPA(last->gpa.v + last->len - 1);
	*status = verdict == BLK_REQ_OK ? prepare(blk, req, io) : *status;
	return *status == VIRTIO_BLK_S_OK ? verdict : BLK_REQ_ANSWER;
}

static enum virtio_step take(struct virtio_dev *dev, unsigned queue,
			     const struct virtq_chain *chain)
{
	struct blk *blk = to_blk(dev);
	struct blk_io *io = find_slot(blk);
	struct blk_req req = {0};
	uint8_t status = VIRTIO_BLK_S_OK;

	metric_add(&blk->metrics.remaining_reqs_count, virtq_pending(&dev->queues[queue].vq));
	io->queue = (uint16_t)queue;
	enum blk_verdict verdict = parse(blk, io, &req, &status);

	if (verdict == BLK_REQ_BAD) {
		metric_add(&blk->metrics.invalid_reqs_count, 1);
		push(blk, queue, chain->head, 0);
		return VIRTIO_DONE;
	}
	if (verdict == BLK_REQ_OK && blk_io_is_long(io) && in_flight(blk) > 0) {
		blk->is_clearing = true;
		blk->starved |= UINT32_C(1) << queue;
		blk->turn = queue;
		return VIRTIO_WAIT;
	}
	if (verdict == BLK_REQ_OK && io->overlay != NULL && blk_overlay_must_wait(io)) {
		/* What it waits for is in flight, and goes on with the queue when it ends. */
		blk->starved |= UINT32_C(1) << queue;
		return VIRTIO_WAIT;
	}
	uint64_t len = verdict == BLK_REQ_OK ? cost(io) : 0;

	if (!limiter_take(&blk->limiter, len)) {
		metric_add(&blk->metrics.rate_limiter_throttled_events, 1);
		blk->turn = queue;
		return VIRTIO_WAIT;
	}
	if (verdict == BLK_REQ_ANSWER) {
		refuse(blk, io, status);
	} else if (req.op == BLK_OP_GET_ID) {
		give_id(blk, io);
	} else {
		start(blk, io);
	}
	return VIRTIO_DONE;
}

static void fault(struct virtio_dev *dev, unsigned queue, enum virtq_result result)
{
	(void)queue;
	metric_add(&to_blk(dev)->metrics.invalid_reqs_count, result == VIRTQ_BAD);
}

static void end_turn(struct virtio_dev *dev, unsigned queue)
{
	(void)queue;
	settle(to_blk(dev));
}

/* Serves the first of the queues in `mask`, another one each time, and has the others follow. */
static void serve_some(struct blk *blk, uint32_t mask)
{
	unsigned count = blk->dev.queue_count;
	unsigned first = blk->turn;

	blk->turn = (first + 1) % count;
	for (unsigned i = 0, served = 0; i < count; i++) {
		unsigned queue = (first + i) % count;

		if ((mask >> queue & 1) == 0) {
			continue;
		}
		if (served++ == 0) {
			virtio_serve(&blk->dev, queue, TURN_STEPS);
		} else {
			virtio_kick(&blk->dev, queue);
		}
	}
}

/* --- Events --- */

static void queue_ready(struct virtio_dev *dev, unsigned index)
{
	struct blk *blk = to_blk(dev);

	metric_add(&blk->metrics.queue_event_count, 1);
	if (blk->limiter.is_blocked) {
		metric_add(&blk->metrics.rate_limiter_throttled_events, 1);
		return;
	}
	if (virtq_pending(&dev->queues[index].vq) == 0) {
		metric_add(&blk->metrics.no_avail_buffer, 1);
	}
	virtio_serve(dev, index, TURN_STEPS);
}

static void on_limiter(struct ev_timer *timer)
{
	struct blk *blk = container_of(timer, struct blk, limiter.timer);

	virtio_lock(&blk->dev);
	limiter_unblock(&blk->limiter);
	metric_add(&blk->metrics.rate_limiter_event_count, 1);
	serve_some(blk, UINT32_MAX);
	virtio_unlock(&blk->dev);
}

static void on_completions(struct ev_source *source, uint32_t ready)
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

/* --- State --- */

/* The limit is all: nothing is in flight by then, and what waited is in its queue. */
static const struct codec_section section = {
	.tag = CODEC_TAG('V', 'B', 'L', 'K'), .version = 1, .name = "virtio-blk"};

static struct limiter *limiter_of(struct virtio_dev *dev)
{
	return &to_blk(dev)->limiter;
}

/* The file may have another size by now, as after blk_set_file. */
static const struct virtio_config_field config_fields[] = {
	{"capacity in sectors", 0, LIMITS_AT, VIRTIO_CONFIG_NOW},
	{"set of limits", LIMITS_AT, CONFIG_LEN - LIMITS_AT, VIRTIO_CONFIG_SAME},
};

static const struct virtio_class_state class_state = {
	VIRTIO_CONFIG_FIELDS(config_fields),
	.section = &section,
	.limiter = limiter_of,
};

/* --- The driver --- */

static void config_write(struct virtio_dev *dev, size_t offset, const uint8_t *data, size_t len)
{
	(void)offset;
	(void)data;
	(void)len;
	metric_add(&to_blk(dev)->metrics.cfg_fails, 1);
}

/* Nothing is in flight any more, and what was is not answered. */
static void forget_calls(struct blk *blk)
{
	blk->lone = NULL;
	if (blk->file.overlay != NULL) {
		blk_overlay_forget(blk->file.overlay);
	}
}

static void reset(struct virtio_dev *dev)
{
	struct blk *blk = to_blk(dev);

	if (blk->uring != NULL) {
		/* A disk may take its time; nobody else uses the ring of an inactive device. */
		virtio_unlock(dev);
		blk_uring_abandon(blk->uring);
		virtio_lock(dev);
	}
	forget_calls(blk);
	blk->touched = 0;
	blk->starved = 0;
	blk->is_clearing = false;
}

/* A lone request goes back to its queue, where it was the last to be taken. */
static void put_back(struct blk *blk)
{
	unsigned queue;

	if (blk->lone == NULL) {
		return;
	}
	queue = blk->lone->queue;
	if (blk->uring != NULL) {
		blk_uring_abandon(blk->uring);
	}
	forget_calls(blk);
	virtq_rewind(&blk->dev.queues[queue].vq, 1);
	virtio_kick(&blk->dev, queue);
}

/* Under the lock: gives all answers that are owed, but for that of a lone request. */
static void drain(struct blk *blk)
{
	put_back(blk);
	reap(blk);
	while (blk->uring != NULL && blk_uring_in_flight(blk->uring) > 0) {
		blk_uring_wait(blk->uring);
		reap(blk);
	}
	settle(blk);
}

/* As a flush, which writes the map of an overlay too. Nothing is in flight. */
static void synchronise(struct blk *blk)
{
	struct blk_io io = {.op = BLK_OP_FLUSH, .overlay = blk->file.overlay};

	if (!blk->is_writeback || blk->disk.is_read_only || blk->file.fd < 0 ||
	    blk->is_synchronised) {
		return;
	}
	enum blk_progress progress = blk_io_start(&io);

	while (progress == BLK_IO_MORE) {
		const struct blk_step step = blk_io_step(&io);

		progress = blk_sync_step(blk->file.fd, &io, &step);
	}
	if (progress == BLK_IO_FAILED) {
		log_error("The drive %s can't be synchronised: %s (os error %d)", blk->dev.id,
			  error_os_text(io.sys), io.sys);
	}
}

/* Writeback files are synchronised: what the guest was told is on the disk by then. */
static void quiesce(struct virtio_dev *dev)
{
	struct blk *blk = to_blk(dev);

	drain(blk);
	synchronise(blk);
}

static void destroy(struct virtio_dev *dev)
{
	blk_free(to_blk(dev));
}

const struct virtio_class blk_class = {
	.type = VIRTIO_TYPE_BLOCK,
	.name = "block",
	.metrics = &blk_metric_group,
	VIRTIO_FEATURES(feature_names),
	.state = &class_state,
	.config_write = config_write,
	.queue_ready = queue_ready,
	.next = next,
	.take = take,
	.fault = fault,
	.end_turn = end_turn,
	.reset = reset,
	.quiesce = quiesce,
	.is_busy = is_busy,
	.destroy = destroy,
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
	bool is_sync = blk->engine == BLK_ENGINE_SYNC;

	blk->file = *file;
	blk->uring = is_sync && file->is_in_memory ? NULL : blk->ring;
	blk->waiting = is_sync ? BLK_CALLS_WAIT : BLK_CALLS_ALL;
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

static void drop_overlay(const struct blk_file *file)
{
	if (file->overlay != NULL && file->fd >= 0) {
		overlay_unlock(file->fd);
		file_unlock(file->overlay->base_fd, FILE_CONTENT);
	}
}

static int use_overlay(const struct blk *blk, const struct blk_file *file, unsigned patience_ms,
		       struct error *err)
{
	const struct blk_overlay *overlay = file->overlay;

	if (overlay == NULL) {
		return 0;
	}
	if (!file_lock(overlay->base_fd, FILE_CONTENT, true, patience_ms)) {
		return error_set(err, ERR_BAD_STATE,
				 "The base of the overlay %.200s is in use by another squib, which "
				 "writes to it: a base must stay as it is",
				 overlay->path);
	}
	return overlay_lock(file->fd, overlay->path, blk->disk.is_read_only, patience_ms, err) < 0
		       ? -1
		       : blk_overlay_use(file->overlay, file->fd, blk->is_writeback, err);
}

static int start_ring(struct blk *blk, struct error *err)
{
	const struct blk_ring_use use = {
		.name = blk->dev.id,
		.fd = blk->file.fd,
		.base_fd = blk_file_base_fd(&blk->file),
		.is_sync = blk->engine == BLK_ENGINE_SYNC,
	};

	if (blk_rings_get(blk->rings, &use, &blk->ring, err) < 0) {
		return -1;
	}
	if (blk->ring == NULL) {
		return 0;
	}
	blk->completions.fd = blk_uring_event_fd(blk->ring);
	return ev_add(blk->dev.loop, &blk->completions, EPOLLIN | EPOLLET, err);
}

static int build(struct blk *blk, const struct dev_env *env, const struct blk_config *config,
		 struct error *err)
{
	unsigned queue_count = config->num_queues > 0 ? config->num_queues : 1;
	const struct virtio_params params = {
		.class = &blk_class,
		.metrics = &blk->metrics,
		.activate_fails = &blk->metrics.activate_fails,
		.id = config->drive_id,
		.features = features(config, queue_count),
		.queue_count = queue_count,
		.config_len = CONFIG_LEN,
	};

	limiter_init(&blk->limiter, env->loop, env->clock, on_limiter);
	if (virtio_init(&blk->dev, env, &params, err) < 0) {
		return -1;
	}
	if (config->has_rate_limiter &&
	    limiter_configure(&blk->limiter, &config->rate_limiter, err) < 0) {
		return -1;
	}
	if (use_overlay(blk, &blk->file, LOCK_PATIENCE_MS, err) < 0 || start_ring(blk, err) < 0) {
		return -1;
	}
	set_file(blk, &blk->file);
	fill_config(blk);
	return 0;
}

int blk_new(const struct dev_env *env, const struct blk_config *config, const struct blk_file *file,
	    struct blk **out, struct error *err)
{
	return blk_new_plugged(env, config, file, NULL, out, err);
}

int blk_new_plugged(const struct dev_env *env, const struct blk_config *config,
		    const struct blk_file *file, struct blk_rings *rings, struct blk **out,
		    struct error *err)
{
	struct blk *blk = calloc(1, sizeof(*blk));

	if (blk == NULL) {
		return error_sys(err, "Cannot allocate the drive %s", config->drive_id);
	}
	blk->is_writeback = config->cache_type == BLK_CACHE_WRITEBACK;
	blk->engine = config->io_engine;
	blk->disk.is_read_only = config->is_read_only;
	blk->io.iov = blk->iov;
	blk->rings = rings;
	blk->completions.fd = -1;
	blk->completions.fn = on_completions;
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
	blk_rings_put(blk->rings, blk->ring);
	synchronise(blk);
	drop_overlay(&blk->file);
	free(blk);
}

/* The map of an overlay is not in its file yet. */
void blk_set_synchronised(struct blk *blk)
{
	blk->is_synchronised = blk->file.overlay == NULL;
}

struct virtio_dev *blk_virtio(struct blk *blk)
{
	return &blk->dev;
}

struct blk_metrics *blk_metrics(struct blk *blk)
{
	return &blk->metrics;
}

static int change_file(struct blk *blk, const struct blk_file *file, struct error *err)
{
	struct error ignored = {0};

	if (blk->file.overlay != NULL) {
		/* The next one may be the same: its map is read again. */
		synchronise(blk);
		drop_overlay(&blk->file);
	}
	if (use_overlay(blk, file, 0, err) == 0 &&
	    (blk->ring == NULL ||
	     blk_uring_set_file(blk->ring, file->fd, blk_file_base_fd(file), err) == 0)) {
		return 0;
	}
	drop_overlay(file);
	if (blk->file.overlay != NULL &&
	    (!file_lock(blk->file.overlay->base_fd, FILE_CONTENT, true, 0) ||
	     overlay_lock(blk->file.fd, "", blk->disk.is_read_only, 0, &ignored) < 0)) {
		log_warn("The drive %s keeps its overlay, which another squib has locked by now",
			 blk->dev.id);
	}
	return -1;
}

int blk_set_file(struct blk *blk, const struct blk_file *file, struct error *err)
{
	virtio_lock_driver(&blk->dev);
	drain(blk);
	int rc = change_file(blk, file, err);

	if (rc == 0) {
		set_file(blk, file);
		virtio_config_changed(&blk->dev);
	}
	virtio_unlock_driver(&blk->dev);
	metric_add(rc == 0 ? &blk->metrics.update_count : &blk->metrics.update_fails, 1);
	return rc;
}

int blk_set_limits(struct blk *blk, const struct limiter_config *limits, struct error *err)
{
	virtio_lock(&blk->dev);
	int rc = limiter_configure(&blk->limiter, limits, err);

	for (unsigned i = 0; rc == 0 && blk->dev.is_active && i < blk->dev.queue_count; i++) {
		virtio_kick(&blk->dev, i);
	}
	virtio_unlock(&blk->dev);
	return rc;
}

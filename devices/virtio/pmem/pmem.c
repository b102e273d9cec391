/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The persistent memory device.
 *
 * Theory of operation. The guest reads and writes the file as memory, without us (gmem_pmem.h).
 * What is left is the flush: one fdatasync, which writes the pages that guests have made dirty to
 * the disk. It covers all that was written before, so one answers all requests that are there when
 * it begins. Those that come while it is in flight stay in the queue, and the next one answers them
 * together.
 *
 * A disk may take its time, so an io_uring of block devices has the call. Where there is none, it
 * is made at once, and waited for.
 *
 * A file that was cut, or whose disk has had no room for what the guest has written, is not what
 * the guest believes: each flush fails from then on.
 */
#include "devices/virtio/pmem/pmem.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "devices/virtio/blk/blk_rings.h"
#include "devices/virtio/blk/blk_uring.h"
#include "devices/virtio/core/virtio_leave.h"
#include "devices/virtio/core/virtio_state.h"
#include "vmm/base/bytes.h"
#include "vmm/base/gmem_pmem.h"
#include "vmm/base/log.h"

enum {
	REQUEST_QUEUE,
	QUEUES
};

/* [virtio-1.2 §5.19.4, §5.19.6] */
enum {
	CONFIG_LEN = 16,
	WORD_LEN = 4, /* of a request, and of its answer */
	TYPE_FLUSH = 0,
	ANSWER_OK = 0,
	ANSWER_EIO = 1,
};

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(pmem_metrics, activate_fails)},
	{METRIC_COUNT(pmem_metrics, cfg_fails)},
	{METRIC_COUNT(pmem_metrics, event_fails)},
	{METRIC_COUNT(pmem_metrics, queue_event_count)},
	{METRIC_COUNT(pmem_metrics, rate_limiter_throttled_events)},
	{METRIC_COUNT(pmem_metrics, rate_limiter_event_count)},
};

const struct metric_group pmem_metric_group = {
	METRIC_GROUP("pmem", pmem_metrics, metric_fields, 0)};

/* A request that the next flush answers. */
struct held {
	uint16_t head;
	gpa_t answer;
};

struct pmem {
	struct virtio_dev dev;
	struct pmem_metrics metrics; /* shared */
	struct log_limit failures;   /* the same */
	/* immutable */
	unsigned index;
	struct gmem_pmem_info file;
	struct blk_rings *rings;
	struct blk_uring *ring; /* NULL: calls are made at once */
	struct ev_source completions;
	/* under the device's lock */
	struct limiter limiter;
	bool is_flushing; /* on the ring */
	int failing;	  /* why the last flush failed; 0: it did not */
	unsigned held_count;
	struct held held[VIRTQ_SIZE_MAX];
};

static struct pmem *to_pmem(struct virtio_dev *dev)
{
	return container_of(dev, struct pmem, dev);
}

/* --- The queues --- */

/* The log has a failure once, until a flush succeeds again. */
static void note_result(struct pmem *pmem, int sys)
{
	if (sys != 0) {
		metric_add(&pmem->metrics.event_fails, 1);
	}
	if (sys != 0 && sys != pmem->failing) {
		log_limited_warn(&pmem->failures,
				 "The pmem device %s failed to flush: %s (os "
				 "error %d)",
				 pmem->dev.id, error_os_text(sys), sys);
	}
	pmem->failing = sys;
}

/* Answers all requests that are held. */
static void finish(struct pmem *pmem, int sys)
{
	uint8_t answer[WORD_LEN];

	if (sys == 0 && !gmem_pmem_is_whole(pmem->dev.mem, pmem->index)) {
		sys = EIO;
	}
	note_result(pmem, sys);
	store_le32(answer, sys == 0 ? ANSWER_OK : ANSWER_EIO);
	for (unsigned i = 0; i < pmem->held_count; i++) {
		/* Checked when the chain was taken; a page of a file may have gone since. */
		(void)!gmem_write(pmem->dev.mem, pmem->held[i].answer, answer, sizeof(answer));
		virtq_push(&pmem->dev.queues[REQUEST_QUEUE].vq, pmem->held[i].head, WORD_LEN);
	}
	pmem->held_count = 0;
	pmem->is_flushing = false;
	virtio_note_idle(&pmem->dev);
}

/* Submits what is queued and answers what has ended. */
static void reap(struct pmem *pmem)
{
	enum blk_progress progress;
	const struct blk_io *io;

	while (pmem->ring != NULL && (io = blk_uring_reap(pmem->ring, &progress)) != NULL) {
		finish(pmem, progress == BLK_IO_FAILED ? io->sys : 0);
	}
}

static int synchronise(const struct pmem *pmem)
{
	return pmem->file.is_private || fdatasync(pmem->file.fd) == 0 ? 0 : errno;
}

static void flush(struct pmem *pmem)
{
	struct blk_io *io = pmem->ring != NULL ? blk_uring_slot(pmem->ring) : NULL;

	if (io == NULL) {
		finish(pmem, synchronise(pmem));
		return;
	}
	io->op = BLK_OP_FLUSH;
	io->overlay = NULL;
	io->data_len = 0;
	io->range_count = 0;
	if (blk_io_start(io) == BLK_IO_MORE) {
		pmem->is_flushing = true;
		blk_uring_queue(pmem->ring, io);
		reap(pmem);
	}
}

/* What comes while a flush is in flight may be about something that was written since it began. */
static enum virtio_step next(struct virtio_dev *dev, unsigned queue)
{
	(void)queue;
	return to_pmem(dev)->is_flushing ? VIRTIO_WAIT : VIRTIO_TAKE;
}

/* [compat] Both parts are of exactly 4 bytes. */
static bool is_flush(const struct virtio_dev *dev, const struct virtq_chain *chain)
{
	uint8_t type[WORD_LEN];

	return chain->read_len == WORD_LEN && chain->write_len == WORD_LEN &&
	       chain->segs[chain->readable].len == WORD_LEN &&
	       virtq_chain_read(dev->mem, chain, 0, type, sizeof(type)) == 0 &&
	       load_le32(type) == TYPE_FLUSH;
}

static enum virtio_step take(struct virtio_dev *dev, unsigned queue,
			     const struct virtq_chain *chain)
{
	struct pmem *pmem = to_pmem(dev);

	if (!is_flush(dev, chain)) {
		log_guest_warn("The pmem device %s refused a request that is no flush", dev->id);
		metric_add(&pmem->metrics.event_fails, 1);
		virtq_push(&dev->queues[queue].vq, chain->head, 0);
		return VIRTIO_DONE;
	}
	if (pmem->held_count == 0 && !limiter_take(&pmem->limiter, pmem->file.file_len)) {
		metric_add(&pmem->metrics.rate_limiter_throttled_events, 1);
		return VIRTIO_WAIT;
	}
	pmem->held[pmem->held_count++] =
		(struct held){chain->head, chain->segs[chain->readable].gpa};
	return VIRTIO_DONE;
}

static void fault(struct virtio_dev *dev, unsigned queue, enum virtq_result result)
{
	(void)queue;
	(void)result;
	metric_add(&to_pmem(dev)->metrics.event_fails, 1);
}

static void end_turn(struct virtio_dev *dev, unsigned queue)
{
	struct pmem *pmem = to_pmem(dev);

	(void)queue;
	if (pmem->held_count > 0 && !pmem->is_flushing) {
		flush(pmem);
	}
}

/* --- Events --- */

static void queue_ready(struct virtio_dev *dev, unsigned index)
{
	struct pmem *pmem = to_pmem(dev);

	metric_add(&pmem->metrics.queue_event_count, 1);
	if (pmem->limiter.is_blocked) {
		metric_add(&pmem->metrics.rate_limiter_throttled_events, 1);
		return;
	}
	virtio_serve(dev, index, VIRTQ_SIZE_MAX);
}

static void on_limiter(struct ev_timer *timer)
{
	struct pmem *pmem = container_of(timer, struct pmem, limiter.timer);

	virtio_lock(&pmem->dev);
	limiter_unblock(&pmem->limiter);
	metric_add(&pmem->metrics.rate_limiter_event_count, 1);
	virtio_serve(&pmem->dev, REQUEST_QUEUE, VIRTQ_SIZE_MAX);
	virtio_unlock(&pmem->dev);
}

static void on_completions(struct ev_source *source, uint32_t ready)
{
	struct pmem *pmem = container_of(source, struct pmem, completions);

	(void)ready;
	virtio_lock(&pmem->dev);
	if (pmem->dev.is_active) {
		reap(pmem);
		virtio_publish(&pmem->dev, REQUEST_QUEUE);
		virtio_serve(&pmem->dev, REQUEST_QUEUE, VIRTQ_SIZE_MAX);
	}
	virtio_unlock(&pmem->dev);
}

/* --- State --- */

/* The limit is all: no request is held by then. */
static const struct codec_section section = {
	.tag = CODEC_TAG('V', 'P', 'M', 'M'), .version = 1, .name = "virtio-pmem"};

static struct limiter *limiter_of(struct virtio_dev *dev)
{
	return &to_pmem(dev)->limiter;
}

static const struct virtio_config_field config_fields[] = {
	{"address", PMEM_CONFIG_START, PMEM_CONFIG_SIZE - PMEM_CONFIG_START, VIRTIO_CONFIG_SAME},
	{"size", PMEM_CONFIG_SIZE, CONFIG_LEN - PMEM_CONFIG_SIZE, VIRTIO_CONFIG_SAME},
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
	metric_add(&to_pmem(dev)->metrics.cfg_fails, 1);
}

static void reset(struct virtio_dev *dev)
{
	struct pmem *pmem = to_pmem(dev);

	if (pmem->ring != NULL) {
		/* A disk may take its time; nobody else uses the ring of an inactive device. */
		virtio_unlock(dev);
		blk_uring_abandon(pmem->ring);
		virtio_lock(dev);
	}
	pmem->is_flushing = false;
	pmem->held_count = 0;
}

/* What the guest has written is on the disk by then, as its memory in a snapshot will be. */
static void quiesce(struct virtio_dev *dev)
{
	struct pmem *pmem = to_pmem(dev);

	while (pmem->is_flushing) {
		blk_uring_wait(pmem->ring);
		reap(pmem);
	}
	virtio_publish(dev, REQUEST_QUEUE);
	int sys = synchronise(pmem);

	if (sys != 0) {
		log_error("The pmem device %s can't be synchronised: %s (os error %d)", dev->id,
			  error_os_text(sys), sys);
	}
}

static bool is_busy(const struct virtio_dev *dev)
{
	return container_of(dev, const struct pmem, dev)->is_flushing;
}

static void destroy(struct virtio_dev *dev)
{
	pmem_free(to_pmem(dev));
}

const struct virtio_class pmem_class = {
	.type = VIRTIO_TYPE_PMEM,
	.name = "pmem",
	.metrics = &pmem_metric_group,
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

/* A file that the guest can't write to has nothing to be flushed. */
static int start_ring(struct pmem *pmem, struct error *err)
{
	const struct blk_ring_use use = {
		.name = pmem->dev.id, .fd = pmem->file.fd, .base_fd = -1, .is_sync = true};

	if (pmem->file.is_private) {
		return 0;
	}
	if (blk_rings_get(pmem->rings, &use, &pmem->ring, err) < 0) {
		return -1;
	}
	if (pmem->ring == NULL) {
		return 0;
	}
	pmem->completions.fd = blk_uring_event_fd(pmem->ring);
	return ev_add(pmem->dev.loop, &pmem->completions, EPOLLIN | EPOLLET, err);
}

static int build(struct pmem *pmem, const struct dev_env *env, const struct pmem_config *config,
		 struct error *err)
{
	const struct virtio_params params = {
		.class = &pmem_class,
		.metrics = &pmem->metrics,
		.activate_fails = &pmem->metrics.activate_fails,
		.id = config->id,
		.queue_count = QUEUES,
		.config_len = CONFIG_LEN,
	};

	limiter_init(&pmem->limiter, env->loop, env->clock, on_limiter);
	if (virtio_init(&pmem->dev, env, &params, err) < 0 ||
	    (config->has_rate_limiter &&
	     limiter_configure(&pmem->limiter, &config->rate_limiter, err) < 0)) {
		return -1;
	}
	store_le64(pmem->dev.config + PMEM_CONFIG_START, pmem->file.base.v);
	store_le64(pmem->dev.config + PMEM_CONFIG_SIZE, pmem->file.len);
	return start_ring(pmem, err);
}

int pmem_new(const struct dev_env *env, const struct pmem_parts *parts, struct pmem **out,
	     struct error *err)
{
	struct pmem *pmem = calloc(1, sizeof(*pmem));

	if (pmem == NULL) {
		return error_sys(err, "Cannot allocate the pmem device %s", parts->config->id);
	}
	pmem->index = parts->index;
	pmem->rings = parts->rings;
	pmem->completions =
		(struct ev_source){.fd = -1, .fn = on_completions, .is_frozen_with_guest = true};
	(void)!gmem_pmem_get(env->mem, parts->index, &pmem->file);
	if (build(pmem, env, parts->config, err) < 0) {
		pmem_free(pmem);
		return -1;
	}
	*out = pmem;
	return 0;
}

void pmem_free(struct pmem *pmem)
{
	if (pmem == NULL) {
		return;
	}
	if (pmem->completions.fd >= 0) {
		ev_del(pmem->dev.loop, &pmem->completions);
	}
	virtio_destroy(&pmem->dev);
	limiter_destroy(&pmem->limiter);
	blk_rings_put(pmem->rings, pmem->ring);
	free(pmem);
}

struct virtio_dev *pmem_virtio(struct pmem *pmem)
{
	return &pmem->dev;
}

struct pmem_metrics *pmem_metrics(struct pmem *pmem)
{
	return &pmem->metrics;
}

int pmem_set_limits(struct pmem *pmem, const struct limiter_config *limits, struct error *err)
{
	virtio_lock(&pmem->dev);
	int result = limiter_configure(&pmem->limiter, limits, err);

	if (result == 0 && pmem->dev.is_active) {
		virtio_kick(&pmem->dev, REQUEST_QUEUE);
	}
	virtio_unlock(&pmem->dev);
	return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entropy device.
 *
 * Theory of operation. A request is a chain with a writable part, which the host's kernel fills:
 * getrandom() writes straight into the guest's memory, so no copy of what the guest takes for its
 * keys stays with us. One request gets 64 KiB at most, however long its buffer claims to be
 * [compat]: overlapping descriptors make a long one out of little memory. A device may return less
 * than was asked for [virtio-1.2 §5.4.6.2], and the driver then asks again.
 *
 * The limiter is asked for what will be written. A request that it turns away goes back to the
 * queue, and the limiter's timer serves the queue again; until then notifications mean nothing.
 */
#include "devices/virtio/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "devices/virtio/core/virtio_state.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

enum {
	REQUEST_QUEUE,
	QUEUES
};

enum {
	REQUEST_MAX = 64 * 1024, /* bytes [compat] */
	TURN_REQUESTS = 16,	 /* about 3 ms of getrandom() at most */
};

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(rng_metrics, activate_fails)},
	{METRIC_COUNT(rng_metrics, entropy_event_fails)},
	{METRIC_COUNT(rng_metrics, entropy_event_count)},
	{METRIC_ROW(rng_metrics, entropy_bytes, METRIC_COUNTER, METRIC_BYTES)},
	{METRIC_COUNT(rng_metrics, host_rng_fails)},
	{METRIC_COUNT(rng_metrics, entropy_rate_limiter_throttled)},
	{METRIC_COUNT(rng_metrics, rate_limiter_event_count)},
};

const struct metric_group rng_metric_group = {
	METRIC_GROUP("entropy", rng_metrics, metric_fields, 0)};

struct rng {
	struct virtio_dev dev;
	struct rng_metrics metrics; /* shared */
	/* under the device's lock */
	struct limiter limiter;
	struct iovec iov[VIRTQ_IOV_MAX]; /* of the request under way */
};

static struct rng *to_rng(struct virtio_dev *dev)
{
	return container_of(dev, struct rng, dev);
}

/* --- The queues --- */

/* Never waits: GRND_NONBLOCK fails on a host whose kernel has no entropy yet, just after boot. */
static int fill_one(const struct iovec *iov)
{
	size_t done = 0;

	while (done < iov->iov_len) {
		ssize_t got =
			getrandom((char *)iov->iov_base + done, iov->iov_len - done, GRND_NONBLOCK);

		if (got > 0) {
			done += (size_t)got;
		} else if (got == 0 || errno != EINTR) {
			return -1;
		}
	}
	return 0;
}

/* Fills the first `len` writable bytes of a chain. */
static int fill(struct rng *rng, const struct virtq_chain *chain, uint32_t len)
{
	struct virtq_iov to = {.iov = rng->iov, .cap = VIRTQ_IOV_MAX};
	struct virtq_span span = {.side = VIRTQ_WRITABLE, .len = len};

	if (virtq_chain_iov(rng->dev.mem, chain, span, &to) < 0) {
		return -1;
	}
	for (size_t i = 0; i < to.count; i++) {
		if (fill_one(&rng->iov[i]) < 0) {
			metric_add(&rng->metrics.host_rng_fails, 1);
			return -1;
		}
	}
	return 0;
}

/* Answers a request, or leaves it in the queue if the limiter turns it away. */
static enum virtio_step take(struct virtio_dev *dev, unsigned queue,
			     const struct virtq_chain *chain)
{
	struct rng *rng = to_rng(dev);
	uint32_t len = (uint32_t)min_u64(chain->write_len, REQUEST_MAX);

	if (len > 0 && !limiter_take(&rng->limiter, len)) {
		metric_add(&rng->metrics.entropy_rate_limiter_throttled, 1);
		return VIRTIO_WAIT;
	}
	metric_add(&rng->metrics.entropy_event_count, 1);
	if (len == 0) {
		log_guest_warn("Entropy: a request without a writable buffer");
		metric_add(&rng->metrics.entropy_event_fails, 1);
	} else if (fill(rng, chain, len) < 0) {
		log_guest_warn("Entropy: the host gave no random bytes");
		metric_add(&rng->metrics.entropy_event_fails, 1);
		limiter_put_back(&rng->limiter, len);
		len = 0;
	}
	metric_add(&rng->metrics.entropy_bytes, len);
	virtq_push(&dev->queues[queue].vq, chain->head, len);
	return VIRTIO_DONE;
}

static void fault(struct virtio_dev *dev, unsigned queue, enum virtq_result result)
{
	struct rng *rng = to_rng(dev);

	(void)queue;
	metric_add(&rng->metrics.entropy_event_count, result == VIRTQ_BAD);
	metric_add(&rng->metrics.entropy_event_fails, 1);
}

/* --- Events --- */

static void queue_ready(struct virtio_dev *dev, unsigned index)
{
	struct rng *rng = to_rng(dev);

	if (rng->limiter.is_blocked) {
		metric_add(&rng->metrics.rate_limiter_event_count, 1);
		return;
	}
	virtio_serve(dev, index, TURN_REQUESTS);
}

static void on_limiter(struct ev_timer *timer)
{
	struct rng *rng = container_of(timer, struct rng, limiter.timer);

	virtio_lock(&rng->dev);
	limiter_unblock(&rng->limiter);
	metric_add(&rng->metrics.rate_limiter_event_count, 1);
	virtio_serve(&rng->dev, REQUEST_QUEUE, TURN_REQUESTS);
	virtio_unlock(&rng->dev);
}

/* --- State --- */

static const struct codec_section section = {
	.tag = CODEC_TAG('V', 'R', 'N', 'G'), .version = 1, .name = "virtio-rng"};

static struct limiter *limiter_of(struct virtio_dev *dev)
{
	return &to_rng(dev)->limiter;
}

static const struct virtio_class_state class_state = {
	.section = &section,
	.limiter = limiter_of,
};

/* --- The driver --- */

static void destroy(struct virtio_dev *dev)
{
	rng_free(to_rng(dev));
}

const struct virtio_class rng_class = {
	.type = VIRTIO_TYPE_RNG,
	.name = "entropy",
	.metrics = &rng_metric_group,
	.state = &class_state,
	.queue_ready = queue_ready,
	.take = take,
	.fault = fault,
	.destroy = destroy,
};

/* --- Making and changing --- */

static int build(struct rng *rng, const struct dev_env *env, const struct rng_config *config,
		 struct error *err)
{
	const struct virtio_params params = {
		.class = &rng_class,
		.metrics = &rng->metrics,
		.activate_fails = &rng->metrics.activate_fails,
		.id = "rng", /* [compat] */
		.queue_count = QUEUES,
	};

	limiter_init(&rng->limiter, env->loop, env->clock, on_limiter);
	if (virtio_init(&rng->dev, env, &params, err) < 0) {
		return -1;
	}
	if (!config->has_rate_limiter) {
		return 0;
	}
	return limiter_configure(&rng->limiter, &config->rate_limiter, err);
}

int rng_new(const struct dev_env *env, const struct rng_config *config, struct rng **out,
	    struct error *err)
{
	struct rng *rng = calloc(1, sizeof(*rng));

	if (rng == NULL) {
		return error_sys(err, "Cannot allocate the entropy device");
	}
	if (build(rng, env, config, err) < 0) {
		rng_free(rng);
		return -1;
	}
	*out = rng;
	return 0;
}

void rng_free(struct rng *rng)
{
	if (rng == NULL) {
		return;
	}
	limiter_destroy(&rng->limiter);
	virtio_destroy(&rng->dev);
	free(rng);
}

struct virtio_dev *rng_virtio(struct rng *rng)
{
	return &rng->dev;
}

struct rng_metrics *rng_metrics(struct rng *rng)
{
	return &rng->metrics;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device: random bytes from the host's kernel [virtio-1.2 §5.4]. */
#ifndef DEVICES_VIRTIO_RNG_H
#define DEVICES_VIRTIO_RNG_H

#include <stdbool.h>

#include "devices/device.h"
#include "devices/virtio/core/virtio.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/limiter.h"
#include "vmm/base/metric.h"

/* As the API describes it. */
struct rng_config {
	struct limiter_config rate_limiter;
	bool has_rate_limiter;
};

struct rng_metrics {
	struct metric activate_fails;
	struct metric entropy_event_fails;
	struct metric entropy_event_count;
	struct metric entropy_bytes;
	struct metric host_rng_fails;
	struct metric entropy_rate_limiter_throttled;
	struct metric rate_limiter_event_count;
};

extern const struct metric_group rng_metric_group; /* "entropy" */

extern const struct virtio_class rng_class;

struct rng;

/* Copies *config; the caller owns *out. VMM thread, like all below. */
MUST_CHECK int rng_new(const struct dev_env *env, const struct rng_config *config, struct rng **out,
		       struct error *err);
void rng_free(struct rng *rng); /* NULL is fine */

struct virtio_dev *rng_virtio(struct rng *rng);
struct rng_metrics *rng_metrics(struct rng *rng);

#endif

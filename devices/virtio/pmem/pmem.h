/* SPDX-License-Identifier: Apache-2.0 */
/* The persistent memory device: a file that the guest has as memory [virtio-1.2 §5.19]. */
#ifndef DEVICES_VIRTIO_PMEM_H
#define DEVICES_VIRTIO_PMEM_H

#include <stdbool.h>

#include "devices/device.h"
#include "devices/virtio/core/virtio.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/limiter.h"
#include "vmm/base/metric.h"

/* Offsets of the 64-bit fields of the configuration [virtio-1.2 §5.19.4]. */
enum {
	PMEM_CONFIG_START = 0,
	PMEM_CONFIG_SIZE = 8,
};

/* As the API describes it. Strings are the owner's. */
struct pmem_config {
	char *id;
	char *path_on_host;
	bool root_device;
	bool read_only;
	struct limiter_config rate_limiter;
	bool has_rate_limiter;
};

struct pmem_metrics {
	struct metric activate_fails;
	struct metric cfg_fails;
	struct metric event_fails;
	struct metric queue_event_count;
	struct metric rate_limiter_throttled_events;
	struct metric rate_limiter_event_count;
};

extern const struct metric_group pmem_metric_group; /* "pmem" */

extern const struct virtio_class pmem_class;

struct pmem;
struct blk_rings;

/* What a device is made of. */
struct pmem_parts {
	const struct pmem_config *config; /* copied */
	unsigned index;			  /* of the file in env->mem (gmem_pmem_add) */
	struct blk_rings
		*rings; /* in a machine that was started; outlives the device. NULL: none */
};

/* The caller owns *out. VMM thread, like all below. */
MUST_CHECK int pmem_new(const struct dev_env *env, const struct pmem_parts *parts,
			struct pmem **out, struct error *err);
void pmem_free(struct pmem *pmem); /* NULL is fine */

struct virtio_dev *pmem_virtio(struct pmem *pmem);
struct pmem_metrics *pmem_metrics(struct pmem *pmem);

/* Changes the limits that *limits has. On failure they are as before. */
MUST_CHECK int pmem_set_limits(struct pmem *pmem, const struct limiter_config *limits,
			       struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The memory device: memory that the guest plugs and unplugs as asked for [virtio-1.2 §5.15]. */
#ifndef DEVICES_VIRTIO_MEM_H
#define DEVICES_VIRTIO_MEM_H

#include <stdint.h>

#include "devices/device.h"
#include "devices/virtio/core/virtio.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/metric.h"

/* As the API describes it. */
struct mem_config {
	uint32_t total_size_mib; /* a multiple of slot_size_mib */
	uint32_t block_size_mib; /* a power of two, 2 at least */
	uint32_t slot_size_mib;	 /* a multiple of block_size_mib */
};

struct mem_status {
	uint32_t plugged_size_mib;
	uint32_t requested_size_mib;
};

struct mem_metrics {
	struct metric activate_fails;
	struct metric queue_event_fails;
	struct metric queue_event_count;
	struct metric_latency plug_agg;
	struct metric plug_count;
	struct metric plug_bytes;
	struct metric plug_fails;
	struct metric_latency unplug_agg;
	struct metric unplug_count;
	struct metric unplug_bytes;
	struct metric unplug_fails;
	struct metric unplug_discard_fails;
	struct metric_latency unplug_all_agg;
	struct metric unplug_all_count;
	struct metric unplug_all_fails;
	struct metric_latency state_agg;
	struct metric state_count;
	struct metric state_fails;
};

extern const struct metric_group mem_metric_group; /* "memory_hotplug" */

extern const struct virtio_class mem_class;

struct mem;

/* Bytes of the blocks that guest memory is to have for it: one of the guest, or a part of it. */
uint64_t mem_unit_len(const struct mem_config *config);

/*
 * Of guest memory that has a region for it, of total_size_mib in units of mem_unit_len. Copies
 * *config; the caller owns *out. VMM thread, like all below.
 */
MUST_CHECK int mem_new(const struct dev_env *env, const struct mem_config *config, struct mem **out,
		       struct error *err);
void mem_free(struct mem *mem); /* NULL is fine */

struct virtio_dev *mem_virtio(struct mem *mem);
struct mem_metrics *mem_metrics(struct mem *mem);

/*
 * Asks the guest to have this much plugged, sooner or later. ERR_BAD_STATE without a driver,
 * ERR_BAD_REQUEST for what is no multiple of a block or more than there is.
 */
MUST_CHECK int mem_request(struct mem *mem, uint32_t size_mib, struct error *err);

void mem_get_status(struct mem *mem, struct mem_status *status);

#endif

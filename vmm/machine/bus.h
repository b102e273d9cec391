/* SPDX-License-Identifier: Apache-2.0 */
/* An address space: which device answers where. */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/device.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	BUS_RANGES_MAX = 128
};

struct bus_range {
	uint64_t base;
	uint64_t len;
	const struct bus_ops *ops;
	void *device;
};

/* Zeroed is empty. Changed only while no vCPU runs, hence read by vCPU threads without a lock. */
struct bus {
	size_t count;
	struct bus_range ranges[BUS_RANGES_MAX]; /* ascending */
};

/* Attaches `device` (the caller's, outlives the bus). Ranges that overlap are refused. */
MUST_CHECK int bus_attach(struct bus *bus, const struct bus_range *range, struct error *err);

/*
 * Lets the device at `addr` answer an access of 1 to 8 bytes; false if none covers all of it, then
 * `data` is untouched. On vCPU threads.
 */
bool bus_read(const struct bus *bus, uint64_t addr, uint8_t *data, uint32_t len);
bool bus_write(const struct bus *bus, uint64_t addr, const uint8_t *data, uint32_t len);

#endif

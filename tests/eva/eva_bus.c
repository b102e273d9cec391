/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Up to 8 devices anywhere, of which the last may be refused, and any accesses.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-slevel 300 -eva-split-return full
 */
#include "tests/eva/bus.h"

#include "vmm/machine/bus.c"

enum {
	DEVICES = 8
};

static struct bus bus;

static void read_any(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	keep((uint64_t)(device != NULL) + offset);
	fill(data, len);
}

static void write_any(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	keep((uint64_t)(device != NULL) + offset + data[len - 1]);
}

static const struct bus_ops ops = {.read = read_any, .write = write_any};

static void use(void)
{
	uint8_t data[8];

	fill(data, sizeof(data));
	keep(bus_read(&bus, any_u64(), data, (uint32_t)any_between(1, sizeof(data))));
	keep(bus_write(&bus, any_u64(), data, (uint32_t)any_between(1, sizeof(data))));
}

void main(void)
{
	struct error err = {0};

	/* What is beyond the devices must not be called. */
	/*@ loop unroll BUS_RANGES_MAX; */
	for (size_t i = 0; i < BUS_RANGES_MAX; i++) {
		bus.ranges[i].len = UINT64_MAX;
	}
	use();
	/*@ loop unroll DEVICES; */
	for (size_t i = 0; i < DEVICES; i++) {
		const struct bus_range range = {
			.base = any_u64(), .len = any_u64(), .ops = &ops, .device = &bus};

		if (bus_attach(&bus, &range, &err) < 0) {
			break;
		}
		use();
	}
	bus.count = BUS_RANGES_MAX;
	keep(bus_attach(&bus, &bus.ranges[0], &err));
}

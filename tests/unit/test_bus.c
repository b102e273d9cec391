/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/machine/bus.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/machine/bus.h"

struct spy {
	unsigned reads;
	unsigned writes;
	uint64_t offset;
	uint32_t len;
	uint8_t value;
};

static void spy_read(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	struct spy *spy = device;

	spy->reads++;
	spy->offset = offset;
	spy->len = len;
	memset(data, 0x5a, len);
}

static void spy_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	struct spy *spy = device;

	spy->writes++;
	spy->offset = offset;
	spy->len = len;
	spy->value = data[0];
}

static const struct bus_ops spy_ops = {.read = spy_read, .write = spy_write};

static int attach(struct bus *bus, struct spy *spy, uint64_t base, uint64_t len)
{
	struct bus_range range = {.base = base, .len = len, .ops = &spy_ops, .device = spy};
	struct error err = {0};

	return bus_attach(bus, &range, &err);
}

Test(bus, an_access_reaches_the_device_that_covers_all_of_it)
{
	/* Attached out of order on purpose; the last ends at the top of the address space. */
	static const struct {
		uint64_t base;
		uint64_t len;
	} ranges[] = {{0x3000, 0x1000}, {0x1000, 8}, {0x1008, 8}, {UINT64_MAX - 0xfff, 0x1000}};
	static const struct {
		uint64_t addr;
		uint32_t len;
		int device; /* -1: none */
		uint64_t offset;
	} cases[] = {
		{0xfff, 1, -1, 0},	   {0x1000, 1, 1, 0},	   {0x1007, 1, 1, 7},
		{0x1000, 8, 1, 0},	   {0x1007, 2, -1, 0},	   {0x1008, 8, 2, 0},
		{0x100f, 1, 2, 7},	   {0x1010, 1, -1, 0},	   {0x2fff, 2, -1, 0},
		{0x3ffc, 4, 0, 0xffc},	   {0x3ffc, 8, -1, 0},	   {0, 1, -1, 0},
		{UINT64_MAX, 1, 3, 0xfff}, {UINT64_MAX, 8, -1, 0}, {UINT64_MAX - 0x1000, 1, -1, 0},
	};
	struct spy spies[ARRAY_COUNT(ranges)] = {0};
	struct bus bus = {0};

	for (size_t i = 0; i < ARRAY_COUNT(ranges); i++) {
		cr_assert(attach(&bus, &spies[i], ranges[i].base, ranges[i].len) == 0);
	}
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint8_t data[8] = {0x11};
		struct spy before[ARRAY_COUNT(spies)];

		memcpy(before, spies, sizeof(before));
		bool is_there = cases[i].device >= 0;

		cr_expect(bus_write(&bus, cases[i].addr, data, cases[i].len) == is_there,
			  "case %zu", i);
		cr_expect(bus_read(&bus, cases[i].addr, data, cases[i].len) == is_there, "case %zu",
			  i);
		cr_expect(data[0] == (is_there ? 0x5a : 0x11), "case %zu", i);
		for (int j = 0; j < (int)ARRAY_COUNT(spies); j++) {
			unsigned more = j == cases[i].device;

			cr_expect(spies[j].reads == before[j].reads + more, "case %zu", i);
			cr_expect(spies[j].writes == before[j].writes + more, "case %zu", i);
		}
		if (is_there) {
			const struct spy *spy = &spies[cases[i].device];

			cr_expect(spy->offset == cases[i].offset && spy->len == cases[i].len,
				  "case %zu", i);
			cr_expect(spy->value == 0x11, "case %zu", i);
		}
	}
}

Test(bus, overlaps_are_refused_and_change_nothing)
{
	static const struct {
		uint64_t base;
		uint64_t len;
		int result;
	} cases[] = {
		{0x1000, 0x1000, -1},
		{0x1fff, 1, -1},
		{0xfff, 2, -1},
		{0, 0x10000, -1},
		{0x1800, 8, -1},
		{0xff8, 8, 0},
		{0x2000, 8, 0},
		{0, UINT64_MAX, -1},
		/* Wraps around. */
		{UINT64_MAX - 7, 16, -1},
		{0x5000, 0, -1},
	};
	struct spy spy = {0};
	struct bus bus = {0};

	cr_assert(attach(&bus, &spy, 0x1000, 0x1000) == 0);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		size_t count = bus.count;

		cr_expect(attach(&bus, &spy, cases[i].base, cases[i].len) == cases[i].result,
			  "case %zu", i);
		cr_expect(bus.count == count + (cases[i].result == 0), "case %zu", i);
	}
	for (size_t i = 1; i < bus.count; i++) {
		cr_expect(bus.ranges[i - 1].base < bus.ranges[i].base);
	}
}

Test(bus, a_full_bus_refuses_one_more)
{
	static struct bus bus;
	struct spy spy = {0};
	uint8_t data = 0;

	for (uint64_t i = 0; i < BUS_RANGES_MAX; i++) {
		cr_assert(attach(&bus, &spy, i * 16, 8) == 0);
	}
	cr_assert(attach(&bus, &spy, 0x10000, 8) == -1);
	for (uint64_t i = 0; i < BUS_RANGES_MAX; i++) {
		cr_expect(bus_read(&bus, i * 16 + 7, &data, 1));
		cr_expect(!bus_read(&bus, i * 16 + 8, &data, 1));
	}
}

Test(bus, an_empty_bus_has_nothing)
{
	struct bus bus = {0};
	uint8_t data = 9;

	cr_assert(!bus_read(&bus, 0, &data, 1) && !bus_write(&bus, 0, &data, 1) && data == 9);
}

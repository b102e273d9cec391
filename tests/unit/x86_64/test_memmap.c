/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's memory map. */
#include "memmap.h"

#include <criterion/criterion.h>

#include "vmm/base/bytes.h"

static uint64_t ram_told(uint64_t len)
{
	struct boot_info boot = {.ram_count = 0};
	struct memmap_entry map[MEMMAP_MAX];
	uint64_t sum = 0;

	boot.ram_count = arch_ram_ranges(len, boot.ram);

	const size_t count = memmap_fill(&boot, map);

	cr_assert_leq(count, MEMMAP_MAX);
	for (size_t i = 0; i < count; i++) {
		cr_expect_gt(map[i].len, 0);
		sum += map[i].type == MEMMAP_RAM ? map[i].len : 0;
	}
	return sum;
}

Test(memmap, all_ram_is_told_but_the_firmware_area)
{
	static const uint64_t hidden = MIB - 0x9fc00;
	static const uint64_t lens[] = {MIB,	   2 * MIB,   3 * GIB,	 3 * GIB + MIB,
					255 * GIB, 256 * GIB, 1024 * GIB};

	for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
		cr_expect_eq(ram_told(lens[i]), lens[i] - hidden, "%lu", lens[i]);
	}
}

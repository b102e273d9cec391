/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's memory map, as both the zero page and PVH tell it. */
#include "memmap.h"

#include "vmm/base/bytes.h"

/* In Firecracker's order, which guests print at boot [compat]. */
size_t memmap_fill(const struct boot_info *boot, struct memmap_entry out[MEMMAP_MAX])
{
	size_t count = 0;

	out[count++] = (struct memmap_entry){0, LAYOUT_SYSTEM, MEMMAP_RAM};
	out[count++] = (struct memmap_entry){LAYOUT_SYSTEM, LAYOUT_SYSTEM_END - LAYOUT_SYSTEM,
					     MEMMAP_RESERVED};
	out[count++] = (struct memmap_entry){LAYOUT_PCI_MMCONFIG, LAYOUT_PCI_MMCONFIG_LEN,
					     MEMMAP_RESERVED};
	for (size_t i = 0; i < boot->ram_count; i++) {
		const uint64_t end = boot->ram[i].base.v + boot->ram[i].len;
		const uint64_t base = max_u64(boot->ram[i].base.v, LAYOUT_HIGH_RAM);

		if (base < end) {
			out[count++] = (struct memmap_entry){base, end - base, MEMMAP_RAM};
		}
	}
	return count;
}

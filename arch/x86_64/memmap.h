/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's memory map, as both the zero page and PVH tell it. */
#ifndef ARCH_X86_64_MEMMAP_H
#define ARCH_X86_64_MEMMAP_H

#include <stddef.h>
#include <stdint.h>

#include "arch/boot.h"

enum {
	MEMMAP_MAX = 3 + ARCH_RAM_RANGES_MAX
};

/* Numbers of [acpi-6.5 15], which e820 and PVH share. */
enum memmap_type {
	MEMMAP_RAM = 1,
	MEMMAP_RESERVED = 2,
};

struct memmap_entry {
	uint64_t base;
	uint64_t len;
	enum memmap_type type;
};

/* Returns how many entries were filled. */
size_t memmap_fill(const struct boot_info *boot, struct memmap_entry out[MEMMAP_MAX]);

#endif

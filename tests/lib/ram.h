/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory as the fake architecture lays it out, for units that need a VM. */
#ifndef TESTS_LIB_RAM_H
#define TESTS_LIB_RAM_H

#include <criterion/criterion.h>

#include "arch/arch.h"
#include "vmm/base/gmem.h"

static inline struct gmem *new_ram(uint64_t len)
{
	struct gmem_range ranges[ARCH_RAM_RANGES_MAX];
	size_t count = arch_ram_ranges(len, ranges);
	struct gmem *mem = NULL;
	struct error err = {0};

	cr_assert(gmem_new(ranges, count, GMEM_ANON, &mem, &err) == 0, "%s", err.msg);
	return mem;
}

#endif

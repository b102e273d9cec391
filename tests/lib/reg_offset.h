/* SPDX-License-Identifier: Apache-2.0 */
/* Where a register lies among the bytes of all that a debugger gets. */
#ifndef TESTS_LIB_REG_OFFSET_H
#define TESTS_LIB_REG_OFFSET_H

#include <criterion/criterion.h>
#include <string.h>

#include "arch/debug.h"

static inline size_t offset_of(const char *name)
{
	size_t at = 0;

	for (size_t i = 0; i < debug_reg_count; i++) {
		if (strcmp(debug_regs[i].name, name) == 0) {
			return at;
		}
		at += debug_regs[i].bits / 8;
	}
	cr_assert_fail("no register %s", name);
	return 0;
}

#endif

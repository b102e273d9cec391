/* SPDX-License-Identifier: Apache-2.0 */
/* The system pool: memory below 1 MiB where firmware tables go, one after the other. */
#ifndef ARCH_X86_64_SYSMEM_H
#define ARCH_X86_64_SYSMEM_H

#include <stddef.h>
#include <stdint.h>

#include "arch/arch.h"

struct sysmem {
	struct gmem *mem;
	uint64_t next;
};

struct sysmem sysmem_init(struct gmem *mem);

/*
 * Copies a table of `len` bytes to the next free place, 16-byte aligned, and tells it in *at (may
 * be NULL).
 */
MUST_CHECK int sysmem_put(struct sysmem *sys, const void *table, size_t len, uint64_t *at,
			  struct error *err);

#endif

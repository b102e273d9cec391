/* SPDX-License-Identifier: Apache-2.0 */
/* What gmem.c and gmem_map.c share: the regions. */
#ifndef VMM_BASE_GMEM_INTERNAL_H
#define VMM_BASE_GMEM_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/gmem.h"

enum {
	GMEM_HUGE_PAGE = 2 * 1024 * 1024 /* bytes, of GMEM_HUGE_2M */
};

struct gmem_region {
	gpa_t base;
	uint64_t len;
	uint8_t *hva;
	uint8_t *reservation; /* the region and its guards */
	uint64_t reservation_len;
	enum gmem_backing backing;
	bool is_paged; /* behind it is a page fault handler */
	int fd;	       /* of the file behind it; -1: none */
	uint64_t offset;
	_Atomic uint64_t *dirty; /* a bit per GMEM_DIRTY_PAGE; NULL: not tracked */
};

/*
 * Immutable once the machine has its devices, so any thread may use it without a lock. The bits of
 * `dirty` are shared.
 */
struct gmem {
	size_t count;
	bool is_tracked; /* every region has `dirty` */
	struct gmem_region regions[GMEM_REGIONS_MAX];
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of pages of guest memory. */
#ifndef VMM_PERSIST_PAGE_SETS_H
#define VMM_PERSIST_PAGE_SETS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

/* A bitmap per region, as gmem_own_pages and gmem_dirty_take fill them. Zeroed: none. */
struct page_sets {
	uint64_t *bits[GMEM_REGIONS_MAX];
};

MUST_CHECK int page_sets_init(struct page_sets *sets, const struct gmem *mem, struct error *err);
void page_sets_destroy(struct page_sets *sets); /* a zeroed one is fine */

/* Whether a page is in a bitmap. */
bool page_bit(const uint64_t *bits, uint64_t page);

/* The end of the run of pages that begins at `page`, all in the bitmap or none; `end` at most. */
uint64_t page_run_end(const uint64_t *bits, uint64_t page, uint64_t end);

/* Adds the pages [first, end) to a bitmap. */
void page_run_add(uint64_t *bits, uint64_t first, uint64_t end);

#endif

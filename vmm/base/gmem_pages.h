/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages of guest memory a snapshot has to write. While nothing else touches the memory. */
#ifndef VMM_BASE_GMEM_PAGES_H
#define VMM_BASE_GMEM_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

/* How many words a bitmap of the pages of region `index` has. */
size_t gmem_bitmap_words(const struct gmem *mem, size_t index);

/*
 * Adds to a bitmap of region `index` the pages whose bytes may differ from what is behind them:
 * zeroes, or the file of gmem_new_file. No page is touched where /proc tells; otherwise memory of a
 * file is read.
 */
MUST_CHECK int gmem_own_pages(const struct gmem *mem, size_t index, uint64_t *bitmap,
			      struct error *err);

/*
 * Marks every page of a memory that is tracked: what was known of the guest's writes does not fit
 * it any more.
 */
void gmem_dirty_all(struct gmem *mem);

/* Whether a page of a region, by number, holds zeroes alone, or is not plugged. Reads it. */
bool gmem_is_zero(const struct gmem *mem, size_t index, uint64_t page);

/*
 * Looks for a page of region `index`, from *page on, that is none of the bitmap and not zero;
 * false: none was found among the first of them. Only what is in memory is looked at. *page is its
 * number. VMM thread.
 */
bool gmem_find_other(const struct gmem *mem, size_t index, const uint64_t *bitmap, uint64_t *page);

/*
 * Adds to bitmaps of region `index` the pages that this process has mapped: all of them to
 * `touched`, those that are own to `own`. Fails where /proc does not tell.
 */
MUST_CHECK int gmem_touched_pages(const struct gmem *mem, size_t index, uint64_t *touched,
				  uint64_t *own, struct error *err);

/* Pages [first, end) of a region, which are to be read or to be written to. */
struct gmem_part {
	uint64_t first;
	uint64_t end;
	bool is_written;
};

/*
 * Each begins to bring pages in, or does it: from the file behind the memory, and as pages of this
 * process where they are to be written to. Before Linux 5.14 populating does nothing.
 */
MUST_CHECK int gmem_read_ahead(struct gmem *mem, size_t index, const struct gmem_part *part,
			       struct error *err);
MUST_CHECK int gmem_populate(struct gmem *mem, size_t index, const struct gmem_part *part,
			     struct error *err);

/*
 * Fails if the file that the memory is a private mapping of was cut: a save would have zeroes in
 * place of what is lost, and a guest that touches it ends. VMM thread.
 */
MUST_CHECK int gmem_check_behind(const struct gmem *mem, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Bitmaps of pages, region by region. */
#include "vmm/persist/page_sets.h"

#include <stdlib.h>

#include "vmm/base/bytes.h"
#include "vmm/base/gmem_pages.h"

int page_sets_init(struct page_sets *sets, const struct gmem *mem, struct error *err)
{
	*sets = (struct page_sets){0};
	for (size_t i = 0; i < gmem_region_count(mem); i++) {
		sets->bits[i] = calloc(gmem_bitmap_words(mem, i), sizeof(uint64_t));
		if (sets->bits[i] == NULL) {
			page_sets_destroy(sets);
			return error_sys(err, "Cannot list the pages of guest memory");
		}
	}
	return 0;
}

void page_sets_destroy(struct page_sets *sets)
{
	for (size_t i = 0; i < ARRAY_COUNT(sets->bits); i++) {
		free(sets->bits[i]);
	}
	*sets = (struct page_sets){0};
}

bool page_bit(const uint64_t *bits, uint64_t page)
{
	return (bits[page / GMEM_WORD_PAGES] >> page % GMEM_WORD_PAGES & 1) != 0;
}

uint64_t page_run_end(const uint64_t *bits, uint64_t page, uint64_t end)
{
	bool is_in = page_bit(bits, page);
	uint64_t whole = is_in ? UINT64_MAX : 0;

	while (page < end && page_bit(bits, page) == is_in) {
		bool is_word = page % GMEM_WORD_PAGES == 0 && bits[page / GMEM_WORD_PAGES] == whole;

		page += is_word ? GMEM_WORD_PAGES : 1;
	}
	return min_u64(page, end);
}

void page_run_add(uint64_t *bits, uint64_t first, uint64_t end)
{
	for (uint64_t page = first; page < end; page++) {
		bits[page / GMEM_WORD_PAGES] |= UINT64_C(1) << page % GMEM_WORD_PAGES;
	}
}

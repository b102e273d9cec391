/* SPDX-License-Identifier: Apache-2.0 */
/* Page frame numbers: sorting and joining neighbours. */
#include "devices/virtio/balloon/balloon_pfn.h"

#include "vmm/base/bytes.h"

/*
 * Shell's sort with Knuth's gaps: the worst case for 1024 numbers is some 40000 comparisons, and a
 * list that is sorted already, as a guest's allocator often makes it, takes one pass per gap.
 */
void pfn_sort(uint32_t *pfns, size_t count)
{
	static const size_t gaps[] = {364, 121, 40, 13, 4, 1};

	for (size_t g = 0; g < ARRAY_COUNT(gaps); g++) {
		size_t gap = gaps[g];

		for (size_t i = gap; i < count; i++) {
			uint32_t pfn = pfns[i];
			size_t at = i;

			for (; at >= gap && pfns[at - gap] > pfn; at -= gap) {
				pfns[at] = pfns[at - gap];
			}
			pfns[at] = pfn;
		}
	}
}

size_t pfn_next_range(const uint32_t *pfns, size_t count, struct pfn_range *range)
{
	size_t used = 1;

	*range = (struct pfn_range){.first = pfns[0], .count = 1};
	while (used < count && pfns[used] - pfns[used - 1] <= 1) {
		range->count += pfns[used] - pfns[used - 1];
		used++;
	}
	return used;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of page frame numbers, made into ranges: pure. */
#ifndef DEVICES_VIRTIO_BALLOON_PFN_H
#define DEVICES_VIRTIO_BALLOON_PFN_H

#include <stddef.h>
#include <stdint.h>

struct pfn_range {
	uint32_t first;
	uint32_t count; /* of pages, not 0 */
};

/* Ascending, in place, without memory of its own (which qsort may take). For up to 1024 or so. */
void pfn_sort(uint32_t *pfns, size_t count);

/*
 * The range that a sorted list of `count` numbers (not 0) begins with, repeated ones counted once.
 * Returns how many numbers of the list are in it.
 */
size_t pfn_next_range(const uint32_t *pfns, size_t count, struct pfn_range *range);

#endif

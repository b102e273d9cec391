/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of up to 1024 numbers, which may be any; also such as nobody sorted. */
#include "tests/eva/eva.h"

#include "devices/virtio/balloon/balloon_pfn.c"

enum {
	PFNS_MAX = 1024
};

void main(void)
{
	/*@ widen_hints global:"all", 1023, 1024; */
	uint32_t pfns[PFNS_MAX];
	struct pfn_range range;

	fill(pfns, sizeof(pfns));
	pfn_sort(pfns, any_between(0, PFNS_MAX));
	keep(pfn_next_range(pfns, any_between(1, PFNS_MAX), &range));
	keep(range.first);
	keep(range.count);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Page frame numbers: any list becomes ascending ranges without repetitions. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "devices/virtio/balloon/balloon_pfn.h"
#include "vmm/base/bytes.h"

enum {
	LIST_MAX = 1024
};

static int compare(const void *a, const void *b)
{
	uint32_t first = *(const uint32_t *)a;
	uint32_t second = *(const uint32_t *)b;

	return first < second ? -1 : first > second;
}

/* The same list every time: a linear congruential generator. */
static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

Test(balloon_pfn, sorts_as_the_library_does)
{
	static const uint32_t spreads[] = {1, 2, 100, UINT32_MAX};
	uint32_t state = 1;

	for (size_t count = 0; count <= LIST_MAX; count += count / 7 + 1) {
		for (size_t s = 0; s < ARRAY_COUNT(spreads); s++) {
			uint32_t pfns[LIST_MAX];
			uint32_t expected[LIST_MAX];

			for (size_t i = 0; i < count; i++) {
				pfns[i] = next_random(&state) % spreads[s];
				expected[i] = pfns[i];
			}
			qsort(expected, count, sizeof(expected[0]), compare);
			pfn_sort(pfns, count);
			cr_assert_arr_eq(pfns, expected, count * sizeof(pfns[0]), "%zu numbers",
					 count);
		}
	}
}

static void expect_ranges(const uint32_t *pfns, size_t count, const struct pfn_range *expected)
{
	size_t found = 0;

	for (size_t at = 0; at < count; found++) {
		struct pfn_range range;
		size_t used = pfn_next_range(pfns + at, count - at, &range);

		cr_assert_gt(used, 0);
		cr_assert_eq(range.first, expected[found].first, "range %zu", found);
		cr_assert_eq(range.count, expected[found].count, "range %zu", found);
		at += used;
	}
	cr_assert_eq(expected[found].count, 0, "%zu ranges", found);
}

Test(balloon_pfn, joins_neighbours_and_drops_repetitions)
{
	static const struct {
		uint32_t pfns[8];
		size_t count;
		struct pfn_range ranges[5];
	} cases[] = {
		{{7}, 1, {{7, 1}}},
		{{1, 2, 3}, 3, {{1, 3}}},
		{{1, 3, 5}, 3, {{1, 1}, {3, 1}, {5, 1}}},
		{{4, 4, 4}, 3, {{4, 1}}},
		{{0, 0, 1, 1, 2, 9}, 6, {{0, 3}, {9, 1}}},
		{{0, UINT32_MAX}, 2, {{0, 1}, {UINT32_MAX, 1}}},
		{{UINT32_MAX - 1, UINT32_MAX, UINT32_MAX}, 3, {{UINT32_MAX - 1, 2}}},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		expect_ranges(cases[i].pfns, cases[i].count, cases[i].ranges);
	}
}

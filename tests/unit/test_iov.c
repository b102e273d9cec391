/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/iov.h. */
#include <criterion/criterion.h>

#include "vmm/base/bytes.h"
#include "vmm/base/iov.h"

Test(iov, what_was_got_through_is_dropped)
{
	static const struct {
		uint64_t len;
		size_t gone;
		size_t left; /* bytes of the element that is then first */
		size_t offset;
	} cases[] = {
		{0, 0, 4, 0},  {1, 0, 3, 1},
		{3, 0, 1, 3},  {4, 2, 10, 0}, /* an element of no bytes goes as well */
		{5, 2, 9, 1},  {14, 3, 1, 0},
		{15, 4, 0, 0}, {99, 4, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char bytes[4][16];
		struct iovec iov[] = {{bytes[0], 4}, {bytes[1], 0}, {bytes[2], 10}, {bytes[3], 1}};
		size_t gone = iov_advance(iov, 0, 4, cases[i].len);

		cr_expect_eq(gone, cases[i].gone, "case %zu", i);
		if (gone < 4) {
			cr_expect_eq(iov[gone].iov_len, cases[i].left, "case %zu", i);
			cr_expect_eq((char *)iov[gone].iov_base - bytes[gone], cases[i].offset);
		}
	}
	cr_assert_eq(iov_advance(NULL, 0, 0, 1), 0);
}

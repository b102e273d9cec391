/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/virtio/core/virtq_chain.c on chains by hand; those of a queue: test_virtq.c. */
#include <criterion/criterion.h>

#include "devices/virtio/core/virtq_chain.h"
#include "vmm/base/bytes.h"

#define DATA_AT UINT64_C(0x40000)

/* The second segment continues the first one; the others are apart. */
static const struct virtq_chain four = {
	.count = 4,
	.readable = 4,
	.read_len = 96,
	.segs = {{{DATA_AT}, 64}, {{DATA_AT + 64}, 16}, {{DATA_AT + 512}, 8}, {{DATA_AT + 256}, 8}},
};

Test(virtq_chain, an_iovec_that_may_grow_does_so_only_if_all_fit)
{
	static const struct {
		size_t first, cap;
		int result;
		size_t count, len; /* of the iovec that was there */
	} cases[] = {
		{0, 3, 0, 3, 80},
		{1, 4, 0, 4, 64},
		{0, 2, -1, 1, 64},
		{1, 3, -1, 1, 64},
	};
	const struct virtq_span head = {VIRTQ_READABLE, 0, 64};
	const struct virtq_span rest = {VIRTQ_READABLE, 64, 32};
	const struct gmem_range range = {{0}, MIB};
	struct error err = {0};
	struct gmem *mem;

	cr_assert(gmem_new(&range, 1, GMEM_ANON, &mem, &err) == 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct iovec list[4];
		struct virtq_iov iov = {.iov = list, .cap = 1};

		cr_assert(virtq_chain_iov(mem, &four, head, &iov) == 0 && iov.count == 1);
		iov.first = cases[i].first;
		iov.cap = cases[i].cap;
		cr_expect(virtq_chain_iov(mem, &four, rest, &iov) == cases[i].result, "case %zu",
			  i);
		cr_expect(iov.count == cases[i].count && list[0].iov_len == cases[i].len,
			  "case %zu: %zu, the first of %zu bytes", i, iov.count, list[0].iov_len);
	}
	gmem_free(mem);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/virtio/blk/blk_rings.c. */
#include <criterion/criterion.h>
#include <poll.h>
#include <unistd.h>

#include "devices/virtio/blk/blk_rings.h"
#include "devices/virtio/blk/blk_uring.h"
#include "tests/fake/kvm_fake.h"

static struct blk_rings rings;

Test(blk_rings, the_stock_is_filled_once_and_leaks_nothing)
{
	unsigned fds = kvm_fake_open_fds();
	struct blk_uring *taken[BLK_RINGS];

	blk_rings_init(&rings);
	cr_assert_eq(rings.count, BLK_RINGS);
	for (unsigned i = 0; i < BLK_RINGS; i++) {
		taken[i] = blk_rings_take(&rings);
		cr_assert_not_null(taken[i]);
	}
	blk_rings_init(&rings);
	cr_expect_null(blk_rings_take(&rings), "a second start of the same process has no more");
	for (unsigned i = 0; i < BLK_RINGS; i++) {
		blk_rings_put(&rings, taken[i]);
	}
	cr_expect_eq(rings.count, BLK_RINGS);
	blk_rings_destroy(&rings);
	blk_rings_destroy(&rings);
	cr_expect_eq(kvm_fake_open_fds(), fds);
}

/* A pipe whose writing end is in no process and in no ring ends. */
Test(blk_rings, a_ring_that_comes_back_has_let_its_file_go, .timeout = 20)
{
	struct error err = {0};
	int ends[2];

	blk_rings_init(&rings);
	struct blk_uring *ring = blk_rings_take(&rings);

	cr_assert(ring != NULL && pipe(ends) == 0);
	struct pollfd end = {.fd = ends[0], .events = POLLIN};

	cr_assert_eq(blk_uring_set_file(ring, ends[1], -1, &err), 0, "%s", err.msg);
	close(ends[1]);
	cr_assert_eq(poll(&end, 1, 50), 0);
	blk_rings_put(&rings, ring);
	cr_expect_eq(poll(&end, 1, 10000), 1);
	blk_rings_destroy(&rings);
	close(ends[0]);
}

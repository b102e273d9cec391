/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/virtio/blk/blk_rings.c. */
#include <criterion/criterion.h>
#include <poll.h>
#include <unistd.h>

#include "devices/virtio/blk/blk_rings.h"
#include "devices/virtio/blk/blk_uring.h"
#include "tests/fake/kvm_fake.h"

static struct blk_rings rings;

static struct blk_uring *take(int fd, bool is_sync, int result)
{
	const struct blk_ring_use use = {.name = "d", .fd = fd, .base_fd = -1, .is_sync = is_sync};
	struct blk_uring *ring = NULL;
	struct error err = {0};

	cr_expect_eq(blk_rings_get(&rings, &use, &ring, &err), result, "%s", err.msg);
	return ring;
}

Test(blk_rings, the_stock_is_filled_once_and_leaks_nothing)
{
	unsigned fds = kvm_fake_open_fds();
	struct blk_uring *taken[BLK_RINGS];

	blk_rings_init(&rings);
	cr_assert_eq(rings.count, BLK_RINGS);
	for (unsigned i = 0; i < BLK_RINGS; i++) {
		taken[i] = take(-1, false, 0);
		cr_assert_not_null(taken[i]);
	}
	blk_rings_init(&rings);
	/* A second start of the same process has no more. */
	cr_expect_null(take(-1, true, 0));
	cr_expect_null(take(-1, false, -1));
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
	int ends[2];

	blk_rings_init(&rings);
	cr_assert_eq(pipe(ends), 0);
	struct blk_uring *ring = take(ends[1], false, 0);
	struct pollfd end = {.fd = ends[0], .events = POLLIN};

	cr_assert_not_null(ring);
	close(ends[1]);
	cr_assert_eq(poll(&end, 1, 50), 0);
	blk_rings_put(&rings, ring);
	cr_expect_eq(poll(&end, 1, 10000), 1);
	blk_rings_destroy(&rings);
	close(ends[0]);
}

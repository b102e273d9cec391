/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_urings in stock, for drives that come while a machine runs: its threads' filters allow nobody
 * to make one, since no filter would see what it does.
 */
#ifndef DEVICES_VIRTIO_BLK_RINGS_H
#define DEVICES_VIRTIO_BLK_RINGS_H

#include <stdbool.h>

struct blk_uring;

enum {
	BLK_RINGS = 4 /* 13 us and 20 KiB of the kernel's each */
};

struct blk_rings {
	bool is_made;
	unsigned count;
	struct blk_uring *spare[BLK_RINGS];
};

/* Fills the stock, as far as the host lets us; once. VMM thread, like all below. */
void blk_rings_init(struct blk_rings *rings);
void blk_rings_destroy(struct blk_rings *rings); /* a zeroed one is fine */

/* A ring of BLK_URING_ENTRIES entries without a file, which is the caller's; NULL: none is left. */
struct blk_uring *blk_rings_take(struct blk_rings *rings);

/* Takes back what blk_rings_take gave: what is in flight is waited for and dropped. */
void blk_rings_put(struct blk_rings *rings, struct blk_uring *ring);

#endif

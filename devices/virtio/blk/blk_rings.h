/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_urings in stock, for drives that come while a machine runs: its threads' filters allow nobody
 * to make one, since no filter would see what it does.
 */
#ifndef DEVICES_VIRTIO_BLK_RINGS_H
#define DEVICES_VIRTIO_BLK_RINGS_H

#include <stdbool.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

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

/* What a ring is for. */
struct blk_ring_use {
	const char *name;
	int fd, base_fd; /* -1: none */
	bool is_sync;	 /* it is to do only what would block */
};

/*
 * *ring is the caller's: one of the stock, or made where `rings` is NULL. Where there is none to be
 * had, it is NULL for a drive that can do without, and the log says what that means.
 */
MUST_CHECK int blk_rings_get(struct blk_rings *rings, const struct blk_ring_use *use,
			     struct blk_uring **ring, struct error *err);

/* Takes back what blk_rings_get gave, with the same `rings`: what is in flight is waited for and
 * dropped. NULL is fine. */
void blk_rings_put(struct blk_rings *rings, struct blk_uring *ring);

#endif

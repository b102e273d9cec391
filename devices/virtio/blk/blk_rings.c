/* SPDX-License-Identifier: Apache-2.0 */
/* io_urings in stock. */
#include "devices/virtio/blk/blk_rings.h"

#include <errno.h>
#include <stddef.h>

#include "devices/virtio/blk/blk_uring.h"
#include "vmm/base/log.h"

enum {
	SYNC_ENTRIES = 32 /* of the Sync engine: in flight only while a disk is slow */
};

void blk_rings_init(struct blk_rings *rings)
{
	if (rings->is_made) {
		return;
	}
	rings->is_made = true;
	while (rings->count < BLK_RINGS &&
	       blk_uring_new(-1, -1, BLK_URING_ENTRIES, &rings->spare[rings->count]) == 0) {
		rings->count++;
	}
}

void blk_rings_destroy(struct blk_rings *rings)
{
	while (rings->count > 0) {
		blk_uring_free(rings->spare[--rings->count]);
	}
	rings->is_made = false;
}

static int take(struct blk_rings *rings, const struct blk_ring_use *use, struct blk_uring **ring,
		struct error *err)
{
	if (rings->count > 0) {
		*ring = rings->spare[--rings->count];
		return blk_uring_set_file(*ring, use->fd, use->base_fd, err);
	}
	if (!use->is_sync) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The Async engine needs io_uring, of which a running machine has "
				 "%d for drives that are plugged in, and all are in use: take the "
				 "Sync engine",
				 BLK_RINGS);
	}
	log_warn("The device %s does without io_uring, of which a running machine has %d for "
		 "devices "
		 "that are plugged in: while its disk is slow, the whole microVM waits",
		 use->name, BLK_RINGS);
	return 0;
}

static int make(const struct blk_ring_use *use, struct blk_uring **ring, struct error *err)
{
	if (blk_uring_new(use->fd, use->base_fd, use->is_sync ? SYNC_ENTRIES : BLK_URING_ENTRIES,
			  ring) == 0) {
		return 0;
	}
	if (!use->is_sync) {
		return error_sys(err, "The Async engine needs io_uring, which this host refuses");
	}
	log_warn("The device %s does without io_uring, which this host refuses: while its disk is "
		 "slow, the whole microVM waits: %s (os error %d)",
		 use->name, error_os_text(errno), errno);
	return 0;
}

int blk_rings_get(struct blk_rings *rings, const struct blk_ring_use *use, struct blk_uring **ring,
		  struct error *err)
{
	return rings != NULL ? take(rings, use, ring, err) : make(use, ring, err);
}

void blk_rings_put(struct blk_rings *rings, struct blk_uring *ring)
{
	struct error err = {0};

	if (rings == NULL || ring == NULL) {
		blk_uring_free(ring);
		return;
	}
	blk_uring_abandon(ring);
	/* One that can't be parted from its file would keep it open. */
	if (blk_uring_set_file(ring, -1, -1, &err) < 0) {
		blk_uring_free(ring);
		return;
	}
	rings->spare[rings->count++] = ring;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* io_urings in stock. */
#include "devices/virtio/blk/blk_rings.h"

#include <stddef.h>

#include "devices/virtio/blk/blk_uring.h"

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

struct blk_uring *blk_rings_take(struct blk_rings *rings)
{
	return rings->count > 0 ? rings->spare[--rings->count] : NULL;
}

void blk_rings_put(struct blk_rings *rings, struct blk_uring *ring)
{
	struct error err = {0};

	blk_uring_abandon(ring);
	/* One that can't be parted from its file would keep it open. */
	if (blk_uring_set_file(ring, -1, -1, &err) < 0) {
		blk_uring_free(ring);
		return;
	}
	rings->spare[rings->count++] = ring;
}

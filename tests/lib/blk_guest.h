/* SPDX-License-Identifier: Apache-2.0 */
/* A guest with one drive, for unit tests of the block device: vdriver.h and block requests. */
#ifndef TESTS_LIB_BLK_GUEST_H
#define TESTS_LIB_BLK_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio/blk/blk.h"
#include "tests/lib/vdriver.h"

enum {
	BLK_GUEST_SECTORS = 2048 /* 1 MiB */
};

#define BLK_GUEST_PENDING 0xee /* a status that was not written */

struct blk_guest {
	struct vdriver driver;
	struct blk_config config; /* changed as a test likes before blk_guest_start */
	struct blk_file file;	  /* a memfd of BLK_GUEST_SECTORS; likewise */
	uint64_t features;	  /* what the driver accepts of those offered; all */
	struct blk *blk;
};

void blk_guest_init(struct blk_guest *guest, enum blk_io_engine engine);

/*
 * Gives it an overlay in place of its file: of these two descriptors, which stay the caller's; an
 * empty one becomes an overlay.
 */
void blk_guest_overlay(struct blk_guest *guest, int base_fd, int own_fd);

/* Makes the device and starts it with all that it offers. */
void blk_guest_start(struct blk_guest *guest);
void blk_guest_destroy(struct blk_guest *guest);

/* A request without its header and status: `bufs` are put between the two. */
struct blk_guest_req {
	uint32_t type;
	uint64_t sector;
	const struct vbuf *bufs;
	size_t count; /* at most 8 */
};

/* Offers one without a notification, and returns its chain. */
unsigned blk_guest_add(struct blk_guest *guest, unsigned queue, const struct blk_guest_req *req);

/* The status of a chain; BLK_GUEST_PENDING if none was written. `bufs` as in the request. */
uint8_t blk_guest_status(struct blk_guest *guest, unsigned queue, unsigned chain, size_t bufs);

/* Does one on queue 0 and waits for its end. Returns its status; `used` may be NULL. */
uint8_t blk_guest_do(struct blk_guest *guest, const struct blk_guest_req *req,
		     struct vring_used *used);

/* With one buffer: reads into (writes from) `data`. */
uint8_t blk_guest_read(struct blk_guest *guest, uint64_t sector, void *data, uint32_t len);
uint8_t blk_guest_write(struct blk_guest *guest, uint64_t sector, const void *data, uint32_t len);

#endif

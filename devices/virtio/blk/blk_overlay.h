/* SPDX-License-Identifier: Apache-2.0 */
/* An overlay in use: which clusters it has of its own, and what a request takes besides its data.
 */
#ifndef DEVICES_VIRTIO_BLK_OVERLAY_H
#define DEVICES_VIRTIO_BLK_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/blk/blk_io.h"
#include "devices/virtio/blk/blk_overlay_file.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	BLK_COPIES_MAX = 16, /* requests that change the map in flight at most */
};

/* The clusters that a request makes the overlay's own, and copies before if it covers a part. */
struct blk_copy {
	bool is_used;
	uint64_t first, end;
	uint64_t partial[2]; /* clusters to be copied */
	unsigned partial_count, partial_next;
	uint8_t *buffer; /* of a cluster */
};

struct blk_overlay {
	/* immutable */
	struct overlay_head head;
	uint64_t data_at;
	int base_fd; /* owned */
	char *path;
	uint8_t *buffers;
	uint64_t block_count; /* of the map */
	/* set by blk_overlay_use */
	bool is_used;
	bool is_deferred; /* the map is written by flushes; else by each request that changes it */
	/* under the device's lock */
	uint64_t *own;	  /* the map that requests go by */
	uint64_t *stored; /* what the file has of it, or is being given */
	uint8_t *dirty;	  /* blocks of `own` that the file lacks, if it is deferred */
	uint8_t *flushed; /* blocks that the flush in flight writes */
	bool is_flushing;
	unsigned copy_count; /* used ones */
	struct blk_copy copies[BLK_COPIES_MAX];
};

/*
 * Of a header that was checked; `path` is for sentences. Owns *base_fd on success, and leaves -1
 * behind.
 */
MUST_CHECK int blk_overlay_new(const struct overlay_head *head, const char *path, int *base_fd,
			       struct blk_overlay **out, struct error *err);
void blk_overlay_free(struct blk_overlay *overlay); /* NULL is fine */

/*
 * Before the first request on the file `fd`, which is locked: reads its map. `is_deferred`: the
 * guest flushes.
 */
MUST_CHECK int blk_overlay_use(struct blk_overlay *overlay, int fd, bool is_deferred,
			       struct error *err);

/* --- Of one request, by the owner --- */

/* It has to wait until another one in flight has ended. Only of one with an overlay. */
bool blk_overlay_must_wait(const struct blk_io *io);

/* Nothing is in flight any more, and no end was told. */
void blk_overlay_forget(struct blk_overlay *overlay);

/* The file lacks a part of the map, which a flush would write. */
bool blk_overlay_is_dirty(const struct blk_overlay *overlay);

/* --- Of one request, by blk_io.c --- */

/* Before all else: takes the clusters that *io makes the overlay's own. */
void blk_overlay_begin(struct blk_io *io);

/* When a phase is done: prepares the next one, or returns false: all is done. */
MUST_CHECK bool blk_overlay_next(struct blk_io *io);

/* Takes what a call of a phase that is not BLK_PHASE_DATA did. */
MUST_CHECK enum blk_progress blk_overlay_advance(struct blk_io *io, uint64_t done);

/* The request is done, or has failed. */
void blk_overlay_end(struct blk_io *io, bool is_done);

/* Chooses the file of a read's next call; returns how many of its bytes are in that one. */
uint64_t blk_overlay_run(struct blk_io *io);

/* Leaves of a discard what can be forgotten: no part of a cluster that is the base's. */
void blk_overlay_clip(const struct blk_overlay *overlay, uint64_t *offset, uint64_t *len);

/* The clusters of these bytes are zeroes now. */
void blk_overlay_note_discard(struct blk_overlay *overlay, uint64_t offset, uint64_t len);

#endif

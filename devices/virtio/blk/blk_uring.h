/* SPDX-License-Identifier: Apache-2.0 */
/* Requests in flight on an io_uring of one device. */
#ifndef DEVICES_VIRTIO_BLK_URING_H
#define DEVICES_VIRTIO_BLK_URING_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio/blk/blk_io.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	BLK_URING_ENTRIES = 128 /* requests in flight at most [compat] */
};

struct blk_uring;

/*
 * All it will ever need for `entries` requests in flight, a power of two, on a file and its base
 * (-1: none) that the caller keeps open until they are set to others. -1: errno says why the host
 * refuses. The owner's lock covers all calls; only blk_uring_abandon may be made on another thread
 * than this, and without the lock if the owner makes no other call meanwhile.
 */
MUST_CHECK int blk_uring_new(int fd, int base_fd, unsigned entries, struct blk_uring **out);
void blk_uring_free(struct blk_uring *uring); /* abandons what is in flight; NULL is fine */

/*
 * For an event loop: readable while there are completions to reap. Those that were reaped on the
 * way (most reads of cached data) wake nobody, which an eventfd would do.
 */
int blk_uring_event_fd(const struct blk_uring *uring);

/* A request to fill, with room for iovecs; NULL: all are in flight. blk_uring_queue takes it. */
struct blk_io *blk_uring_slot(struct blk_uring *uring);

/* Queues the one of blk_uring_slot, filled and started (BLK_IO_MORE). */
void blk_uring_queue(struct blk_uring *uring, struct blk_io *io);

/*
 * Submits all that is queued, then returns a request that has ended, BLK_IO_DONE or BLK_IO_FAILED,
 * which is valid until the next call of blk_uring_queue; NULL: none yet. Never waits.
 */
MUST_CHECK struct blk_io *blk_uring_reap(struct blk_uring *uring, enum blk_progress *progress);

/* An fallocate is in flight: to try a call on this thread might wait for it. */
bool blk_uring_is_allocating(const struct blk_uring *uring);

unsigned blk_uring_in_flight(const struct blk_uring *uring);

/* Waits for a completion; only while something is in flight and nothing is to be reaped. */
void blk_uring_wait(struct blk_uring *uring);

/* On return nothing is in flight. The results are dropped. */
void blk_uring_abandon(struct blk_uring *uring);

/* With nothing in flight. On failure the old files stay. */
MUST_CHECK int blk_uring_set_file(struct blk_uring *uring, int fd, int base_fd, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on the calling thread: all of a call, or what it can do without waiting for a disk. */
#ifndef DEVICES_VIRTIO_BLK_SYNC_H
#define DEVICES_VIRTIO_BLK_SYNC_H

#include "devices/virtio/blk/blk_io.h"
#include "vmm/base/attr.h"

/* Calls that a file can't do without waiting, as bits of enum blk_call. */
enum {
	/* Linux has no way to ask for these. */
	BLK_CALLS_WAIT = 1 << BLK_CALL_FDATASYNC | 1 << BLK_CALL_FALLOCATE,
	BLK_CALLS_ALL = BLK_CALLS_WAIT | 1 << BLK_CALL_READV | 1 << BLK_CALL_WRITEV,
};

/*
 * Makes the next call of an *io that is started (BLK_IO_MORE) on `fd`, however long it takes, and
 * advances it. *step is that call: blk_io_step(io).
 */
MUST_CHECK enum blk_progress blk_sync_step(int fd, struct blk_io *io, const struct blk_step *step);

/*
 * Likewise, but only what ends without waiting for a disk; BLK_IO_MORE also says that nothing was
 * done. *waiting has the calls that are not to be tried: BLK_CALLS_WAIT for a new file, and what
 * the file turns out not to support.
 */
MUST_CHECK enum blk_progress blk_sync_try(int fd, struct blk_io *io, const struct blk_step *step,
					  unsigned *waiting);

#endif

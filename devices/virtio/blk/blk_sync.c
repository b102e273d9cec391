/* SPDX-License-Identifier: Apache-2.0 */
/* The Sync engine: the calls themselves, straight between the file and guest memory. */
#include "devices/virtio/blk/blk_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

static int64_t perform(int fd, const struct blk_step *step)
{
	switch (step->call) {
	case BLK_CALL_READV:
		return preadv(fd, step->iov, (int)step->iov_count, (off_t)step->offset);
	case BLK_CALL_WRITEV:
		return pwritev(fd, step->iov, (int)step->iov_count, (off_t)step->offset);
	case BLK_CALL_FALLOCATE:
		return fallocate(fd, step->mode, (off_t)step->offset, (off_t)step->len);
	case BLK_CALL_FDATASYNC:
		break;
	}
	return fdatasync(fd);
}

enum blk_progress blk_sync_step(int fd, struct blk_io *io)
{
	const struct blk_step step = blk_io_step(io);
	int64_t result = perform(fd, &step);

	return blk_io_advance(io, result < 0 ? -errno : result);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The calls themselves, straight between the file and guest memory. */
#include "devices/virtio/blk/blk_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "devices/virtio/blk/blk_overlay.h"

/*
 * `flags`: of reads and writes. Where there are none, one piece has calls of its own, for which the
 * kernel copies no iovec and the filter looks at no argument.
 */
static int64_t perform(int file, const struct blk_io *io, const struct blk_step *step, int flags)
{
	int fd = step->is_base ? io->overlay->base_fd : file;
	bool is_plain = flags == 0 && step->iov_count == 1;

	switch (step->call) {
	case BLK_CALL_READV:
		if (is_plain) {
			return pread(fd, step->iov->iov_base, step->iov->iov_len,
				     (off_t)step->offset);
		}
		return preadv2(fd, step->iov, (int)step->iov_count, (off_t)step->offset, flags);
	case BLK_CALL_WRITEV:
		if (is_plain) {
			return pwrite(fd, step->iov->iov_base, step->iov->iov_len,
				      (off_t)step->offset);
		}
		return pwritev2(fd, step->iov, (int)step->iov_count, (off_t)step->offset, flags);
	case BLK_CALL_FALLOCATE:
		return fallocate(fd, step->mode, (off_t)step->offset, (off_t)step->len);
	case BLK_CALL_FDATASYNC:
		break;
	}
	return fdatasync(fd);
}

enum blk_progress blk_sync_step(int fd, struct blk_io *io, const struct blk_step *step)
{
	int64_t result = perform(fd, io, step, 0);

	return blk_io_advance(io, result < 0 ? -errno : result);
}

enum blk_progress blk_sync_try(int fd, struct blk_io *io, const struct blk_step *step,
			       unsigned *waiting)
{
	if ((*waiting >> step->call & 1) != 0) {
		return BLK_IO_MORE;
	}
	int64_t result = perform(fd, io, step, RWF_NOWAIT);

	if (result < 0 && errno == EOPNOTSUPP) {
		*waiting |= 1U << step->call;
	}
	if (result < 0 && (errno == EOPNOTSUPP || errno == EAGAIN)) {
		return BLK_IO_MORE;
	}
	return blk_io_advance(io, result < 0 ? -errno : result);
}

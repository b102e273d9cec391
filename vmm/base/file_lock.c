/* SPDX-License-Identifier: Apache-2.0 */
/* Locks of files. */
#include "vmm/base/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum {
	STEP_MS = 10,
};

static struct flock request(enum file_part part, short type)
{
	return (struct flock){
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = part == FILE_WRITER ? 1 : 0,
		.l_len = part == FILE_WHOLE ? 0 : 1,
	};
}

bool file_lock(int fd, enum file_part part, bool is_shared, unsigned patience_ms)
{
	struct flock lock = request(part, is_shared ? F_RDLCK : F_WRLCK);

	/* EACCES: a security module forbids locks, so that nobody has one. */
	while (fcntl(fd, F_OFD_SETLK, &lock) < 0 && errno == EAGAIN) {
		if (patience_ms < STEP_MS) {
			return false;
		}
		(void)usleep(STEP_MS * 1000);
		patience_ms -= STEP_MS;
	}
	return true;
}

void file_unlock(int fd, enum file_part part)
{
	struct flock lock = request(part, F_UNLCK);
	int before = errno;

	if (fd >= 0) {
		(void)fcntl(fd, F_OFD_SETLK, &lock);
	}
	errno = before;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of files that are mostly holes. */
#include "tools/squibctl/ctl_copy_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	STEP = 1 << 20 /* bytes that are read at a time */
};

static int write_all(int fd, const uint8_t *bytes, size_t len, off_t at)
{
	size_t done = 0;

	while (done < len) {
		ssize_t put = pwrite(fd, bytes + done, len - done, at + (off_t)done);

		if (put < 0 && errno != EINTR) {
			return -1;
		}
		done += put > 0 ? (size_t)put : 0;
	}
	return 0;
}

sigset_t ctl_copy_signals(void)
{
	static const int ends[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
		struct sigaction action;

		/* One that is blocked waits even where it is ignored. */
		if (sigaction(ends[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
			sigaddset(&set, ends[i]);
		}
	}
	return set;
}

/* Whether one of those waits until it is let through. */
static bool is_interrupted(void)
{
	sigset_t ends = ctl_copy_signals();
	sigset_t waiting;

	return sigpending(&waiting) == 0 && sigandset(&waiting, &waiting, &ends) == 0 &&
	       !sigisemptyset(&waiting);
}

/* A piece without holes. */
static int copy_piece(int from, int to, off_t at, off_t end, uint8_t *bytes)
{
	while (at < end) {
		if (is_interrupted()) {
			errno = EINTR;
			return -1;
		}
		ssize_t got = pread(from, bytes, min_u64((uint64_t)(end - at), STEP), at);

		if (got == 0 || (got < 0 && errno != EINTR) ||
		    (got > 0 && write_all(to, bytes, (size_t)got, at) < 0)) {
			return -1;
		}
		at += got > 0 ? got : 0;
	}
	return 0;
}

static int copy_data(int from, int to, off_t len)
{
	AUTO_FREE uint8_t *bytes = malloc(STEP);
	off_t end = 0;

	if (bytes == NULL || ftruncate(to, len) < 0) {
		return -1;
	}
	while (end < len) {
		off_t at = lseek(from, end, SEEK_DATA);

		if (at < 0) {
			return errno == ENXIO ? 0 : -1;
		}
		end = lseek(from, at, SEEK_HOLE);
		if (end < 0 || copy_piece(from, to, at, end, bytes) < 0) {
			return -1;
		}
	}
	return 0;
}

int ctl_copy_file(const char *from, int to, struct error *err)
{
	AUTO_FD fd = open(from, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		return error_sys(err, "Cannot open %s", from);
	}
	if (!S_ISREG(st.st_mode)) {
		return error_set(err, ERR_BAD_REQUEST, "%s is no regular file", from);
	}
	return ioctl(to, FICLONE, fd) == 0 || copy_data(fd, to, st.st_size) == 0
		       ? 0
		       : error_sys(err, "Cannot copy %s", from);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that close themselves, whole reads. */
#include "vmm/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	KEPT_FDS = 64
};

void fd_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		errno = saved;
		*fd = -1;
	}
}

int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

void free_pointer(void *pointer)
{
	void **block = pointer;

	free(*block);
	*block = NULL;
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

int fd_close_all_but(int *keep, size_t count, struct error *err)
{
	unsigned first = STDERR_FILENO + 1;

	qsort(keep, count, sizeof(*keep), compare_fds);
	for (size_t i = 0; i < count; i++) {
		if (keep[i] < (int)first) {
			continue;
		}
		unsigned kept = (unsigned)keep[i];

		if (kept > first && close_range(first, kept - 1, 0) < 0) {
			return error_sys(err, "Cannot close descriptors");
		}
		first = kept + 1;
	}
	return close_range(first, UINT_MAX, 0) < 0 ? error_sys(err, "Cannot close descriptors") : 0;
}

int fd_open_file(const char *path, const char *what, int *fd, uint64_t *len, struct error *err)
{
	/* O_NONBLOCK: a FIFO without a writer must be refused below, not waited for. */
	AUTO_FD file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (file < 0 || fstat(file, &st) < 0) {
		return error_sys(err, "%s cannot be opened: %s", what, path);
	}
	if (!S_ISREG(st.st_mode)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "%s cannot be opened: %s is not a regular file", what, path);
	}
	if (len != NULL) {
		*len = (uint64_t)st.st_size;
	}
	*fd = fd_take(&file);
	return 0;
}

int pread_full(int fd, void *buf, size_t len, uint64_t offset, struct error *err)
{
	uint8_t *next = buf;

	while (len > 0) {
		ssize_t got = pread(fd, next, len, (off_t)offset);

		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0) {
			return error_sys(err, "Cannot read %zu bytes at offset %llu", len,
					 (unsigned long long)offset);
		}
		if (got == 0) {
			return error_set(err, ERR_CORRUPT,
					 "The file ends at offset %llu, %zu bytes too early",
					 (unsigned long long)offset, len);
		}
		next += got;
		len -= (size_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

bool fd_is_same_file(int a, int b)
{
	struct stat sa;
	struct stat sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

int fd_open_standard(struct error *err)
{
	/* Usually all are open, and there need not be a /dev/null: a jail has none. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		/* open(2) takes the lowest free number: this one. */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) {
			return error_sys(err, "Cannot open /dev/null");
		}
	}
	return 0;
}

void fd_raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int fd_guest_end(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT_MAX) {
		return INT_MAX;
	}
	int count = (int)limit.rlim_cur;

	return count - (count < 4 * KEPT_FDS ? count / 4 : KEPT_FDS);
}

int read_file(const char *path, const char *what, size_t limit, char **text, size_t *len,
	      struct error *err)
{
	/* A pipe will do as well: configurations come from process substitution, too. */
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	AUTO_FREE char *block = malloc(limit + 1);
	size_t used = 0;

	if (fd < 0) {
		return error_sys(err, "%s cannot be opened: %s", what, path);
	}
	if (block == NULL) {
		return error_sys(err, "%s %s does not fit into memory", what, path);
	}
	for (;;) {
		ssize_t got = read(fd, block + used, limit + 1 - used);

		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0) {
			return error_sys(err, "%s %s cannot be read", what, path);
		}
		used += (size_t)got;
		if (used > limit) {
			return error_set(err, ERR_TOO_LARGE,
					 "%s %s has more than the limit of %zu bytes", what, path,
					 limit);
		}
		if (got == 0) {
			break;
		}
	}
	block[used] = '\0';
	*text = block;
	*len = used;
	block = NULL;
	return 0;
}

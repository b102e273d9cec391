/* SPDX-License-Identifier: Apache-2.0 */
/* Writes files durably. */
#include "vmm/persist/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

/*
 * A file system that can't sync a directory (EINVAL), and a directory that may be searched and not
 * read (EACCES), are no reason to fail: the file's own bytes are safe.
 */
int durable_sync_directory(const char *path, struct error *err)
{
	char directory[4096];
	const char *slash = strrchr(path, '/');
	int len = slash == NULL ? 1 : (int)(slash - path) + 1;

	(void)!snprintf(directory, sizeof(directory), "%.*s", len, slash == NULL ? "." : path);
	AUTO_FD fd = open(directory, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL)) {
		return errno == EACCES ? 0
				       : error_sys(err, "Cannot sync the directory of %s", path);
	}
	return 0;
}

int durable_sync(int fd, const char *path, struct error *err)
{
	if (fsync(fd) < 0) {
		return error_sys(err, "Cannot sync %s", path);
	}
	return durable_sync_directory(path, err);
}

/* [compat] The path behind what clients look for. */
static COLD int fail(const char *path, const char *fault, struct error *err)
{
	int sys = errno;

	error_set(err, ERR_HOST, "%s: %s (os error %d): %s", fault, error_os_text(sys), sys, path);
	err->sys = sys;
	return -1;
}

static int check_regular(const struct stat *st, const char *path, const char *fault,
			 struct error *err)
{
	return S_ISREG(st->st_mode) ? 0
				    : error_set(err, ERR_BAD_REQUEST,
						"%s: it is not a regular file: %s", fault, path);
}

int durable_look(const char *path, const char *fault, struct stat *st, struct error *err)
{
	if (lstat(path, st) == 0) {
		return check_regular(st, path, fault, err);
	}
	*st = (struct stat){0};
	return errno == ENOENT ? 0 : fail(path, fault, err);
}

bool durable_is_there(const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd >= 0 || errno != ENOENT;
}

void durable_unmake(const char *path)
{
	struct error ignored = {0};
	AUTO_FD named = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
	AUTO_FD made = -1;

	if (named >= 0 || errno != ELOOP) {
		(void)unlink(path);
	} else if (durable_open(path, "", &made, &ignored) == 0) {
		(void)!ftruncate(made, 0);
	}
}

int durable_open(const char *path, const char *fault, int *fd, struct error *err)
{
	AUTO_FD opened = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	struct stat st;

	if (opened < 0 || fstat(opened, &st) < 0) {
		return fail(path, fault, err);
	}
	if (check_regular(&st, path, fault, err) < 0) {
		return -1;
	}
	*fd = fd_take(&opened);
	return 0;
}

int durable_fill(int fd, const char *name, const void *bytes, size_t len, struct error *err)
{
	for (size_t done = 0; done < len;) {
		const struct iovec iov = {(uint8_t *)bytes + done, len - done};
		ssize_t put = pwritev(fd, &iov, 1, (off_t)done);

		if (put < 0 && errno == EINTR) {
			continue;
		}
		if (put <= 0) {
			return error_sys(err, "Cannot write %s", name);
		}
		done += (size_t)put;
	}
	return ftruncate(fd, (off_t)len) == 0 ? 0
					      : error_sys(err, "Cannot cut %s to its length", name);
}

int durable_write(const char *path, const char *fault, const void *bytes, size_t len,
		  struct error *err)
{
	bool is_new = !durable_is_there(path);
	AUTO_FD fd = -1;

	if (durable_open(path, fault, &fd, err) < 0) {
		return -1;
	}
	if (durable_fill(fd, path, bytes, len, err) < 0 || durable_sync(fd, path, err) < 0) {
		if (is_new) {
			durable_unmake(path);
		}
		return -1;
	}
	return 0;
}

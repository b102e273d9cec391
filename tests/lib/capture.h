/* SPDX-License-Identifier: Apache-2.0 */
/* The log in memory, so that a test can read what was said. */
#ifndef TESTS_LIB_CAPTURE_H
#define TESTS_LIB_CAPTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/log.h"

enum {
	CAPTURE_LEN = 64 * 1024
};

/* Sends the log to a fresh memfd, which is returned: read it with captured(). */
static inline int capture_log(enum log_level level)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	char path[64];
	struct error err = {0};

	cr_assert(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	struct log_config config = {.path = path, .level = level, .show_level = LOG_SHOW};

	cr_assert(log_configure(&config, &err) == 0, "%s", err.msg);
	return fd;
}

/* All that is in a file, as text. The buffer is the helper's. */
static inline const char *captured(int fd)
{
	static char text[CAPTURE_LEN];
	ssize_t len = pread(fd, text, sizeof(text) - 1, 0);

	text[len > 0 ? len : 0] = '\0';
	return text;
}

static inline unsigned count_of(const char *text, const char *part)
{
	unsigned count = 0;

	for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) {
		count++;
	}
	return count;
}

/* A memfd with `len` bytes of `text`. */
static inline int file_of(const void *text, size_t len)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	cr_assert(fd >= 0);
	cr_assert(pwrite(fd, text, len, 0) == (ssize_t)len);
	return fd;
}

#endif

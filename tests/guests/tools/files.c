/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and disks whose content both sides can compute: `pattern`. Files that must outlive the
 * monitor: `keep` tells of each one only when fsync has returned for it and for its directory, so
 * whatever was told must be found by `kept`, whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/guests/tools/tools.h"

enum {
	FILE_MAX = 48 << 10,
	FILES_MAX = 512, /* later ones overwrite: the disk is small */
	BLOCK = 64 << 10
};

static size_t file_len(uint64_t index)
{
	return 1 + mix(index) % FILE_MAX;
}

static bool keep_one(int dir, uint64_t index, char *data)
{
	char name[32];
	size_t len = file_len(index);

	/* Under another name first: what was kept before stays until this is. */
	snprintf(name, sizeof(name), "%llu", (unsigned long long)index % FILES_MAX);
	int fd = openat(dir, "new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0) {
		return false;
	}
	pattern_fill(data, len, index, 0);
	bool ok = write_all(fd, data, len) && fsync(fd) == 0;

	close(fd);
	return ok && renameat(dir, "new", dir, name) == 0 && fsync(dir) == 0;
}

int cmd_keep(int argc, char **argv)
{
	static char data[FILE_MAX];
	int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)argc;
	for (uint64_t index = number(argv[2]);; index++) {
		if (dir < 0 || !keep_one(dir, index, data)) {
			return complain("keep: file %llu: %s", (unsigned long long)index,
					strerror(errno));
		}
		dprintf(STDOUT_FILENO, "kept <%llu>\n", (unsigned long long)index);
	}
}

/* What was written under that name last, as far as was told; a later one may be there as well. */
static bool is_kept(int dir, uint64_t index, char *data)
{
	char name[32];

	snprintf(name, sizeof(name), "%llu", (unsigned long long)index % FILES_MAX);
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, data, FILE_MAX) : -1;
	bool ok = false;

	for (unsigned later = 0; len >= 0 && !ok && later < 2; later++) {
		uint64_t candidate = index + later * FILES_MAX;

		ok = (size_t)len == file_len(candidate) &&
		     pattern_check(data, (size_t)len, candidate, 0) == (size_t)len;
	}
	if (fd >= 0) {
		close(fd);
	}
	return ok || complain("kept: file %llu has %zd bytes in place of %zu, or wrong ones",
			      (unsigned long long)index, len, file_len(index)) == 0;
}

int cmd_kept(int argc, char **argv)
{
	static char data[FILE_MAX];
	int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t last = number(argv[2]);
	uint64_t first = last >= FILES_MAX ? last - FILES_MAX + 1 : 0;

	(void)argc;
	if (dir < 0) {
		return complain("kept: %s: %s", argv[1], strerror(errno));
	}
	for (uint64_t index = first; index <= last; index++) {
		if (!is_kept(dir, index, data)) {
			return 1;
		}
	}
	printf("kept: ok %llu files\n", (unsigned long long)(last - first + 1));
	return 0;
}

int cmd_pattern(int argc, char **argv)
{
	static char data[BLOCK];
	bool is_write = strcmp(argv[1], "write") == 0;
	uint64_t offset = number(argv[3]) << 10;
	uint64_t end = offset + (number(argv[4]) << 10);
	uint64_t seed = number(argv[5]);
	int fd =
		open(argv[2], is_write ? O_RDWR | O_CREAT | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0600);

	(void)argc;
	if (fd < 0 || lseek(fd, (off_t)offset, SEEK_SET) < 0) {
		return complain("pattern: %s: %s", argv[2], strerror(errno));
	}
	for (uint64_t at = offset; at < end;) {
		size_t part = end - at < BLOCK ? end - at : BLOCK;

		if (is_write) {
			pattern_fill(data, part, seed, at);
		}
		if (!(is_write ? write_all(fd, data, part) : read_all(fd, data, part))) {
			return complain("pattern: %s: %s", argv[2], strerror(errno));
		}
		size_t good = is_write ? part : pattern_check(data, part, seed, at);

		if (good < part) {
			return complain("pattern: %s: wrong at byte %llu", argv[2],
					(unsigned long long)(at + good));
		}
		at += part;
	}
	if ((is_write && fsync(fd) < 0) || close(fd) < 0) {
		return complain("pattern: %s: %s", argv[2], strerror(errno));
	}
	printf("pattern: ok\n");
	return 0;
}

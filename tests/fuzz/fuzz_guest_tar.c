/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the unpacking of archives, which squibctl cp has from a guest: the input is an archive,
 * but for the sums of its heads, which are put right. Whatever it says, nothing is made outside the
 * destination, and what was there stays as it is.
 */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tools/guest_init/tar.h"

enum {
	INPUT_MAX = 64 << 10,
	SUM_AT = 148,
	SUM_LEN = 8,
	FTW_FDS = 16,
	NAME_ROOM = 16, /* of what is in it */
};

static char home[] = "/tmp/squib-fuzz-tar-XXXXXX";
static char in[sizeof(home) + NAME_ROOM];
static char renamed[sizeof(home) + NAME_ROOM];
static char victim_path[sizeof(home) + NAME_ROOM];
static struct stat victim;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	return ftw->level > 0 ? remove(path) : 0;
}

static void end(void)
{
	nftw(home, remove_one, FTW_FDS, FTW_DEPTH | FTW_PHYS);
	rmdir(home);
}

static void begin(void)
{
	if (victim.st_ino != 0) {
		return;
	}
	require(mkdtemp(home) != NULL);
	snprintf(in, sizeof(in), "%s/in", home);
	snprintf(renamed, sizeof(renamed), "%s/in/renamed", home);
	snprintf(victim_path, sizeof(victim_path), "%s/victim", home);
	require(mkdir(in, 0700) == 0);
	int fd = open(victim_path, O_WRONLY | O_CREAT | O_EXCL, 0400);

	require(fd >= 0 && write(fd, "mine", 4) == 4 && fstat(fd, &victim) == 0);
	close(fd);
	atexit(end);
}

/* So that what is behind a head is seen at all. */
static void put_sum(uint8_t *block)
{
	unsigned sum = 0;
	char text[SUM_LEN];

	for (unsigned i = 0; i < TAR_BLOCK; i++) {
		sum += i >= SUM_AT && i < SUM_AT + SUM_LEN ? ' ' : block[i];
	}
	snprintf(text, sizeof(text), "%06o", sum);
	memcpy(block + SUM_AT, text, sizeof(text));
}

static unsigned entries;

static int count_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)path;
	(void)st;
	(void)kind;
	entries += ftw->level == 1 ? 1 : 0;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t archive[INPUT_MAX];
	static struct tar_fault fault;
	struct stat now;
	int fd = memfd_create("archive", MFD_CLOEXEC);

	begin();
	size = size < sizeof(archive) ? size : sizeof(archive);
	memcpy(archive, data, size);
	for (size_t at = 0; at + TAR_BLOCK <= size; at += TAR_BLOCK) {
		/* A bit that means nothing else says which blocks stay as they are. */
		if (archive[at + TAR_BLOCK - 1] == 0) {
			put_sum(archive + at);
		}
	}
	require(fd >= 0 && write(fd, archive, size) == (ssize_t)size &&
		lseek(fd, 0, SEEK_SET) == 0);
	bool is_done = tar_unpack(fd, size % 2 == 0 ? in : renamed, &fault);

	require(is_done == (fault.text[0] == '\0'));
	require(stat(victim_path, &now) == 0 && now.st_ino == victim.st_ino &&
		now.st_mode == victim.st_mode && now.st_size == victim.st_size &&
		now.st_nlink == victim.st_nlink && now.st_mtime == victim.st_mtime);
	entries = 0;
	nftw(home, count_one, FTW_FDS, FTW_PHYS);
	require(entries == 2);
	nftw(in, remove_one, FTW_FDS, FTW_DEPTH | FTW_PHYS);
	close(fd);
	return 0;
}

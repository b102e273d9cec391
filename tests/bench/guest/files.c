/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads of files on a device, as programs do them: by way of the guest's page cache, or, on
 * persistent memory, by DAX. Each is done twice: what was never read before, and the same again.
 */
#include "tests/bench/guest/operations.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	PAGE_LEN = 4096,
	LARGE_LEN = 128 << 10,
	SMALL_COUNT = 1024, /* of operations, so /files/random and /files/mapped have 4 MiB */
	LARGE_COUNT = 128,  /* /files/sequential has 16 MiB */
	SETTLE_S = 3,	    /* the kernel frees its initrd in the background */
};

/* Far apart, so that nothing is read ahead of its turn. */
static size_t page_of(unsigned number)
{
	return (size_t)((number * 7 + 3) % SMALL_COUNT) * PAGE_LEN;
}

/* DAX was asked for by mounting, and is what this is about. */
static int open_file(const char *path, bool is_dax)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct statx st;

	if (fd < 0 || syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) < 0) {
		die("%s", path);
	}
	if (((st.stx_attributes & STATX_ATTR_DAX) != 0) != is_dax) {
		die("%s: DAX is %s", path, is_dax ? "missing" : "there");
	}
	return fd;
}

static void read_at(int fd, size_t len, off_t at)
{
	static char data[LARGE_LEN] __attribute__((aligned(PAGE_LEN)));

	if (pread(fd, data, len, at) != (ssize_t)len) {
		die("read of %zu bytes at %lld", len, (long long)at);
	}
}

static void read_pages(int fd)
{
	for (unsigned i = 0; i < SMALL_COUNT; i++) {
		read_at(fd, PAGE_LEN, (off_t)page_of(i));
	}
}

static void read_through(int fd)
{
	for (unsigned i = 0; i < LARGE_COUNT; i++) {
		read_at(fd, LARGE_LEN, (off_t)i * LARGE_LEN);
	}
}

static void touch_pages(int fd)
{
	size_t len = (size_t)SMALL_COUNT * PAGE_LEN;
	const volatile char *mapping = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);

	if (mapping == MAP_FAILED) {
		die("mmap");
	}
	for (unsigned i = 0; i < SMALL_COUNT; i++) {
		(void)mapping[page_of(i)];
	}
	munmap((void *)mapping, len);
}

struct kind {
	const char *path, *row;
	void (*run)(int fd);
	unsigned count;
	int advice;
};

static const struct kind kinds[] = {
	{"/files/random", "read 4 KiB, random", read_pages, SMALL_COUNT, POSIX_FADV_RANDOM},
	{"/files/sequential", "read 128 KiB, sequential", read_through, LARGE_COUNT,
	 POSIX_FADV_NORMAL},
	{"/files/mapped", "page of a mapping, random", touch_pages, SMALL_COUNT, POSIX_FADV_RANDOM},
};

static void measure(const struct kind *kind, bool is_dax)
{
	static const char *const times[] = {"first", "again"};
	int fd = open_file(kind->path, is_dax);
	char row[64];

	posix_fadvise(fd, 0, 0, kind->advice);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(row, sizeof(row), "%s, %s", kind->row, times[i]);
		ops_begin(row);
		kind->run(fd);
		ops_end(kind->count);
	}
	close(fd);
}

/* KiB, of /proc/meminfo. */
static long meminfo(const char *name)
{
	char line[128];
	long value = -1;
	FILE *file = fopen("/proc/meminfo", "re");

	while (file != NULL && value < 0 && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
			value = strtol(line + strlen(name) + 1, NULL, 10);
		}
	}
	if (file == NULL || value < 0) {
		die("/proc/meminfo has no %s", name);
	}
	fclose(file);
	return value;
}

void files_measure(const char *device)
{
	bool is_dax = strncmp(device, "/dev/pmem", strlen("/dev/pmem")) == 0;

	(void)mkdir("/files", 0700);
	if (mount(device, "/files", "ext4", MS_RDONLY, is_dax ? "dax" : "") < 0) {
		die("mount of %s", device);
	}
	sleep(SETTLE_S);
	long free_kib = meminfo("MemFree");
	long cached_kib = meminfo("Cached");

	ops_value("KiB free before the reads", free_kib);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		measure(&kinds[i], is_dax);
	}
	ops_value("KiB less free after the reads", free_kib - meminfo("MemFree"));
	ops_value("KiB more in the page cache", meminfo("Cached") - cached_kib);
	if (umount("/files") < 0) {
		die("umount");
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Small disks in memory for fuzzers. */
#include "tests/fuzz/disk.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/virtio/blk/blk_overlay.h"
#include "tests/fuzz/fuzz.h"

enum {
	PATTERN = 0x3c
};

struct blk_file disk_make(bool is_in_memory)
{
	struct blk_file file = {
		.fd = memfd_create("disk", MFD_CLOEXEC),
		.sectors = DISK_SECTORS,
		.id = "12345678901234567890",
		.is_in_memory = is_in_memory,
	};
	uint8_t data[DISK_LEN];

	memset(data, PATTERN, sizeof(data));
	require(pwrite(file.fd, data, sizeof(data), 0) == DISK_LEN);
	return file;
}

struct blk_file disk_make_overlay(struct blk_file *base, bool is_read_only)
{
	struct blk_file file = {.fd = -1};
	struct overlay_head head = {.cluster_shift = OVERLAY_CLUSTER_SHIFT_MIN};
	struct error err = {0};
	char base_path[32], path[32];
	int fd = memfd_create("overlay", MFD_CLOEXEC);

	(void)snprintf(base_path, sizeof(base_path), "/proc/self/fd/%d", base->fd);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	require(overlay_format(fd, base->fd, DISK_LEN, &head, &err) == 0);
	const struct blk_overlay_paths paths = {path, base_path, is_read_only, false};

	require(blk_file_open_overlay(&paths, &file, &err) == 0);
	file.is_in_memory = base->is_in_memory;
	close(fd);
	return file;
}

void disk_check(const struct blk_file *file, bool is_read_only)
{
	uint8_t data[DISK_LEN];
	struct stat st;

	require(fstat(file->fd, &st) == 0 && st.st_size == DISK_LEN);
	if (!is_read_only) {
		return;
	}
	require(pread(file->fd, data, sizeof(data), 0) == DISK_LEN);
	for (size_t i = 0; i < sizeof(data); i++) {
		require(data[i] == PATTERN);
	}
}

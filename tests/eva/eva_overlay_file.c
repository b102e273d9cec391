/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A header of any bytes, in a file of any length, over a base of any length from a block on, and
 * some that are shorter; maps of up to 3 blocks, with any bits; bits of a map that are set and
 * looked for at any place. A call may fail, find the file's end, or take all that is asked for or
 * half of it: EVA, which relates no two numbers, sees each length alone. An overlay is made for
 * some lengths only, as its maker says them.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-slevel 10 -eva-split-return full
 * Options: -eva-slevel-function read_part:300,write_all:300,some_of:10,read_some:10,write_some:10
 * Options: -eva-slevel-function check_head:300,decode:100,overlay_read_head:300,read_head:300
 * Options: -eva-slevel-function read_base:300,overlay_base_sum:300
 */
#include "tests/eva/error.h"
#include "tests/eva/eva.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmm/base/bytes.h"

static ssize_t some_of(const struct iovec *iov)
{
	switch (Frama_C_interval_split(0, 3)) {
	case 0:
		errno = any_bool() ? EINTR : EIO;
		return -1;
	case 1:
		return 0;
	case 2:
		return (ssize_t)(iov->iov_len + 1) / 2;
	default:
		return (ssize_t)iov->iov_len;
	}
}

static ssize_t read_some(int fd, const struct iovec *iov, off_t offset)
{
	ssize_t got = some_of(iov);

	keep((uint64_t)fd + (uint64_t)(offset != 0));
	if (got > 0) {
		fill(iov->iov_base, (size_t)got);
	}
	return got;
}

static ssize_t write_some(int fd, const struct iovec *iov, off_t offset)
{
	const char *from = iov->iov_base;

	/*@ assert iov->iov_len == 0 || \valid_read(from + (0 .. iov->iov_len - 1)); */
	keep((uint64_t)fd + (uint64_t)(offset != 0) + (uint64_t)(from != NULL));
	return some_of(iov);
}

static int stat_any(struct stat *st)
{
	st->st_mode = any_u32();
	st->st_size = (off_t)any_between(0, INT64_MAX);
	return any_bool() ? 0 : -1;
}

static int lock_any(const struct flock *lock)
{
	keep((uint64_t)lock->l_type + (uint64_t)lock->l_start);
	errno = any_bool() ? EAGAIN : ENOLCK;
	return any_bool() ? 0 : -1;
}

/* Where the next data are, not before `at`. */
static off_t data_from(off_t at)
{
	errno = any_bool() ? ENXIO : EINVAL;
	return any_bool() ? (off_t)any_between((uint64_t)at, INT64_MAX) : -1;
}

/* Frama-C's <fcntl.h> does not know locks of open files. */
#define F_OFD_SETLK 37
#define fcntl(fd, cmd, lock) lock_any(lock)

#define preadv(fd, iov, count, offset) read_some(fd, iov, offset)
#define pwritev(fd, iov, count, offset) write_some(fd, iov, offset)
#define fstat(fd, st) stat_any(st)
#define lseek(fd, at, whence) data_from(at)
#define ftruncate(fd, len) ((int)any_between(0, 1) - 1)
#define fdatasync(fd) ((int)any_between(0, 1) - 1)
#define usleep(us) ((int)any_between(0, 1) - 1)

uint64_t crc64(const void *bytes, size_t len)
{
	/*@ assert len == 0 || \valid_read((const char *)bytes + (0 .. len - 1)); */
	(void)bytes;
	keep(len);
	return any_u64();
}

#include "vmm/base/file_lock.c"
#include "devices/virtio/blk/blk_overlay_file.c"

enum {
	BLOCKS = 3,
	WORDS = BLOCKS * OVERLAY_BLOCK / 8,
};

static uint64_t map[WORDS];

static void use_map(void)
{
	struct overlay_head head = {.cluster_shift = OVERLAY_CLUSTER_SHIFT_MIN};
	struct error err = {0};

	fill(map, sizeof(map));
	overlay_set(map, any_u64(), any_between(0, 64 * WORDS));
	keep(overlay_find(map, any_u64(), any_between(0, 64 * WORDS), any_bool()));
	/*@ loop unroll BLOCKS; */
	for (uint64_t blocks = 1; blocks <= BLOCKS; blocks++) {
		/* The last of them has any number of clusters. */
		head.disk_len = (8 * OVERLAY_BLOCK * (blocks - 1) + 1) << head.cluster_shift;
		keep(overlay_read_map(3, &head, map + WORDS - blocks * OVERLAY_BLOCK / 8, &err));
		head.disk_len = 8 * OVERLAY_BLOCK * blocks << head.cluster_shift;
		keep(overlay_read_map(3, &head, map + WORDS - blocks * OVERLAY_BLOCK / 8, &err));
	}
}

static void make(uint64_t base_len, uint64_t disk_len, unsigned shift)
{
	struct overlay_head head = {.cluster_shift = shift, .disk_len = disk_len};
	struct error err = {0};

	if (overlay_format(3, 4, base_len, &head, &err) == 0) {
		keep(head.base_sum);
	}
}

static void read_head(void)
{
	struct overlay_head head;
	struct error err = {0};

	if (overlay_read_head(3, "overlay", &head, &err) == 0) {
		/*@ assert head.cluster_shift >= OVERLAY_CLUSTER_SHIFT_MIN; */
		/*@ assert head.cluster_shift <= OVERLAY_CLUSTER_SHIFT_MAX; */
		/*@ assert head.base_name[OVERLAY_NAME_MAX - 1] == 0; */
		keep(head.disk_len + head.base_len + head.base_sum);
		keep(overlay_check_base(&head, "overlay", 4, 0, &err));
		keep(overlay_check_base(&head, "overlay", 4, 1, &err));
		keep(overlay_check_base(&head, "overlay", 4, OVERLAY_BLOCK - 1, &err));
		keep(overlay_check_base(&head, "overlay", 4, any_between(OVERLAY_BLOCK, INT64_MAX),
					&err));
	}
	keep(overlay_lock(3, "overlay", any_bool(), any_u32(), &err));
	overlay_unlock(3);
}

void main(void)
{
	use_map();
	make(0, 512, 12);
	make(1, 4096, 12);
	make(5000, 8192, 12);
	make(5000, 0, 16);
	make(70000, 1 << 20, 11);
	make(512, any_u64(), 19);
	read_head();
}

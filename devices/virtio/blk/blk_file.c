/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backing file of a block device. Its contents are never looked at to find out what it is: it
 * is an overlay if it is said to have a base, else raw.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "devices/virtio/blk/blk.h"
#include "devices/virtio/blk/blk_overlay.h"
#include "devices/virtio/blk/blk_req.h"
#include "vmm/base/fd.h"
#include "vmm/base/file_lock.h"
#include "vmm/base/log.h"

_Static_assert(sizeof(((struct blk_file *)0)->id) == BLK_ID_LEN, "the id fits");

/* [compat]: clients look for this sentence, which has the path at its end. */
COLD static int fail(const char *path, struct error *err)
{
	int sys = errno;

	error_set(err, ERR_HOST, "Error manipulating the backing file: %s (os error %d) %s",
		  error_os_text(sys), sys, path);
	err->sys = sys;
	return -1;
}

static int find_size(int fd, const struct stat *st, uint64_t *size)
{
	if (S_ISBLK(st->st_mode)) {
		return ioctl(fd, BLKGETSIZE64, size);
	}
	*size = (uint64_t)st->st_size;
	return 0;
}

static void find_id(const struct stat *st, char id[BLK_ID_LEN])
{
	char text[64];
	int len = snprintf(text, sizeof(text), "%ju%ju%ju", (uintmax_t)st->st_dev,
			   (uintmax_t)st->st_rdev, (uintmax_t)st->st_ino);

	memset(id, 0, BLK_ID_LEN);
	memcpy(id, text, len < BLK_ID_LEN ? (size_t)len : BLK_ID_LEN);
}

/* Of a device node, the file system says nothing about the device. */
static bool is_in_memory(int fd, const struct stat *st)
{
	struct statfs fs;

	return S_ISREG(st->st_mode) && fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

int blk_file_open(const char *path, bool is_read_only, struct blk_file *file, struct error *err)
{
	/* O_NONBLOCK: a FIFO without a writer must be refused below, not waited for. */
	int flags = (is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY;
	AUTO_FD fd = open(path, flags | O_NONBLOCK);
	struct stat st;
	uint64_t size = 0;

	if (fd < 0 || fstat(fd, &st) < 0) {
		return fail(path, err);
	}
	/* [compat] A character device is a disk without sectors, of which nothing is ever read. */
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode) && !S_ISCHR(st.st_mode)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Error manipulating the backing file: "
				 "Neither a regular file nor a block device: %s",
				 path);
	}
	/* io_uring would give up rather than wait for the disk. */
	if (fcntl(fd, F_SETFL, flags & ~O_CLOEXEC) < 0 || find_size(fd, &st, &size) < 0) {
		return fail(path, err);
	}
	if (size % BLK_SECTOR_LEN != 0) {
		log_warn("Disk size %" PRIu64 " is not a multiple of sector size %d; the remainder "
			 "will not be visible to the guest.",
			 size, BLK_SECTOR_LEN);
	}
	file->sectors = size >> BLK_SECTOR_SHIFT;
	find_id(&st, file->id);
	file->is_in_memory = is_in_memory(fd, &st);
	file->is_lockable = !S_ISCHR(st.st_mode);
	file->overlay = NULL;
	file->fd = fd_take(&fd);
	return 0;
}

static bool is_empty(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

static int find_head(const struct blk_overlay_paths *paths, int fd, int base_fd,
		     struct overlay_head *head, struct error *err)
{
	struct stat st;
	uint64_t base_len = 0;

	if (fstat(base_fd, &st) < 0 || find_size(base_fd, &st, &base_len) < 0) {
		return fail(paths->base, err);
	}
	if (paths->may_be_made && !paths->is_read_only && is_empty(fd)) {
		head->cluster_shift = OVERLAY_CLUSTER_SHIFT;
		(void)!snprintf(head->base_name, sizeof(head->base_name), "%s", paths->base);
		return overlay_format(fd, base_fd, base_len, head, err);
	}
	return overlay_read_head(fd, paths->own, head, err) < 0
		       ? -1
		       : overlay_check_base(head, paths->own, base_fd, base_len, err);
}

int blk_file_open_overlay(const struct blk_overlay_paths *paths, struct blk_file *file,
			  struct error *err)
{
	struct blk_file own = {.fd = -1};
	struct blk_file base = {.fd = -1};
	struct overlay_head head = {0};

	if (blk_file_open(paths->base, true, &base, err) < 0 ||
	    blk_file_open(paths->own, paths->is_read_only, &own, err) < 0 ||
	    find_head(paths, own.fd, base.fd, &head, err) < 0 ||
	    blk_overlay_new(&head, paths->own, &base.fd, &own.overlay, err) < 0) {
		blk_file_close(&own);
		blk_file_close(&base);
		return -1;
	}
	own.sectors = head.disk_len >> BLK_SECTOR_SHIFT;
	own.is_in_memory = own.is_in_memory && base.is_in_memory;
	*file = own;
	return 0;
}

int blk_file_base_fd(const struct blk_file *file)
{
	return file->overlay != NULL ? file->overlay->base_fd : -1;
}

void blk_file_close(struct blk_file *file)
{
	/* A ring that was told to forget the file may have it a little longer. */
	file_unlock(file->fd, FILE_WHOLE);
	fd_close(&file->fd);
	blk_overlay_free(file->overlay);
	file->overlay = NULL;
}

/* The last close of a block device writes what its page cache has. */
int blk_file_unwritten(const struct blk_file *file, const struct blk_config *config)
{
	bool is_written = config->cache_type == BLK_CACHE_WRITEBACK;
	struct stat st;

	if (config->is_read_only || file->fd < 0) {
		return -1;
	}
	return is_written || (fstat(file->fd, &st) == 0 && S_ISBLK(st.st_mode)) ? file->fd : -1;
}

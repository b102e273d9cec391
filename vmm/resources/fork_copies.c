/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of drives for children.
 *
 * Theory of operation. A child's disk must be that of the instant of the fork. So while the machine
 * stands still, each drive of which a child is to have a copy is cloned once, by reference
 * (FICLONE), to a file without a name, which the image has from then on. Each child clones that to
 * a file of its own, before it opens its drives and while its parent goes on. No byte is copied:
 * where the file system can't, the fork is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/resources/fork.h"

enum {
	XFS_MAGIC = 0x58465342, /* not in linux/magic.h */
	FILE_SYSTEM_LEN = 32,
};

/* --- What can't be --- */

static void name_file_system(int fd, char name[FILE_SYSTEM_LEN])
{
	static const struct {
		long magic;
		const char *name;
	} known[] = {
		{EXT4_SUPER_MAGIC, "ext4"}, {TMPFS_MAGIC, "tmpfs"},
		{XFS_MAGIC, "XFS"},	    {(long)BTRFS_SUPER_MAGIC, "btrfs"},
		{NFS_SUPER_MAGIC, "NFS"},   {OVERLAYFS_SUPER_MAGIC, "overlayfs"},
		{V9FS_MAGIC, "9p"},	    {FUSE_SUPER_MAGIC, "FUSE"},
	};
	struct statfs fs;

	(void)!snprintf(name, FILE_SYSTEM_LEN, "unknown");
	if (fstatfs(fd, &fs) < 0) {
		return;
	}
	(void)!snprintf(name, FILE_SYSTEM_LEN, "type %#lx", (unsigned long)fs.f_type);
	for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
		if (known[i].magic == (long)fs.f_type) {
			(void)!snprintf(name, FILE_SYSTEM_LEN, "%s", known[i].name);
		}
	}
}

static COLD int refuse(const struct drive_override *override, const struct drive *drive, int fd,
		       struct error *err)
{
	int sys = errno;
	char name[FILE_SYSTEM_LEN];

	if (sys == EXDEV) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Drive `%s` can't be copied to %s: that is another file system "
				 "than that of %s. Name a file beside it",
				 override->drive_id, override->path_on_host,
				 drive->config.path_on_host);
	}
	if (sys != EOPNOTSUPP && sys != ENOTTY && sys != EINVAL && sys != EISDIR) {
		errno = sys;
		return error_sys(err, "Cannot copy drive `%s` to %s", override->drive_id,
				 override->path_on_host);
	}
	name_file_system(fd, name);
	return error_set(err, ERR_NOT_SUPPORTED,
			 "Drive `%s`, %s, is on a file system that can't copy by reference (%s): "
			 "use XFS or btrfs, or pause, copy it yourself and leave out `copy`",
			 override->drive_id, drive->config.path_on_host, name);
}

/* --- In the monitor --- */

static const struct drive *find_drive(const struct vm_config *config, const char *id)
{
	for (size_t i = 0; i < config->drive_count; i++) {
		if (strcmp(config->drives[i].config.drive_id, id) == 0) {
			return &config->drives[i];
		}
	}
	return NULL;
}

static int find_copy(const struct fork_copies *copies, const char *id)
{
	for (size_t i = 0; i < copies->count; i++) {
		if (strcmp(copies->items[i].drive_id, id) == 0) {
			return copies->items[i].fd;
		}
	}
	return -1;
}

static int open_nameless(const char *beside, int drive)
{
	char directory[4096];
	const char *slash = strrchr(beside, '/');
	int len = slash == NULL ? 1 : (int)(slash - beside) + 1;

	(void)!snprintf(directory, sizeof(directory), "%.*s", len, slash == NULL ? "." : beside);
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	/* It has no files without a name: but was it the drive's file system at all? */
	if (fd < 0 && errno == EOPNOTSUPP) {
		AUTO_FD opened = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		struct statfs there, own;
		bool is_other = fstatfs(opened, &there) == 0 && fstatfs(drive, &own) == 0 &&
				there.f_type != own.f_type;

		errno = is_other ? EXDEV : EOPNOTSUPP;
	}
	return fd;
}

static int make_copy(const struct vm_config *config, const struct drive_override *override,
		     struct fork_copies *copies, struct error *err)
{
	const struct drive *drive = find_drive(config, override->drive_id);

	/* A drive that is not there the child will refuse. */
	if (!override->copy || drive == NULL || find_copy(copies, override->drive_id) >= 0) {
		return 0;
	}
	AUTO_FD fd = open_nameless(override->path_on_host, drive->file.fd);

	if (fd < 0 || ioctl(fd, FICLONE, drive->file.fd) < 0) {
		return refuse(override, drive, drive->file.fd, err);
	}
	copies->items[copies->count].drive_id = drive->config.drive_id;
	copies->items[copies->count].fd = fd_take(&fd);
	copies->count++;
	return 0;
}

int fork_copies_make(const struct vm_config *config, const struct schema_list *children,
		     struct fork_copies *copies, struct error *err)
{
	const struct fork_child *child = children->items;

	for (size_t i = 0; i < children->count; i++) {
		const struct drive_override *drives = child[i].overrides.drives.items;

		for (size_t j = 0; j < child[i].overrides.drives.count; j++) {
			if (make_copy(config, &drives[j], copies, err) < 0) {
				return -1;
			}
		}
	}
	return 0;
}

void fork_copies_close(struct fork_copies *copies)
{
	for (size_t i = 0; i < copies->count; i++) {
		fd_close(&copies->items[i].fd);
	}
	copies->count = 0;
}

/* --- In a child --- */

static int give(const struct fork_copies *copies, const struct drive_override *override,
		struct error *err)
{
	int copy = find_copy(copies, override->drive_id);

	if (copy < 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The image has no copy of drive `%s`: the fork that kept it did "
				 "not ask for one",
				 override->drive_id);
	}
	AUTO_FD fd = open(override->path_on_host, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY,
			  0600);

	if (fd < 0) {
		return error_sys(err, "Cannot make %s, a copy of drive `%s`",
				 override->path_on_host, override->drive_id);
	}
	if (ioctl(fd, FICLONE, copy) < 0) {
		(void)error_sys(err, "Cannot copy drive `%s` to %s", override->drive_id,
				override->path_on_host);
		(void)unlink(override->path_on_host);
		return -1;
	}
	return 0;
}

int fork_copies_give(struct fork_birth *birth, struct error *err)
{
	const struct schema_list *list = &birth->child->overrides.drives;
	const struct drive_override *drives = list->items;

	for (; birth->copied < list->count; birth->copied++) {
		if (drives[birth->copied].copy &&
		    give(birth->copies, &drives[birth->copied], err) < 0) {
			return -1;
		}
	}
	return 0;
}

void fork_copies_take_back(struct fork_birth *birth)
{
	const struct drive_override *drives = birth->child->overrides.drives.items;

	for (size_t i = 0; i < birth->copied; i++) {
		if (drives[i].copy) {
			(void)unlink(drives[i].path_on_host);
		}
	}
	birth->copied = 0;
}

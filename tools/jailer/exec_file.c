/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the program into the jail.
 *
 * Theory of operation. In the jail's own mount namespace the host's file is mounted, read-only,
 * nosuid and nodev, on an empty file in the jail's root: nothing is copied, and thousands of
 * jails share one set of pages. On the host that file stays empty. The mount is made of the
 * descriptor that was checked, and attached to the descriptor of the empty file, so neither can be
 * exchanged in between.
 *
 * The mount keeps the host's owner, mode and noexec. Where the jail's user could not run the file
 * as it is, and where the kernel can't do it (mount_setattr(2) came with 5.12), it gets a copy of
 * its own, as upstream makes always.
 */
#include "tools/jailer/exec_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	MODE_UNDER_MOUNT = 0400,
	MODE_BITS = 0777, /* no set-ID bits in a jail */
};

int exec_file_resolve(const char *path, struct exec_file *file, struct error *err)
{
	struct stat st;

	if (realpath(path, file->path) == NULL || stat(file->path, &st) < 0) {
		return error_sys(err, "Failed to canonicalize path %s", path);
	}
	if (!S_ISREG(st.st_mode)) {
		return error_set(err, ERR_BAD_REQUEST, "%s is not a file", file->path);
	}
	file->name = strrchr(file->path, '/') + 1;
	return 0;
}

/* Whether the owner-to-be can run the host's file by its mode and mount. */
static bool can_run(int fd, const struct stat *st, struct beneath_owner owner)
{
	struct statvfs fs;
	mode_t bit = S_IXOTH;

	if (st->st_uid == owner.uid) {
		bit = S_IXUSR;
	} else if (st->st_gid == owner.gid) {
		bit = S_IXGRP;
	}
	return (st->st_mode & bit) != 0 && fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_NOEXEC) == 0;
}

static bool bind(int source, int target)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
	};
	AUTO_FD fd = open_tree(source, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	return fd >= 0 && mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0 &&
	       move_mount(fd, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) ==
		       0;
}

static int copy(int source, const struct stat *st, int target, struct beneath_owner owner)
{
	ssize_t sent;

	do {
		sent = sendfile(target, source, NULL, GIB);
	} while (sent > 0 || (sent < 0 && errno == EINTR));
	if (sent < 0 || fchown(target, owner.uid, owner.gid) < 0) {
		return -1;
	}
	return fchmod(target, st->st_mode & MODE_BITS);
}

int exec_file_install(const struct exec_file *file, const struct beneath_dir *root,
		      struct beneath_owner owner, bool copies, struct error *err)
{
	AUTO_FD source = -1;
	AUTO_FD target = -1;
	struct stat st;

	if (fd_open_file(file->path, "The program", &source, NULL, err) < 0) {
		return -1;
	}
	if (fstat(source, &st) < 0) {
		return error_sys(err, "Cannot get metadata for a file: %s", file->path);
	}
	if (beneath_replace_file(root, file->name, MODE_UNDER_MOUNT, &target, err) < 0) {
		return -1;
	}
	if (!copies && can_run(source, &st, owner) && bind(source, target)) {
		return 0;
	}
	if (copy(source, &st, target, owner) < 0) {
		return error_sys(err, "Failed to copy %s to %s/%s", file->path, root->path,
				 file->name);
	}
	return 0;
}

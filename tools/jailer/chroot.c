/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves the process into the jail's directory, for good.
 *
 * Theory of operation. In a new mount namespace all mounts become slaves: nothing mounted or
 * unmounted here reaches the host, while what the host mounts below the jail's directory later
 * still arrives [compat]. pivot_root(2) wants a mount, so the directory is bound over itself, with
 * what callers have mounted in it. All that goes by descriptors, never by the jail's path, which
 * could be another directory's by now.
 *
 * pivot_root(".", ".") stacks the old root on the new one, from where it is detached: no directory
 * for it has to be made in the jail [pivot_root(2), notes]. When the old root is gone, nothing of
 * the host can be named any more; a mere chroot(2) leaves it in place.
 */
#include "tools/jailer/chroot.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/fd.h"

int chroot_isolate(struct error *err)
{
	if (unshare(CLONE_NEWNS) < 0) {
		return error_sys(err, "Failed to unshare into new mount namespace");
	}
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0) {
		return error_sys(err, "Failed to change the propagation type to slave");
	}
	return 0;
}

int chroot_mount_root(struct beneath_dir *root, struct error *err)
{
	AUTO_FD fd = open_tree(root->fd, "",
			       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);

	if (fd < 0 || move_mount(fd, "", root->fd, "",
				 MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
		return error_sys(err, "Failed to bind mount the jail root directory");
	}
	/*
	 * The descriptor of the mount has O_PATH; changing owner and mode takes one that is open
	 * for reading.
	 */
	fd_close(&root->fd);
	root->fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root->fd < 0) {
		return error_sys(err, "Failed to open %s", root->path);
	}
	return 0;
}

int chroot_pivot(struct beneath_dir *root, struct error *err)
{
	if (fchdir(root->fd) < 0) {
		return error_sys(err, "Failed to change current directory");
	}
	if (syscall(SYS_pivot_root, ".", ".") < 0) {
		return error_sys(err, "Failed to pivot root");
	}
	if (umount2(".", MNT_DETACH) < 0) {
		return error_sys(err, "Failed to unmount the old jail root");
	}
	if (chdir("/") < 0) {
		return error_sys(err, "Failed to chdir into chroot directory");
	}
	(void)!snprintf(root->path, sizeof(root->path), "/");
	return 0;
}

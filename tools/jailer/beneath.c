/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enters and fills directories that others may have prepared.
 *
 * Theory of operation. Whoever could write below the chroot base, a former tenant of the jail for
 * one, may have put objects there under the names that the jailer, as root, is about to use: a
 * symbolic link to the host's files, a second name of them, a FIFO that blocks. And he may swap
 * objects between two of our system calls. Hence:
 *
 * - Directories are entered part by part by openat2(2) relative to a descriptor, which the kernel
 *   keeps below that descriptor and off symbolic links.
 * - A directory is taken before it is filled: from then on it is root's with mode 0700, so nobody
 *   else can change its entries, whatever descriptors he holds. Its owner-to-be gets it last.
 * - Files are made, never opened: O_EXCL fails over whatever has the name, links included.
 * - Owners and modes are changed on descriptors of what was made and checked.
 *
 * Mounts are crossed: callers bind-mount files into a jail before it starts [compat].
 */
#include "tools/jailer/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/fd.h"

enum {
	DIR_MODE_MADE = 0755,
	DIR_MODE_TAKEN = 0700,
	DEVICE_MODE = 0600,
	FILE_MODE = 0644
};

void beneath_close(struct beneath_dir *dir)
{
	fd_close(&dir->fd);
}

static int open_beneath(int dir, const char *name, uint64_t flags, mode_t mode)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC | O_NOFOLLOW,
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd;

	/* EAGAIN: something was renamed meanwhile, and the kernel could not tell [openat2(2)]. */
	do {
		fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
	} while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd;
}

/* path = <parent's path>/<name> */
static int join(char path[PATH_MAX], const struct beneath_dir *parent, const char *name,
		struct error *err)
{
	const char *above = strcmp(parent->path, "/") == 0 ? "" : parent->path;
	int len = snprintf(path, PATH_MAX, "%s/%s", above, name);

	if (len < 0 || len >= PATH_MAX) {
		return error_set(err, ERR_TOO_LARGE, "The path is too long: %.100s...", above);
	}
	return 0;
}

int beneath_open(const char *path, struct beneath_dir *dir, struct error *err)
{
	(void)!snprintf(dir->path, sizeof(dir->path), "%s", path);
	dir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir->fd < 0) {
		return error_sys(err, "Failed to open %s", path);
	}
	return 0;
}

static int enter_part(const struct beneath_dir *parent, const char *part, struct beneath_dir *dir,
		      struct error *err)
{
	if (join(dir->path, parent, part, err) < 0) {
		return -1;
	}
	if (mkdirat(parent->fd, part, DIR_MODE_MADE) < 0 && errno != EEXIST) {
		return error_sys(err, "Failed to create directory %s", dir->path);
	}
	dir->fd = open_beneath(parent->fd, part, O_RDONLY | O_DIRECTORY, 0);
	if (dir->fd < 0) {
		return error_sys(err, "Failed to create directory %s", dir->path);
	}
	return 0;
}

int beneath_enter(const struct beneath_dir *parent, const char *name, struct beneath_dir *dir,
		  struct error *err)
{
	AUTO_DIR above = BENEATH_NONE;
	AUTO_DIR below = BENEATH_NONE;
	const struct beneath_dir *from = parent;

	while (*name != '\0') {
		char part[NAME_MAX + 1];
		size_t len = strcspn(name, "/");

		(void)!snprintf(part, sizeof(part), "%.*s", (int)len, name);
		if (enter_part(from, part, &below, err) < 0) {
			return -1;
		}
		beneath_close(&above);
		above = below;
		below.fd = -1;
		from = &above;
		name += len;
		name += strspn(name, "/");
	}
	*dir = above;
	above.fd = -1;
	return 0;
}

int beneath_open_dir(int dir, const char *name)
{
	return open_beneath(dir, name, O_RDONLY | O_DIRECTORY, 0);
}

int beneath_open_file(int dir, const char *name)
{
	int fd = open_beneath(dir, name, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		fd_close(&fd);
		errno = EINVAL;
	}
	return fd;
}

int beneath_pin_file(const struct beneath_dir *dir, const char *name, struct error *err)
{
	AUTO_FD file = open_beneath(dir->fd, name, O_PATH, 0);
	AUTO_FD mount = -1;

	if (file >= 0) {
		mount = open_tree(file, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	}
	if (mount < 0 || move_mount(mount, "", file, "",
				    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
		return error_sys(err, "Failed to protect %s/%s", dir->path, name);
	}
	return 0;
}

static int own_dir(const struct beneath_dir *dir, struct beneath_owner owner, struct error *err)
{
	if (fchown(dir->fd, owner.uid, owner.gid) < 0) {
		return error_sys(err, "Failed to change owner for %s", dir->path);
	}
	/* fchown(2) does not spare set-ID bits of directories; this sets the whole mode. */
	if (fchmod(dir->fd, DIR_MODE_TAKEN) < 0) {
		return error_sys(err, "Failed to change permissions on %s", dir->path);
	}
	return 0;
}

int beneath_take(const struct beneath_dir *dir, struct error *err)
{
	return own_dir(dir, (struct beneath_owner){0}, err);
}

int beneath_give(const struct beneath_dir *dir, struct beneath_owner owner, struct error *err)
{
	return own_dir(dir, owner, err);
}

int beneath_new_file(const struct beneath_dir *dir, const char *name, const char *text,
		     struct beneath_owner owner, struct error *err)
{
	char path[PATH_MAX];
	size_t len = strlen(text);

	if (join(path, dir, name, err) < 0) {
		return -1;
	}
	AUTO_FD fd = open_beneath(dir->fd, name, O_WRONLY | O_CREAT | O_EXCL, FILE_MODE);

	if (fd < 0) {
		return error_sys(err, "Failed to open file %s", path);
	}
	ssize_t put = write(fd, text, len);

	if (put != (ssize_t)len) {
		/* A small write is short only where there is no room. */
		errno = put < 0 ? errno : ENOSPC;
		return error_sys(err, "Failed to write to %s", path);
	}
	if (fchown(fd, owner.uid, owner.gid) < 0) {
		return error_sys(err, "Failed to change owner for %s", path);
	}
	return 0;
}

/* Whether `st`, of the object that has our file's name, is a plain file to replace. */
static int check_replaced(const struct stat *st, const char *path, struct error *err)
{
	if (S_ISLNK(st->st_mode)) {
		errno = ELOOP;
		return error_sys(err, "Failed to open %s", path);
	}
	if (S_ISDIR(st->st_mode)) {
		errno = EISDIR;
		return error_sys(err, "Failed to open %s", path);
	}
	if (!S_ISREG(st->st_mode)) {
		return error_set(err, ERR_BAD_STATE, "%s is not a file", path);
	}
	if (st->st_nlink > 1) {
		return error_set(err, ERR_BAD_STATE, "Detected hard link at: %s", path);
	}
	return 0;
}

int beneath_replace_file(const struct beneath_dir *dir, const char *name, mode_t mode, int *fd,
			 struct error *err)
{
	char path[PATH_MAX];
	struct stat st;

	if (join(path, dir, name, err) < 0) {
		return -1;
	}
	if (fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (check_replaced(&st, path, err) < 0) {
			return -1;
		}
		if (unlinkat(dir->fd, name, 0) < 0) {
			return error_sys(err, "Failed to open %s", path);
		}
	} else if (errno != ENOENT) {
		return error_sys(err, "Cannot get metadata for a file: %s", path);
	}
	*fd = open_beneath(dir->fd, name, O_WRONLY | O_CREAT | O_EXCL, mode);
	if (*fd < 0) {
		return error_sys(err, "Failed to open %s", path);
	}
	return 0;
}

int beneath_new_device(const struct beneath_dir *dir, const char *name, dev_t device,
		       struct beneath_owner owner, struct error *err)
{
	char path[PATH_MAX];
	struct stat st;

	if (join(path, dir, name, err) < 0) {
		return -1;
	}
	if (mknodat(dir->fd, name, S_IFCHR | DEVICE_MODE, device) < 0) {
		return error_sys(err, "Failed to create %s via mknod inside the jail", path);
	}
	AUTO_FD fd = open_beneath(dir->fd, name, O_PATH, 0);

	if (fd < 0 || fstat(fd, &st) < 0) {
		return error_sys(err, "Failed to open %s", path);
	}
	if (!S_ISCHR(st.st_mode) || st.st_rdev != device || st.st_nlink != 1) {
		return error_set(err, ERR_BAD_STATE, "%s was replaced while the jail was made",
				 path);
	}
	if (fchownat(fd, "", owner.uid, owner.gid, AT_EMPTY_PATH) < 0) {
		return error_sys(err, "Failed to change owner for %s", path);
	}
	return 0;
}

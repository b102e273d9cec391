/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that others may have prepared, entered and filled without being led astray. */
#ifndef TOOLS_JAILER_BENEATH_H
#define TOOLS_JAILER_BENEATH_H

#include <limits.h>
#include <sys/types.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* An open directory and the path that messages show for it. */
struct beneath_dir {
	int fd;
	char path[PATH_MAX];
};

struct beneath_owner {
	uid_t uid;
	gid_t gid;
};

/* Closes itself, as AUTO_FD does; initialise with BENEATH_NONE. */
#define AUTO_DIR __attribute__((cleanup(beneath_close))) struct beneath_dir
#define BENEATH_NONE                                                                               \
	{                                                                                          \
		.fd = -1                                                                           \
	}

void beneath_close(struct beneath_dir *dir);

/* Opens a directory by a path that is trusted. */
MUST_CHECK int beneath_open(const char *path, struct beneath_dir *dir, struct error *err);

/*
 * Opens the directory `name` of `parent`, which may have several parts; those that are missing are
 * made, with mode 0755. Symbolic links are refused in every part.
 */
MUST_CHECK int beneath_enter(const struct beneath_dir *parent, const char *name,
			     struct beneath_dir *dir, struct error *err);

/*
 * Open for reading a directory or a plain file `name` of the directory `dir`, without following
 * links or waiting; -1, and errno, if there is no such thing.
 */
int beneath_open_dir(int dir, const char *name);
int beneath_open_file(int dir, const char *name);

/* Makes the file `name` a mount of itself, so that nobody in this mount namespace removes it. */
MUST_CHECK int beneath_pin_file(const struct beneath_dir *dir, const char *name, struct error *err);

/* Makes root the owner, and nobody else able to change what is in it. */
MUST_CHECK int beneath_take(const struct beneath_dir *dir, struct error *err);

/* Hands the directory to its new owner, with mode 0700. */
MUST_CHECK int beneath_give(const struct beneath_dir *dir, struct beneath_owner owner,
			    struct error *err);

/* Makes a file that was not there, with this text and mode 0644. */
MUST_CHECK int beneath_new_file(const struct beneath_dir *dir, const char *name, const char *text,
				struct beneath_owner owner, struct error *err);

/*
 * Makes a file, opened for writing. A plain one with one name may be there, and is removed:
 * [compat] upstream overwrites it. Anything else is refused.
 */
MUST_CHECK int beneath_replace_file(const struct beneath_dir *dir, const char *name, mode_t mode,
				    int *fd, struct error *err);

/* Makes a character device with mode 0600 that was not there; `dir` is taken. */
MUST_CHECK int beneath_new_device(const struct beneath_dir *dir, const char *name, dev_t device,
				  struct beneath_owner owner, struct error *err);

#endif

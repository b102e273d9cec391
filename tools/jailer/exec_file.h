/* SPDX-License-Identifier: Apache-2.0 */
/* The program that the jail is for. */
#ifndef TOOLS_JAILER_EXEC_FILE_H
#define TOOLS_JAILER_EXEC_FILE_H

#include <limits.h>
#include <stdbool.h>

#include "tools/jailer/beneath.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct exec_file {
	char path[PATH_MAX]; /* absolute, without symbolic links */
	const char *name;    /* its last part, within `path` */
};

/* Finds the file and checks that it is one. */
MUST_CHECK int exec_file_resolve(const char *path, struct exec_file *file, struct error *err);

/*
 * Puts the program into the jail's root, under its name: as a read-only mount of the host's file,
 * so that all jails share its pages, or else, or if `copies`, as a copy of the owner's. Call it
 * in the jail's mount namespace, with `root` taken.
 */
MUST_CHECK int exec_file_install(const struct exec_file *file, const struct beneath_dir *root,
				 struct beneath_owner owner, bool copies, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Other people's programs, files and directories of our own: what images are made with. */
#ifndef TOOLS_CTL_TOOL_H
#define TOOLS_CTL_TOOL_H

#include <stddef.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct ctl_tool {
	const char *what;	 /* for people: "unpacking" */
	const char *package;	 /* which has it, for who has to install it */
	const char *grows;	 /* a file or directory whose size is the progress; NULL: none */
	const char *const *argv; /* NULL ends it */
};

/*
 * Runs it to its end, drawing progress on a terminal. It has an empty input, and what it prints on
 * standard error is shown only in our error: its last lines.
 */
MUST_CHECK int ctl_tool_run(const struct ctl_tool *tool, struct error *err);

/* `fmt` printed on the heap; NULL: there is no memory. */
PRINTF(1, 2) char *ctl_text(const char *fmt, ...);

/* ${variable}/squib, or `fallback` below the home directory, with "/squib"; on the heap. */
char *ctl_home(const char *variable, const char *fallback);

/* Makes a directory for its owner alone, and those above it. No error if it is there. */
MUST_CHECK int ctl_make_dir(const char *path, struct error *err);

/* Removes a file, or a directory with all that is in it. What can't be removed stays. */
void ctl_remove_tree(const char *path);

/* Puts a file in place of what is at `path`, whole or not at all. */
MUST_CHECK int ctl_write_file(const char *path, const void *data, size_t len, struct error *err);

#endif

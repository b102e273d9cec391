/* SPDX-License-Identifier: Apache-2.0 */
/* A file that takes its name when it is complete: what was there stays until then. */
#ifndef TOOLS_SNAPSHOT_EDITOR_OUTPUT_H
#define TOOLS_SNAPSHOT_EDITOR_OUTPUT_H

#include <limits.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct output {
	const char *path;
	char temporary[PATH_MAX]; /* beside it */
	int fd;
};

/*
 * Makes an empty file, for its owner alone. `path` stays the caller's; what is there is refused
 * unless it is a regular file, and none of the inputs, a list that ends with NULL.
 */
MUST_CHECK int output_open(struct output *output, const char *path, const char *const *inputs,
			   struct error *err);

/* Has it reach the disk and take its name, and closes it. */
MUST_CHECK int output_commit(struct output *output, struct error *err);

/* Removes what was not committed; fine after a commit and after a failed output_open. */
void output_discard(struct output *output);

#endif

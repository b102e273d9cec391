/* SPDX-License-Identifier: Apache-2.0 */
/* A file that takes its name when it is complete: what was there stays until then. */
#ifndef TOOLS_LIB_OUTPUT_H
#define TOOLS_LIB_OUTPUT_H

#include <limits.h>
#include <stddef.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct output {
	const char *path;
	char temporary[PATH_MAX]; /* beside it */
	int fd;
};

/*
 * Makes an empty file, for its owner alone unless it takes another one's place: then it has that
 * one's mode. `path` stays the caller's; what is there is refused unless it is a regular file, and
 * none of the inputs, a list that ends with NULL. The sentences of all functions name `path`.
 */
MUST_CHECK int output_open(struct output *output, const char *path, const char *const *inputs,
			   struct error *err);

/* Writes all that the file is to have, and has it reach the disk. */
MUST_CHECK int output_fill(struct output *output, const void *bytes, size_t len, struct error *err);

/* Has it reach the disk and take its name, and closes it. */
MUST_CHECK int output_commit(struct output *output, struct error *err);

/* Removes what was not committed; fine after a commit and after a failed output_open. */
void output_discard(struct output *output);

#endif

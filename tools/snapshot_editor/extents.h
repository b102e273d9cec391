/* SPDX-License-Identifier: Apache-2.0 */
/* Sparse files: where they have data, and writing them. */
#ifndef TOOLS_SNAPSHOT_EDITOR_EXTENTS_H
#define TOOLS_SNAPSHOT_EDITOR_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* Bytes of a file: the first one, and the one behind the last one. */
struct extent {
	uint64_t start;
	uint64_t end;
};

struct extents {
	struct extent *items; /* heap, in the order of the file */
	size_t count;
	uint64_t bytes; /* in all of them */
};

/* Lists the data of an open file of `len` bytes. Destroy it after a failure too. */
MUST_CHECK int extents_find(int fd, uint64_t len, struct extents *extents, struct error *err);
void extents_destroy(struct extents *extents); /* a zeroed one is fine */

/*
 * The part of the bytes from `start` to `end` that the next data has, from item *next on, which
 * goes on. False: there is no more. For going through a file once, *next begins as 0.
 */
bool extents_next(const struct extents *extents, size_t *next, struct extent range,
		  struct extent *part);

/* Writes all bytes at `offset`. */
MUST_CHECK int write_full(int fd, const void *bytes, size_t len, uint64_t offset,
			  struct error *err);

#endif

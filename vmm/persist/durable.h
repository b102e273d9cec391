/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are on disk before anybody is told that they exist. */
#ifndef VMM_PERSIST_DURABLE_H
#define VMM_PERSIST_DURABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * Opens a regular file for writing, which is made (for its owner alone) if there is none. `fault`
 * is what the sentence about a failure begins with. The caller closes *fd.
 */
MUST_CHECK int durable_open(const char *path, const char *fault, int *fd, struct error *err);

/* Whether anything has this name: what a failure leaves of it is not the caller's to remove. */
bool durable_is_there(const char *path);

/*
 * Takes a file back that could not be completed, and was not there before. Where the name is a
 * link, which led nowhere, the link stays, and the file behind it is empty.
 */
void durable_unmake(const char *path);

/*
 * Looks at what a rename to `path` would replace: fails unless it is a regular file, not even a
 * link to one. *st is zeroed where there is nothing. `fault` as for durable_open.
 */
MUST_CHECK int durable_look(const char *path, const char *fault, struct stat *st,
			    struct error *err);

/* Has the bytes of an open file, and its name in its directory, reach the disk. */
MUST_CHECK int durable_sync(int fd, const char *path, struct error *err);

/* The same for the name alone, of a file that was renamed. */
MUST_CHECK int durable_sync_directory(const char *path, struct error *err);

/* Makes an open file hold these bytes and no others; `name` is for the sentence. No sync. */
MUST_CHECK int durable_fill(int fd, const char *name, const void *bytes, size_t len,
			    struct error *err);

/*
 * Makes the file at `path` hold these bytes and no others, on disk when this returns. `fault` as
 * for durable_open. A failure leaves no file where there was none: see durable_unmake.
 */
MUST_CHECK int durable_write(const char *path, const char *fault, const void *bytes, size_t len,
			     struct error *err);

#endif

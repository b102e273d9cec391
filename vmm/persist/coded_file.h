/* SPDX-License-Identifier: Apache-2.0 */
/* Things that a codec knows as files of their own: a machine's state, a working set. */
#ifndef VMM_PERSIST_CODED_FILE_H
#define VMM_PERSIST_CODED_FILE_H

#include "vmm/base/attr.h"
#include "vmm/base/codec.h"
#include "vmm/base/error.h"

struct coded_file {
	struct codec_file head;
	void (*code)(struct codec *codec, void *thing);
	/* What sentences about failures begin with. */
	const char *cannot_make;
	const char *cannot_open;
	const char *cannot_load;
};

/* Writes *thing to the file at `path`, on disk when this returns. */
MUST_CHECK int coded_file_write(const struct coded_file *file, const char *path, void *thing,
				struct error *err);

/* The same to a file that is open for writing, and stays the caller's; without a sync. */
MUST_CHECK int coded_file_fill(const struct coded_file *file, int fd, const char *name, void *thing,
			       struct error *err);

/*
 * Reads a file into a zeroed *thing. Only regular files, of CODEC_FILE_MAX bytes at most. Who wrote
 * it is not trusted: what is read is bounded and otherwise unchecked.
 */
MUST_CHECK int coded_file_read(const struct coded_file *file, const char *path, void *thing,
			       struct error *err);

/* The same of an open file, which stays the caller's; `name` is for sentences. */
MUST_CHECK int coded_file_read_from(const struct coded_file *file, int fd, const char *name,
				    void *thing, struct error *err);

#endif

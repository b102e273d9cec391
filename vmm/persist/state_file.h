/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's state as a file: docs/snapshot-format.md describes it. */
#ifndef VMM_PERSIST_STATE_FILE_H
#define VMM_PERSIST_STATE_FILE_H

#include <stdio.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/machine/machine_state.h"

enum {
	STATE_FORMAT = 1 /* grows when older readers can't read a file at all */
};

/* What the sentence begins with if there can't be such a file [compat]. */
extern const char state_file_cannot_make[];

/* Writes *state to the file at `path`, on disk when this returns. */
MUST_CHECK int state_file_write(struct machine_state *state, const char *path, struct error *err);

/* The same to a file that is open for writing, and stays the caller's; without a sync. */
MUST_CHECK int state_file_fill(struct machine_state *state, int fd, const char *name,
			       struct error *err);

/*
 * Reads a file into a zeroed *state. Who wrote it is not trusted: what is read is bounded and
 * otherwise unchecked. After a failure too, machine_state_destroy is to be called.
 */
MUST_CHECK int state_file_read(const char *path, struct machine_state *state, struct error *err);

/* The same of an open file, which stays the caller's; `name` is for sentences. */
MUST_CHECK int state_file_read_from(int fd, const char *name, struct machine_state *state,
				    struct error *err);

/* Prints *state as indented lines. */
void state_file_dump(struct machine_state *state, FILE *out);

/* The same as JSON: see codec_dump_json. */
MUST_CHECK int state_file_dump_json(struct machine_state *state, FILE *out, struct error *err);

#endif

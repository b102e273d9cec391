/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's state as a file: docs/snapshot-format.md describes it. */
#ifndef VMM_PERSIST_STATE_FILE_H
#define VMM_PERSIST_STATE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/machine/machine_state.h"

enum {
	STATE_FORMAT = 1 /* grows when older readers can't read a file at all */
};

/*
 * Reads all of a file of the codec into a heap block, which the caller frees. Only regular files,
 * of CODEC_FILE_MAX bytes at most. The sentences are those of a load [compat].
 */
MUST_CHECK int state_file_bytes(const char *path, uint8_t **bytes, size_t *len, struct error *err);

/* Writes *state to the file at `path`, on disk when this returns. */
MUST_CHECK int state_file_write(struct machine_state *state, const char *path, struct error *err);

/*
 * Reads a file into a zeroed *state. Who wrote it is not trusted: what is read is bounded and
 * otherwise unchecked. After a failure too, machine_state_destroy is to be called.
 */
MUST_CHECK int state_file_read(const char *path, struct machine_state *state, struct error *err);

/* Prints *state as indented lines. */
void state_file_dump(struct machine_state *state, FILE *out);

/* The same as JSON: see codec_dump_json. */
MUST_CHECK int state_file_dump_json(struct machine_state *state, FILE *out, struct error *err);

#endif

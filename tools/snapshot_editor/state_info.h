/* SPDX-License-Identifier: Apache-2.0 */
/* State files: what is in them, and whether they are whole. */
#ifndef TOOLS_SNAPSHOT_EDITOR_STATE_INFO_H
#define TOOLS_SNAPSHOT_EDITOR_STATE_INFO_H

#include <stdio.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/persist/state_file.h"

/*
 * Reads a state file of this program's architecture into a zeroed *state; one of another is refused
 * by name. After a failure too, machine_state_destroy is to be called.
 */
MUST_CHECK int state_open(const char *path, struct machine_state *state, struct error *err);

/* Each prints what it says of *state. */
void state_print_version(struct machine_state *state, FILE *out);
void state_print_vcpus(struct machine_state *state, FILE *out);
void state_print_all(struct machine_state *state, FILE *out);

/*
 * Whether *state has what a machine has, and the memory file at `memory` (NULL: none is looked at)
 * is as long as its regions are. ERR_CORRUPT says what is wrong.
 */
MUST_CHECK int state_verify(const struct machine_state *state, const char *memory,
			    struct error *err);

/* How long the memory file of *state is; UINT64_MAX if its regions can't be. */
uint64_t state_memory_len(const struct machine_state *state);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot: the files of a machine's state and of its memory. */
#ifndef VMM_PERSIST_SNAPSHOT_H
#define VMM_PERSIST_SNAPSHOT_H

#include <stdbool.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/machine/machine.h"
#include "vmm/persist/page_sets.h"

struct snapshot_files {
	const char *state;
	const char *memory; /* NULL: the state alone is written */
	bool is_diff;	    /* of the memory only what changed: see docs/snapshots.md */
};

/*
 * Saves a paused machine, which may go on afterwards; `config` is the text of its configuration.
 * Both files are on disk when this returns, the state last. After a failure the files are
 * incomplete, and the next save has all that this one would have had. VMM thread.
 */
MUST_CHECK int snapshot_save(const struct machine *machine, const char *config,
			     const struct snapshot_files *files, struct error *err);

/* Fails if the file at `path` is the one that the machine's memory is mapped from. */
MUST_CHECK int snapshot_check_path(const struct machine *machine, const char *path,
				   struct error *err);

/*
 * Finds the pages that a Diff snapshot would have now, and changes nothing. `changed` is empty.
 * Of a paused machine. VMM thread.
 */
MUST_CHECK int snapshot_find_changed(const struct machine *machine, struct page_sets *changed,
				     struct error *err);

#endif

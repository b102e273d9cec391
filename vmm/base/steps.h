/* SPDX-License-Identifier: Apache-2.0 */
/* Steps that build something, each with its undo; a failure walks them back. */
#ifndef VMM_BASE_STEPS_H
#define VMM_BASE_STEPS_H

#include <stddef.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct step {
	int (*run)(void *arg, struct error *err);
	/* Takes what is half done as well. NULL: there is nothing to undo. */
	void (*undo)(void *arg);
};

/* Runs the steps in order. If one fails, it and those before it are undone, the last one first. */
MUST_CHECK int steps_run(const struct step *steps, size_t count, void *arg, struct error *err);

/* Undoes all `count` steps, the last one first. */
void steps_undo(const struct step *steps, size_t count, void *arg);

#endif

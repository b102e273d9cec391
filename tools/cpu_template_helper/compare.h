/* SPDX-License-Identifier: Apache-2.0 */
/* What several templates or dumps have in common, and how they differ. */
#ifndef TOOLS_CPU_TEMPLATE_HELPER_COMPARE_H
#define TOOLS_CPU_TEMPLATE_HELPER_COMPARE_H

#include <stddef.h>
#include <stdio.h>

#include "tools/cpu_template_helper/cells.h"

/* A file with what it has. */
struct dump {
	const char *path; /* the caller's, for messages */
	struct cpu_template_block *block;
	struct cells cells;
};

/* Of each, leaves the bits that are not the same in all [compat]. */
void compare_strip(struct cells *const *sets, size_t count);

/*
 * Prints each register in which `guest` is not what the template names, with both values and the
 * names of the fields, and returns how many there are.
 */
size_t compare_verify(const struct cells *cpu_template, const struct cells *guest, FILE *out);

/* Prints each field in which they differ, and returns how many. */
size_t compare_explain(const struct dump *a, const struct dump *b, FILE *out);

/*
 * Makes the template, the caller's, under which guests of all hosts see the same: of each field
 * that differs, what all can keep, by its rule (arch/field.h). What no template can level is noted
 * on `notes`. Fails for hosts of different vendors.
 */
MUST_CHECK int compare_common(const struct dump *dumps, size_t count, struct cells *made,
			      FILE *notes, struct error *err);

#endif

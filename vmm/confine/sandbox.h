/* SPDX-License-Identifier: Apache-2.0 */
/* --check-sandbox: what holds this process in, found out by the process itself. */
#ifndef VMM_SANDBOX_H
#define VMM_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "seccomp/filter.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	SANDBOX_ROWS_MAX = 48,
	SANDBOX_VALUE_LEN = 1024, /* the names of all capabilities fit */
};

enum sandbox_verdict {
	SANDBOX_OK,
	SANDBOX_OPEN,
	SANDBOX_MISSING, /* what squib needs is not there */
	SANDBOX_UNKNOWN, /* can't be found out from here, e.g. in a jail without /proc */
	SANDBOX_VERDICTS
};

struct sandbox_row {
	const char *what;
	const char *why; /* it matters: a clause */
	enum sandbox_verdict verdict;
	bool decides;		       /* open or missing, it makes the whole open */
	char value[SANDBOX_VALUE_LEN]; /* printable ASCII */
};

struct sandbox {
	struct sandbox_row rows[SANDBOX_ROWS_MAX];
	size_t count;
};

/* What the command line would add to it. */
struct sandbox_plan {
	const struct filter_set *filters;
	const char *filters_path; /* NULL: built in */
	bool landlock;
};

/* Changes nothing. To be called before the process opens files of its own. */
void sandbox_collect(const struct sandbox_plan *plan, struct sandbox *sandbox);

/* Whether no row that decides is open or missing. */
bool sandbox_is_closed(const struct sandbox *sandbox);

/* "ok", "open", "missing", "unknown". */
extern const char *const sandbox_verdict_names[SANDBOX_VERDICTS];

void sandbox_print_table(const struct sandbox *sandbox, FILE *out);
MUST_CHECK int sandbox_print_json(const struct sandbox *sandbox, FILE *out, struct error *err);

#endif

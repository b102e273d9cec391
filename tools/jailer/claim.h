/* SPDX-License-Identifier: Apache-2.0 */
/* One jailer at a time, and no program, in a jail. */
#ifndef TOOLS_JAILER_CLAIM_H
#define TOOLS_JAILER_CLAIM_H

#include "tools/jailer/beneath.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * Opens the jail's directory, `name` below `base`, which is made if it is missing, and locks it for
 * as long as *jail is open. Fails, with nothing changed, if another jailer has it, or if the
 * program that `pid_file` (below its root directory) names still runs in it.
 */
MUST_CHECK int claim_jail(const struct beneath_dir *base, const char *name, const char *pid_file,
			  struct beneath_dir *jail, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl cp: files between this host and a machine. */
#ifndef TOOLS_CTL_COPY_H
#define TOOLS_CTL_COPY_H

#include "tools/squibctl/ctl_args.h"
#include "tools/squibctl/ctl_machine.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* Copies as the two operands say. Returns the exit status of the process. */
int ctl_copy(const struct ctl_args *args);

/*
 * Copies a file or directory of this host into the directory `to` of a machine that runs, which is
 * made if it is not there, by way of standard input, which is another file afterwards. What the
 * guest says to it is on standard error.
 */
MUST_CHECK int ctl_copy_in(const struct machine *machine, const char *from, const char *to,
			   struct error *err);

#endif

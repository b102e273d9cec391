/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs beside a machine's squib that serve it by a socket: virtiofsd, passt. In the machine's
 * directory each has NAME.sock, and NAME.log for what it says.
 */
#ifndef TOOLS_CTL_HELPER_H
#define TOOLS_CTL_HELPER_H

#include <sys/types.h>

#include "tools/squibctl/ctl_machine.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* The path of NAME.SUFFIX; on the heap. */
char *ctl_helper_file(const struct machine *machine, const char *name, const char *suffix);

/*
 * As fork(2). The child has no input, its output is the log, its signals are as they were at first.
 */
pid_t ctl_helper_fork(const struct machine *machine, const char *name);

/* Waits until the program listens. An error, made of `what` and its log, if it ends or takes long.
 */
MUST_CHECK int ctl_helper_await(const struct machine *machine, const char *name, pid_t pid,
				const char *what, struct error *err);

/* That error. Returns -1. */
int ctl_helper_fail(const struct machine *machine, const char *name, const char *what,
		    struct error *err);

#endif

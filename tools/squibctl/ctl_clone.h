/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines that have names, made of others: forks of one that runs, and what was saved of one. A
 * clone's command goes on where it was; its record, log, sockets and disk are its own.
 */
#ifndef TOOLS_CTL_CLONE_H
#define TOOLS_CTL_CLONE_H

#include "tools/squibctl/ctl_args.h"

enum {
	CLONES_MAX = 64, /* of one request, which must fit into squib's limit of a body */
};

/* squibctl fork NAME: makes --count machines of one. Returns the exit status of the process. */
int ctl_clone_fork(const struct ctl_args *args);

/* squibctl save NAME DIRECTORY: memory, state, disk and record. */
int ctl_clone_save(const struct ctl_args *args);

/* squibctl restore DIRECTORY: a machine of what was saved. */
int ctl_clone_restore(const struct ctl_args *args);

#endif

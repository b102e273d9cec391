/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines that have names, made of others: forks of one that runs, and what was saved of one. A
 * clone's command goes on where it was; its record, log, sockets and disk are its own.
 */
#ifndef TOOLS_CTL_CLONE_H
#define TOOLS_CTL_CLONE_H

#include <stdbool.h>

#include "tools/squibctl/ctl_args.h"
#include "tools/squibctl/ctl_machine.h"
#include "tools/squibctl/ctl_session.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	CLONES_MAX = 64, /* of one request, which must fit into squib's limit of a body */
};

/* squibctl fork NAME: makes --count machines of one. Returns the exit status of the process. */
int ctl_clone_fork(const struct ctl_args *args);

/*
 * squibctl save NAME DIRECTORY: memory, state, disk and record of the machine `name`, in a
 * directory that is made, whose path is printed. Says what fails. Returns the exit status of the
 * process. `clones` not NULL: what machines of it have for themselves is checked before, and
 * nothing is printed.
 */
int ctl_clone_save(const char *name, const char *path, const struct ctl_args *clones);

/* squibctl restore DIRECTORY: a machine of what was saved. */
int ctl_clone_restore(const struct ctl_args *args);

/* --- the steps of a restore, for who wants many --- */

struct ctl_clone_way {
	const char *pool;     /* loaded and paused in it until somebody takes it; NULL: goes on */
	unsigned long number; /* in place of a % of --net; 0: none */
};

/* What is in a directory of save, as a machine without a place of its own. Close it in any case. */
MUST_CHECK int ctl_clone_open(const struct ctl_args *args, const char *dir, struct machine *saved,
			      struct error *err);

/*
 * Its directory, its record and a copy of the disk; `name` NULL: one is made up. ERR_BAD_STATE:
 * there is a machine or a disk with that name. Close the machine in any case.
 */
MUST_CHECK int ctl_clone_make(const struct machine *saved, const char *name,
			      struct machine *machine, struct error *err);

/* Starts its keeper, which loads it. *client is for ctl_clone_await. */
MUST_CHECK int ctl_clone_load(const struct ctl_args *args, const struct machine *saved,
			      struct machine *machine, struct ctl_clone_way way, int *client,
			      struct error *err);

/*
 * Until its keeper, which is at the other end of *client, says that its command runs, or that it is
 * loaded and waits. Closes *client.
 */
MUST_CHECK int ctl_clone_await(const struct machine *machine, int *client,
			       const struct session_options *options, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has happened to machines that have names: lines of JSON in a file beside their directories,
 * written by whoever does it. Requests of other clients to a machine's API are not in it.
 */
#ifndef TOOLS_CTL_EVENTS_H
#define TOOLS_CTL_EVENTS_H

#include "tools/squibctl/ctl_args.h"
#include "tools/squibctl/ctl_machine.h"

enum {
	CTL_NO_STATUS = -1
};

/*
 * Notes that a machine was `what`, in one word; `status` is an exit status or CTL_NO_STATUS. What
 * can't be noted is lost: no machine fails for that.
 */
void ctl_event(const struct machine *machine, const char *what, int status);

/* Shows what was noted. Returns the exit status of the process. */
int ctl_events_run(const struct ctl_args *args);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl's commands on machines that have names. */
#ifndef TOOLS_CTL_MACHINES_H
#define TOOLS_CTL_MACHINES_H

#include <stdbool.h>

#include "tools/squibctl/ctl_args.h"

/* Whether it is one of these commands: run, exec, ps, logs, stop NAME and so on. */
bool ctl_machines_has(const struct ctl_args *args);

/* Runs it. Returns the exit status of the process. */
int ctl_machines_run(const struct ctl_args *args);

#endif

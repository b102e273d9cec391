/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl's fork: children by the dozen. */
#ifndef TOOLS_CTL_FORK_H
#define TOOLS_CTL_FORK_H

#include "tools/squibctl/ctl_args.h"

/* Runs the command on an open connection, and prints a table of the children. */
enum ctl_exit ctl_fork_run(int fd, const struct ctl_args *args);

#endif

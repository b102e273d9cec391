/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that save a microVM to files and load one from them. */
#ifndef TOOLS_CTL_SNAPSHOT_H
#define TOOLS_CTL_SNAPSHOT_H

#include "tools/squibctl/ctl_args.h"

/* Runs `snapshot` or `load` over a connection to squib, and prints what came of it. */
enum ctl_exit ctl_snapshot_run(int fd, const struct ctl_args *args);

#endif

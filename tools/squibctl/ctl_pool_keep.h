/* SPDX-License-Identifier: Apache-2.0 */
/* Who keeps a pool: one process, which makes a machine for each that is missing. */
#ifndef TOOLS_CTL_POOL_KEEP_H
#define TOOLS_CTL_POOL_KEEP_H

#include "tools/squibctl/ctl_args.h"
#include "tools/squibctl/ctl_pool_dir.h"

/* Keeps `want` machines ready in the directory, until SIGTERM, SIGINT or SIGHUP. */
enum ctl_exit pool_keep(const struct ctl_args *args, const struct pool_dir *dir,
			unsigned long want);

/* Ends all machines that nobody has taken. By who holds the lock. */
void pool_sweep(const struct pool_dir *dir);

#endif

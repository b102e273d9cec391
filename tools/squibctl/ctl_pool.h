/* SPDX-License-Identifier: Apache-2.0 */
/* The command that keeps machines ready, and hands them out. */
#ifndef TOOLS_CTL_POOL_H
#define TOOLS_CTL_POOL_H

#include "tools/squibctl/ctl_args.h"

/* Runs `pool start`, which returns when it is stopped, `take`, `status` or `stop`. */
enum ctl_exit ctl_pool_run(const struct ctl_args *args);

#endif

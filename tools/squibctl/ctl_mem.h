/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl mem: what the guest has plugged in, and what it is to have. */
#ifndef TOOLS_CTL_MEM_H
#define TOOLS_CTL_MEM_H

#include "tools/squibctl/ctl_args.h"

enum ctl_exit ctl_mem_run(int fd, const struct ctl_args *args);

#endif

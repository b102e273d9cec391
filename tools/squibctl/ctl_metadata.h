/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl's metadata: what a guest's metadata service tells. */
#ifndef TOOLS_CTL_METADATA_H
#define TOOLS_CTL_METADATA_H

#include "tools/squibctl/ctl_args.h"

/* Runs the command on an open connection. */
enum ctl_exit ctl_metadata_run(int fd, const struct ctl_args *args);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl plug and unplug: several requests each, until the guest has what it is to have. */
#ifndef TOOLS_CTL_PLUG_H
#define TOOLS_CTL_PLUG_H

#include "tools/squibctl/ctl_args.h"

enum ctl_exit ctl_plug_run(int fd, const struct ctl_args *args);

#endif

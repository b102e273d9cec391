/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl's overlay: files of drives that have a base. */
#ifndef TOOLS_CTL_OVERLAY_H
#define TOOLS_CTL_OVERLAY_H

#include "tools/squibctl/ctl_args.h"

/* Runs the command, which needs no squib. */
enum ctl_exit ctl_overlay_run(const struct ctl_args *args);

#endif

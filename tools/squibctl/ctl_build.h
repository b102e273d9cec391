/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl build: a machine as a directory that needs squib alone. */
#ifndef TOOLS_CTL_BUILD_H
#define TOOLS_CTL_BUILD_H

#include "tools/squibctl/ctl_args.h"

/*
 * Makes the directory of operand 2, which must not be there, of the image of operand 1. Equal
 * images, kernels and options make equal bytes. Returns the exit status of the process.
 */
int ctl_build(const struct ctl_args *args);

#endif

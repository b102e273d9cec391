/* SPDX-License-Identifier: Apache-2.0 */
/* Root's powers, given up. */
#ifndef TOOLS_JAILER_CAPS_H
#define TOOLS_JAILER_CAPS_H

#include "tools/jailer/beneath.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * Makes the process the owner's, without any capability, other group or way to regain one, across
 * execve(2) too, and for user 0 as well. Checks that it is so.
 */
MUST_CHECK int caps_drop(struct beneath_owner owner, struct error *err);

#endif

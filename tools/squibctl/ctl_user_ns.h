/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces of an ordinary user, in which he is root of what is his own. */
#ifndef TOOLS_CTL_USER_NS_H
#define TOOLS_CTL_USER_NS_H

#include <stdbool.h>

#include "vmm/base/attr.h"

/*
 * Moves this process, which has one thread, to a user namespace with the user and the group of this
 * process as root, and to a mount namespace. -1: errno has why not.
 */
MUST_CHECK int ctl_user_ns_enter(void);

/* Whether a process of this user can do that: a host may forbid it. */
bool ctl_user_ns_is_allowed(void);

#endif

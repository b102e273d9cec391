/* SPDX-License-Identifier: Apache-2.0 */
/* For machines that are none: an action's end. */
#ifndef TESTS_LIB_ACTION_DROP_H
#define TESTS_LIB_ACTION_DROP_H

#include "vmm/action.h"

/* Frees what a machine keeps of an action that it has taken. */
void action_drop(struct action *action);

#endif

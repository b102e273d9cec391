/* SPDX-License-Identifier: Apache-2.0 */
/* /actions: what the microVM is told to do once. */
#ifndef API_RES_ACTIONS_H
#define API_RES_ACTIONS_H

#include "api/resource.h"

extern const struct schema res_actions_schema;

MUST_CHECK int res_actions_put(struct resource_call *call, struct error *err);

#endif

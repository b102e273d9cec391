/* SPDX-License-Identifier: Apache-2.0 */
/* /entropy: the source of random numbers. */
#ifndef API_RES_ENTROPY_H
#define API_RES_ENTROPY_H

#include "api/resource.h"

extern const struct schema res_entropy_schema;

/* PUT: the machine has the device, with these limits. */
MUST_CHECK int res_entropy_put(struct resource_call *call, struct error *err);

#endif

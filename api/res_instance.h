/* SPDX-License-Identifier: Apache-2.0 */
/* / and /version: which process this is. */
#ifndef API_RES_INSTANCE_H
#define API_RES_INSTANCE_H

#include "api/resource.h"

extern const struct schema res_instance_schema;
extern const struct schema res_version_schema;

/* GET / */
MUST_CHECK int res_instance_get(struct resource_call *call, struct error *err);

/* GET /version */
MUST_CHECK int res_version_get(struct resource_call *call, struct error *err);

#endif

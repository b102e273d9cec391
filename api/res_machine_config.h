/* SPDX-License-Identifier: Apache-2.0 */
/* /machine-config: vCPUs and memory. */
#ifndef API_RES_MACHINE_CONFIG_H
#define API_RES_MACHINE_CONFIG_H

#include "api/resource.h"

extern const struct schema res_machine_config_schema;
extern const struct schema res_machine_config_patch_schema;

/* PUT: fields that are absent get their defaults. */
MUST_CHECK int res_machine_config_put(struct resource_call *call, struct error *err);

/* PATCH: fields that are absent keep what they have; all change or none. */
MUST_CHECK int res_machine_config_patch(struct resource_call *call, struct error *err);

MUST_CHECK int res_machine_config_get(struct resource_call *call, struct error *err);

/* What GET answers; NULL if memory is short. */
MUST_CHECK json_t *res_machine_config_encode(const struct machine_config *machine);

#endif

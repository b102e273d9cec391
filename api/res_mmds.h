/* SPDX-License-Identifier: Apache-2.0 */
/* /mmds: the guest's metadata; /mmds/config: how it gets them. */
#ifndef API_RES_MMDS_H
#define API_RES_MMDS_H

#include "api/resource.h"

extern const struct schema res_mmds_config_schema;

/* This build lacks the device: valid requests are refused. */
MUST_CHECK int res_mmds_get(struct resource_call *call, struct error *err);
MUST_CHECK int res_mmds_put(struct resource_call *call, struct error *err);
MUST_CHECK int res_mmds_patch(struct resource_call *call, struct error *err);
MUST_CHECK int res_mmds_config_put(struct resource_call *call, struct error *err);

#endif

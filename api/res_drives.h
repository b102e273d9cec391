/* SPDX-License-Identifier: Apache-2.0 */
/* /drives/{id}: block devices. */
#ifndef API_RES_DRIVES_H
#define API_RES_DRIVES_H

#include "api/resource.h"

extern const struct schema res_drives_schema;
extern const struct schema res_drives_patch_schema;

/* This build lacks the device: valid requests are refused. */
MUST_CHECK int res_drives_put(struct resource_call *call, struct error *err);
MUST_CHECK int res_drives_patch(struct resource_call *call, struct error *err);
MUST_CHECK int res_drives_delete(struct resource_call *call, struct error *err);

#endif

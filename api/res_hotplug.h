/* SPDX-License-Identifier: Apache-2.0 */
/* /hotplug/memory: memory that can be added. */
#ifndef API_RES_HOTPLUG_H
#define API_RES_HOTPLUG_H

#include "api/resource.h"

extern const struct schema res_hotplug_schema;
extern const struct schema res_hotplug_patch_schema;

/* This build lacks the device: valid requests are refused. */
MUST_CHECK int res_hotplug_get(struct resource_call *call, struct error *err);
MUST_CHECK int res_hotplug_put(struct resource_call *call, struct error *err);
MUST_CHECK int res_hotplug_patch(struct resource_call *call, struct error *err);

#endif

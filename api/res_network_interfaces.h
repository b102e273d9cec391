/* SPDX-License-Identifier: Apache-2.0 */
/* /network-interfaces/{id}: network devices. */
#ifndef API_RES_NETWORK_INTERFACES_H
#define API_RES_NETWORK_INTERFACES_H

#include "api/resource.h"

extern const struct schema res_network_interfaces_schema;
extern const struct schema res_network_interfaces_patch_schema;

/* This build lacks the device: valid requests are refused. */
MUST_CHECK int res_network_interfaces_put(struct resource_call *call, struct error *err);
MUST_CHECK int res_network_interfaces_patch(struct resource_call *call, struct error *err);
MUST_CHECK int res_network_interfaces_delete(struct resource_call *call, struct error *err);

#endif

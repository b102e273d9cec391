/* SPDX-License-Identifier: Apache-2.0 */
/* /network-interfaces/{id}: network devices. */
#ifndef API_RES_NETWORK_INTERFACES_H
#define API_RES_NETWORK_INTERFACES_H

#include "api/resource.h"

extern const struct schema res_network_interfaces_schema;
extern const struct schema res_network_interfaces_patch_schema;

/* PUT: the TAP is opened now; an interface of the same id is replaced. Also one of the file's list.
 */
MUST_CHECK int res_network_interfaces_put(struct resource_call *call, struct error *err);

/* PATCH: the limits of a running machine's interface. */
MUST_CHECK int res_network_interfaces_patch(struct resource_call *call, struct error *err);

#endif

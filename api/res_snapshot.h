/* SPDX-License-Identifier: Apache-2.0 */
/* /snapshot/create and /snapshot/load. */
#ifndef API_RES_SNAPSHOT_H
#define API_RES_SNAPSHOT_H

#include "api/resource.h"

extern const struct schema res_snapshot_create_schema;
extern const struct schema res_snapshot_load_schema;
extern const struct schema res_snapshot_backend_schema;
extern const struct schema res_snapshot_network_schema;
extern const struct schema res_snapshot_vsock_schema;

/* This build lacks the device: valid requests are refused. */
MUST_CHECK int res_snapshot_create_put(struct resource_call *call, struct error *err);
MUST_CHECK int res_snapshot_load_put(struct resource_call *call, struct error *err);

#endif

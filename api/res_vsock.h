/* SPDX-License-Identifier: Apache-2.0 */
/* /vsock: the socket device. */
#ifndef API_RES_VSOCK_H
#define API_RES_VSOCK_H

#include "api/resource.h"

extern const struct schema res_vsock_schema;

/* PUT: the socket is made now; that of the device before is removed. */
MUST_CHECK int res_vsock_put(struct resource_call *call, struct error *err);

/* How GET /vm/config shows it; NULL if memory is short. */
MUST_CHECK json_t *res_vsock_encode(const struct vsock_config *vsock);

#endif

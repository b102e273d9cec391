/* SPDX-License-Identifier: Apache-2.0 */
/* /vsock: the socket device. */
#ifndef API_RES_VSOCK_H
#define API_RES_VSOCK_H

#include "api/resource.h"

extern const struct schema res_vsock_schema;

/* This build lacks the device: valid requests are refused. */
MUST_CHECK int res_vsock_put(struct resource_call *call, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* /serial: where the guest's serial output goes. */
#ifndef API_RES_SERIAL_H
#define API_RES_SERIAL_H

#include "api/resource.h"

extern const struct schema res_serial_schema;

/* PUT: what is absent goes back to its default. */
MUST_CHECK int res_serial_put(struct resource_call *call, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* /logger: where the log goes and what its lines show. */
#ifndef API_RES_LOGGER_H
#define API_RES_LOGGER_H

#include "api/resource.h"

extern const struct schema res_logger_schema;

/*
 * PUT: configures the log of this process. Without `level` it becomes Info, whatever it was; the
 * other fields keep what they had where they are absent [compat].
 */
MUST_CHECK int res_logger_put(struct resource_call *call, struct error *err);

#endif

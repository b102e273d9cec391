/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics: where the metrics go and what each line carries besides. */
#ifndef API_RES_METRICS_H
#define API_RES_METRICS_H

#include "api/resource.h"

extern const struct schema res_metrics_schema;

/* The values since start, for Prometheus: beyond what Firecracker's API has. */
MUST_CHECK int res_metrics_get(struct resource_call *call, struct error *err);

MUST_CHECK int res_metrics_put(struct resource_call *call, struct error *err);

#endif

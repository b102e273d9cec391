/* SPDX-License-Identifier: Apache-2.0 */
/* /balloon and what is below it: the memory balloon. */
#ifndef API_RES_BALLOON_H
#define API_RES_BALLOON_H

#include "api/resource.h"

extern const struct schema res_balloon_schema;
extern const struct schema res_balloon_patch_schema;
extern const struct schema res_balloon_statistics_patch_schema;
extern const struct schema res_balloon_hinting_start_schema;

MUST_CHECK int res_balloon_put(struct resource_call *call, struct error *err);

/* GET: as it was put, with what was changed since. */
MUST_CHECK int res_balloon_get(struct resource_call *call, struct error *err);

/* Of a running machine. */
MUST_CHECK int res_balloon_patch(struct resource_call *call, struct error *err);
MUST_CHECK int res_balloon_statistics_get(struct resource_call *call, struct error *err);
MUST_CHECK int res_balloon_statistics_patch(struct resource_call *call, struct error *err);
MUST_CHECK int res_balloon_hinting_start(struct resource_call *call, struct error *err);
MUST_CHECK int res_balloon_hinting_status_get(struct resource_call *call, struct error *err);
MUST_CHECK int res_balloon_hinting_stop(struct resource_call *call, struct error *err);

#endif

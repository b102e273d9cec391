/* SPDX-License-Identifier: Apache-2.0 */
/* /drives/{id}: block devices. */
#ifndef API_RES_DRIVES_H
#define API_RES_DRIVES_H

#include "api/resource.h"

extern const struct schema res_drives_schema;
extern const struct schema res_drives_patch_schema;

/* PUT: the file is opened now; a drive of the same id is replaced. Also one of the file's list. */
MUST_CHECK int res_drives_put(struct resource_call *call, struct error *err);

/* PATCH: file, then limits, of a running machine's drive. */
MUST_CHECK int res_drives_patch(struct resource_call *call, struct error *err);

/* How GET /vm/config shows it; NULL if memory is short. */
MUST_CHECK json_t *res_drives_encode(const struct blk_config *drive);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* /pmem/{id}: persistent memory devices. */
#ifndef API_RES_PMEM_H
#define API_RES_PMEM_H

#include "api/resource.h"

extern const struct schema res_pmem_schema;
extern const struct schema res_pmem_patch_schema;

/* This build lacks the device: valid requests are refused. */
MUST_CHECK int res_pmem_put(struct resource_call *call, struct error *err);
MUST_CHECK int res_pmem_patch(struct resource_call *call, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* /boot-source: kernel, initrd and kernel command line. */
#ifndef API_RES_BOOT_SOURCE_H
#define API_RES_BOOT_SOURCE_H

#include "api/resource.h"

extern const struct schema res_boot_source_schema;

/* PUT: the files are opened now. */
MUST_CHECK int res_boot_source_put(struct resource_call *call, struct error *err);

#endif

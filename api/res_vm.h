/* SPDX-License-Identifier: Apache-2.0 */
/* /vm: pause and resume; /vm/config: all of the configuration. */
#ifndef API_RES_VM_H
#define API_RES_VM_H

#include "api/resource.h"

extern const struct schema res_vm_schema;

MUST_CHECK int res_vm_patch(struct resource_call *call, struct error *err);

/* Answers what a configuration file for this microVM would say. */
MUST_CHECK int res_vm_config_get(struct resource_call *call, struct error *err);

#endif

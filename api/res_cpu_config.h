/* SPDX-License-Identifier: Apache-2.0 */
/* /cpu-config: a custom CPU template. */
#ifndef API_RES_CPU_CONFIG_H
#define API_RES_CPU_CONFIG_H

#include "api/resource.h"

extern const struct schema res_cpu_config_x86_64_schema;
extern const struct schema res_cpu_config_aarch64_schema;
extern const struct schema res_cpu_config_leaf_schema;
extern const struct schema res_cpu_config_leaf_register_schema;
extern const struct schema res_cpu_config_register_schema;
extern const struct schema res_cpu_config_feature_schema;

/* This build lacks the device: valid requests are refused. */
MUST_CHECK int res_cpu_config_put(struct resource_call *call, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The list of all field tables. */
#include "api/schemas.h"

#include "api/rate_limiter.h"
#include "api/res_actions.h"
#include "api/res_balloon.h"
#include "api/res_boot_source.h"
#include "api/res_cpu_config.h"
#include "api/res_drives.h"
#include "api/res_entropy.h"
#include "api/res_hotplug.h"
#include "api/res_instance.h"
#include "api/res_logger.h"
#include "api/res_machine_config.h"
#include "api/res_metrics.h"
#include "api/res_mmds.h"
#include "api/res_network_interfaces.h"
#include "api/res_pmem.h"
#include "api/res_serial.h"
#include "api/res_snapshot.h"
#include "api/res_vm.h"
#include "api/res_vsock.h"

const struct schema *const api_schemas[] = {
	&res_actions_schema,
	&res_balloon_schema,
	&res_balloon_patch_schema,
	&res_balloon_statistics_patch_schema,
	&res_balloon_hinting_start_schema,
	&res_boot_source_schema,
	&res_cpu_config_x86_64_schema,
	&res_cpu_config_aarch64_schema,
	&res_cpu_config_leaf_schema,
	&res_cpu_config_leaf_register_schema,
	&res_cpu_config_register_schema,
	&res_cpu_config_feature_schema,
	&res_drives_schema,
	&res_drives_patch_schema,
	&res_entropy_schema,
	&res_hotplug_schema,
	&res_hotplug_patch_schema,
	&res_instance_schema,
	&res_version_schema,
	&res_logger_schema,
	&res_machine_config_schema,
	&res_machine_config_patch_schema,
	&res_metrics_schema,
	&res_mmds_config_schema,
	&res_network_interfaces_schema,
	&res_network_interfaces_patch_schema,
	&res_pmem_schema,
	&res_pmem_patch_schema,
	&res_serial_schema,
	&res_snapshot_create_schema,
	&res_snapshot_load_schema,
	&res_snapshot_backend_schema,
	&res_snapshot_network_schema,
	&res_snapshot_vsock_schema,
	&res_vm_schema,
	&res_vsock_schema,
	&token_bucket_schema,
	&rate_limiter_schema,
	NULL,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the process's own metrics. */
#include "vmm/control/process_metrics.h"

static const struct metric_field api_server_fields[] = {
	{METRIC_ROW(api_server_metrics, process_startup_time_us, METRIC_GAUGE, METRIC_US)},
	{METRIC_ROW(api_server_metrics, process_startup_time_cpu_us, METRIC_GAUGE, METRIC_US)},
};

const struct metric_group api_server_metric_group = {
	METRIC_GROUP("api_server", api_server_metrics, api_server_fields, 0)};

static const struct metric_field deprecated_api_fields[] = {
	{METRIC_COUNT(deprecated_api_metrics, deprecated_http_api_calls)},
};

const struct metric_group deprecated_api_metric_group = {
	METRIC_GROUP("deprecated_api", deprecated_api_metrics, deprecated_api_fields, 0)};

static const struct metric_field get_api_fields[] = {
	{METRIC_COUNT(get_api_metrics, instance_info_count)},
	{METRIC_COUNT(get_api_metrics, machine_cfg_count)},
	{METRIC_COUNT(get_api_metrics, mmds_count)},
	{METRIC_COUNT(get_api_metrics, vmm_version_count)},
	{METRIC_COUNT(get_api_metrics, hotplug_memory_count)},
};

const struct metric_group get_api_metric_group = {
	METRIC_GROUP("get_api_requests", get_api_metrics, get_api_fields, 0)};

static const struct metric_field patch_api_fields[] = {
	{METRIC_COUNT(patch_api_metrics, drive_count)},
	{METRIC_COUNT(patch_api_metrics, drive_fails)},
	{METRIC_COUNT(patch_api_metrics, network_count)},
	{METRIC_COUNT(patch_api_metrics, network_fails)},
	{METRIC_COUNT(patch_api_metrics, machine_cfg_count)},
	{METRIC_COUNT(patch_api_metrics, machine_cfg_fails)},
	{METRIC_COUNT(patch_api_metrics, mmds_count)},
	{METRIC_COUNT(patch_api_metrics, mmds_fails)},
	{METRIC_COUNT(patch_api_metrics, hotplug_memory_count)},
	{METRIC_COUNT(patch_api_metrics, hotplug_memory_fails)},
	{METRIC_COUNT(patch_api_metrics, pmem_count)},
	{METRIC_COUNT(patch_api_metrics, pmem_fails)},
};

const struct metric_group patch_api_metric_group = {
	METRIC_GROUP("patch_api_requests", patch_api_metrics, patch_api_fields, 0)};

static const struct metric_field put_api_fields[] = {
	{METRIC_COUNT(put_api_metrics, actions_count)},
	{METRIC_COUNT(put_api_metrics, actions_fails)},
	{METRIC_COUNT(put_api_metrics, boot_source_count)},
	{METRIC_COUNT(put_api_metrics, boot_source_fails)},
	{METRIC_COUNT(put_api_metrics, drive_count)},
	{METRIC_COUNT(put_api_metrics, drive_fails)},
	{METRIC_COUNT(put_api_metrics, logger_count)},
	{METRIC_COUNT(put_api_metrics, logger_fails)},
	{METRIC_COUNT(put_api_metrics, machine_cfg_count)},
	{METRIC_COUNT(put_api_metrics, machine_cfg_fails)},
	{METRIC_COUNT(put_api_metrics, cpu_cfg_count)},
	{METRIC_COUNT(put_api_metrics, cpu_cfg_fails)},
	{METRIC_COUNT(put_api_metrics, metrics_count)},
	{METRIC_COUNT(put_api_metrics, metrics_fails)},
	{METRIC_COUNT(put_api_metrics, network_count)},
	{METRIC_COUNT(put_api_metrics, network_fails)},
	{METRIC_COUNT(put_api_metrics, mmds_count)},
	{METRIC_COUNT(put_api_metrics, mmds_fails)},
	{METRIC_COUNT(put_api_metrics, vsock_count)},
	{METRIC_COUNT(put_api_metrics, vsock_fails)},
	{METRIC_COUNT(put_api_metrics, pmem_count)},
	{METRIC_COUNT(put_api_metrics, pmem_fails)},
	{METRIC_COUNT(put_api_metrics, serial_count)},
	{METRIC_COUNT(put_api_metrics, serial_fails)},
	{METRIC_COUNT(put_api_metrics, hotplug_memory_count)},
	{METRIC_COUNT(put_api_metrics, hotplug_memory_fails)},
};

const struct metric_group put_api_metric_group = {
	METRIC_GROUP("put_api_requests", put_api_metrics, put_api_fields, 0)};

static const struct metric_field latencies_fields[] = {
	{METRIC_ROW(latencies_metrics, full_create_snapshot, METRIC_GAUGE, METRIC_US)},
	{METRIC_ROW(latencies_metrics, diff_create_snapshot, METRIC_GAUGE, METRIC_US)},
	{METRIC_ROW(latencies_metrics, load_snapshot, METRIC_GAUGE, METRIC_US)},
	{METRIC_ROW(latencies_metrics, pause_vm, METRIC_GAUGE, METRIC_US)},
	{METRIC_ROW(latencies_metrics, resume_vm, METRIC_GAUGE, METRIC_US)},
	{METRIC_ROW(latencies_metrics, vmm_full_create_snapshot, METRIC_GAUGE, METRIC_US)},
	{METRIC_ROW(latencies_metrics, vmm_diff_create_snapshot, METRIC_GAUGE, METRIC_US)},
	{METRIC_ROW(latencies_metrics, vmm_load_snapshot, METRIC_GAUGE, METRIC_US)},
	{METRIC_ROW(latencies_metrics, vmm_pause_vm, METRIC_GAUGE, METRIC_US)},
	{METRIC_ROW(latencies_metrics, vmm_resume_vm, METRIC_GAUGE, METRIC_US)},
};

const struct metric_group latencies_metric_group = {
	METRIC_GROUP("latencies_us", latencies_metrics, latencies_fields, 0)};

static const struct metric_field seccomp_fields[] = {
	{METRIC_COUNT(seccomp_metrics, num_faults)},
};

const struct metric_group seccomp_metric_group = {
	METRIC_GROUP("seccomp", seccomp_metrics, seccomp_fields, 0)};

static const struct metric_field vmm_fields[] = {
	{METRIC_COUNT(vmm_metrics, panic_count)},
};

const struct metric_group vmm_metric_group = {METRIC_GROUP("vmm", vmm_metrics, vmm_fields, 0)};

static const struct metric_field signal_fields[] = {
	{METRIC_COUNT(signal_metrics, sigbus)},	 {METRIC_COUNT(signal_metrics, sigsegv)},
	{METRIC_COUNT(signal_metrics, sigxfsz)}, {METRIC_COUNT(signal_metrics, sigxcpu)},
	{METRIC_COUNT(signal_metrics, sigpipe)}, {METRIC_COUNT(signal_metrics, sighup)},
	{METRIC_COUNT(signal_metrics, sigill)},
};

const struct metric_group signal_metric_group = {
	METRIC_GROUP("signals", signal_metrics, signal_fields, 0)};

/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics of the process itself: API requests, start, signals. Devices and vCPUs own theirs. */
#ifndef VMM_METRICS_GROUPS_H
#define VMM_METRICS_GROUPS_H

#include "vmm/base/metric.h"

/* Fields are called as in the lines [compat]; see docs/metrics.md for what each counts. */

struct api_server_metrics {
	struct metric process_startup_time_us;
	struct metric process_startup_time_cpu_us;
};

struct deprecated_api_metrics {
	struct metric deprecated_http_api_calls;
};

struct get_api_metrics {
	struct metric instance_info_count;
	struct metric machine_cfg_count;
	struct metric mmds_count;
	struct metric vmm_version_count;
	struct metric hotplug_memory_count;
};

struct patch_api_metrics {
	struct metric drive_count;
	struct metric drive_fails;
	struct metric network_count;
	struct metric network_fails;
	struct metric machine_cfg_count;
	struct metric machine_cfg_fails;
	struct metric mmds_count;
	struct metric mmds_fails;
	struct metric hotplug_memory_count;
	struct metric hotplug_memory_fails;
	struct metric pmem_count;
	struct metric pmem_fails;
};

struct put_api_metrics {
	struct metric actions_count;
	struct metric actions_fails;
	struct metric boot_source_count;
	struct metric boot_source_fails;
	struct metric drive_count;
	struct metric drive_fails;
	struct metric logger_count;
	struct metric logger_fails;
	struct metric machine_cfg_count;
	struct metric machine_cfg_fails;
	struct metric cpu_cfg_count;
	struct metric cpu_cfg_fails;
	struct metric metrics_count;
	struct metric metrics_fails;
	struct metric network_count;
	struct metric network_fails;
	struct metric mmds_count;
	struct metric mmds_fails;
	struct metric vsock_count;
	struct metric vsock_fails;
	struct metric pmem_count;
	struct metric pmem_fails;
	struct metric serial_count;
	struct metric serial_fails;
	struct metric hotplug_memory_count;
	struct metric hotplug_memory_fails;
};

/* Gauges in microseconds: of the request as the API thread sees it, of the work as the VMM does. */
struct latencies_metrics {
	struct metric full_create_snapshot;
	struct metric diff_create_snapshot;
	struct metric load_snapshot;
	struct metric pause_vm;
	struct metric resume_vm;
	struct metric vmm_full_create_snapshot;
	struct metric vmm_diff_create_snapshot;
	struct metric vmm_load_snapshot;
	struct metric vmm_pause_vm;
	struct metric vmm_resume_vm;
};

/* What the API thread counts, e.g. metric_add(&api->put.drive_count, 1). */
struct api_metrics {
	struct deprecated_api_metrics deprecated;
	struct get_api_metrics get;
	struct patch_api_metrics patch;
	struct put_api_metrics put;
	struct latencies_metrics latencies; /* those without vmm_ */
};

struct seccomp_metrics {
	struct metric num_faults;
};

struct vmm_metrics {
	struct metric panic_count;
};

struct signal_metrics {
	struct metric sigbus;
	struct metric sigsegv;
	struct metric sigxfsz;
	struct metric sigxcpu;
	struct metric sigpipe;
	struct metric sighup;
	struct metric sigill;
};

extern const struct metric_group api_server_metric_group;
extern const struct metric_group deprecated_api_metric_group;
extern const struct metric_group get_api_metric_group;
extern const struct metric_group patch_api_metric_group;
extern const struct metric_group put_api_metric_group;
extern const struct metric_group latencies_metric_group;
extern const struct metric_group seccomp_metric_group;
extern const struct metric_group vmm_metric_group;
extern const struct metric_group signal_metric_group;

#endif

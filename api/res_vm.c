/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of /vm and /vm/config. */
#include "api/res_vm.h"

#include <stddef.h>

#include "vmm/metrics_groups.h"

#include "api/res_boot_source.h"
#include "api/res_machine_config.h"

enum vm_order {
	PAUSED,
	RESUMED
};

struct body {
	enum vm_order state;
};

static const char *const state_names[] = {"Paused", "Resumed", NULL};

static const struct schema_field fields[] = {
	SCHEMA_ENUM_FIELD(struct body, state, SCHEMA_REQUIRED, state_names),
};

const struct schema res_vm_schema = SCHEMA("Vm", struct body, fields);

int res_vm_patch(struct resource_call *call, struct error *err)
{
	struct body body = {0};
	uint64_t present;

	if (schema_decode(&res_vm_schema, call->json, &body, &present, err) < 0) {
		return -1;
	}

	struct action action = {.kind = body.state == PAUSED ? ACTION_PAUSE : ACTION_RESUME};

	call->timed = body.state == PAUSED ? "pause vm" : "resume vm";
	call->timed_metric = body.state == PAUSED
				     ? offsetof(struct api_metrics, latencies.pause_vm)
				     : offsetof(struct api_metrics, latencies.resume_vm);
	return resource_execute(call, &action, err);
}

int res_vm_config_get(struct resource_call *call, struct error *err)
{
	struct action get = {.kind = ACTION_GET};

	if (resource_execute(call, &get, err) < 0) {
		return -1;
	}

	json_t *boot_source =
		schema_encode(&res_boot_source_schema, &get.config->boot_source, SCHEMA_ALL);
	json_t *machine = res_machine_config_encode(&get.config->machine);

	/* The order of the keys is Firecracker's [compat]. */
	return resource_reply(call,
			      json_pack("{s:n, s:[], s:o, s:n, s:n, s:o, s:n, s:n, s:[], s:n, s:n, "
					"s:[], s:n}",
					"balloon", "drives", "boot-source", boot_source,
					"cpu-config", "logger", "machine-config", machine,
					"metrics", "mmds-config", "network-interfaces", "vsock",
					"entropy", "pmem", "memory-hotplug"),
			      err);
}

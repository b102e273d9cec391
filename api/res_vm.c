/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of /vm and /vm/config. */
#include "api/res_vm.h"

#include <stddef.h>

#include "vmm/metrics_groups.h"

#include "api/res_balloon.h"
#include "api/res_boot_source.h"
#include "api/res_drives.h"
#include "api/res_entropy.h"
#include "api/res_machine_config.h"
#include "api/res_network_interfaces.h"
#include "api/res_vsock.h"

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

static json_t *encode_drives(const struct vm_config *config)
{
	json_t *list = json_array();

	for (size_t i = 0; i < config->drive_count; i++) {
		if (json_array_append_new(list, res_drives_encode(&config->drives[i].config)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *encode_nets(const struct vm_config *config)
{
	json_t *list = json_array();

	for (size_t i = 0; i < config->net_count; i++) {
		json_t *net = schema_encode(&res_network_interfaces_schema, &config->nets[i].config,
					    SCHEMA_ALL);

		if (json_array_append_new(list, net) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

/* The object of a device, or null. */
static json_t *encode_device(bool has_device, const struct schema *schema, const void *device)
{
	return has_device ? schema_encode(schema, device, SCHEMA_ALL) : json_null();
}

int res_vm_config_get(struct resource_call *call, struct error *err)
{
	struct action get = {.kind = ACTION_GET};

	if (resource_execute(call, &get, err) < 0) {
		return -1;
	}

	const struct vm_config *config = get.config;
	json_t *balloon = encode_device(config->has_balloon, &res_balloon_schema, &config->balloon);
	json_t *boot_source =
		schema_encode(&res_boot_source_schema, &config->boot_source, SCHEMA_ALL);
	json_t *vsock = config->vsock.config.uds_path != NULL
				? res_vsock_encode(&config->vsock.config)
				: json_null();
	json_t *entropy = encode_device(config->has_entropy, &res_entropy_schema, &config->entropy);

	/* The order of the keys is Firecracker's [compat]. */
	return resource_reply(
		call,
		json_pack("{s:o, s:o, s:o, s:n, s:n, s:o, s:n, s:n, s:o, s:o, s:o, "
			  "s:[], s:n}",
			  "balloon", balloon, "drives", encode_drives(config), "boot-source",
			  boot_source, "cpu-config", "logger", "machine-config",
			  res_machine_config_encode(&config->machine), "metrics", "mmds-config",
			  "network-interfaces", encode_nets(config), "vsock", vsock, "entropy",
			  entropy, "pmem", "memory-hotplug"),
		err);
}

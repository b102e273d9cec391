/* SPDX-License-Identifier: Apache-2.0 */
/* What / and /version answer. */
#include "api/res_instance.h"

#include "vmm/version.h"

struct info {
	const char *id;
	enum vm_state state;
	const char *vmm_version;
	const char *app_name;
};

/* In the order of enum vm_state. */
static const char *const state_names[] = {"Not started", "Running", "Paused", NULL};

static const struct schema_field info_fields[] = {
	SCHEMA_FIELD(struct info, id, SCHEMA_REQUIRED),
	SCHEMA_ENUM_FIELD(struct info, state, SCHEMA_REQUIRED, state_names),
	SCHEMA_FIELD(struct info, vmm_version, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct info, app_name, SCHEMA_REQUIRED),
};

const struct schema res_instance_schema = SCHEMA("InstanceInfo", struct info, info_fields);

struct version {
	const char *firecracker_version;
};

static const struct schema_field version_fields[] = {
	SCHEMA_FIELD(struct version, firecracker_version, SCHEMA_REQUIRED),
};

const struct schema res_version_schema =
	SCHEMA("FirecrackerVersion", struct version, version_fields);

int res_instance_get(struct resource_call *call, struct error *err)
{
	struct action get = {.kind = ACTION_GET};

	if (resource_execute(call, &get, err) < 0) {
		return -1;
	}

	/* [compat] Clients tell by the name whom they talk to. */
	struct info info = {get.id, get.state, SQUIB_VERSION, "Firecracker"};

	return resource_reply(call, schema_encode(&res_instance_schema, &info, SCHEMA_ALL), err);
}

int res_version_get(struct resource_call *call, struct error *err)
{
	struct version version = {SQUIB_VERSION};

	return resource_reply(call, schema_encode(&res_version_schema, &version, SCHEMA_ALL), err);
}

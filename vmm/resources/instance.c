/* SPDX-License-Identifier: Apache-2.0 */
/* / and /version: which process this is. */
#include "vmm/resources/resource.h"
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

static const struct schema info_schema = SCHEMA("InstanceInfo", struct info, info_fields);

static int get(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct controller *controller = &microvm->controller;
	/* [compat] Clients tell by the name whom they talk to. */
	const struct info info = {controller->id, controller->state, SQUIB_VERSION, "Firecracker"};

	return request_reply(request, schema_encode(&info_schema, &info, SCHEMA_ALL), err);
}

const struct resource instance_resource = {
	.path = {""},
	.answer = &info_schema,
	.methods[HTTP_GET] = {.states = ALWAYS, .run = get, GETS(instance_info)},
};

/* --- Version --- */

struct version {
	const char *firecracker_version;
};

static const struct schema_field version_fields[] = {
	SCHEMA_FIELD(struct version, firecracker_version, SCHEMA_REQUIRED),
};

static const struct schema version_schema =
	SCHEMA("FirecrackerVersion", struct version, version_fields);

/* Answered on the thread that asks, without the VMM thread. */
static int get_version(struct request *request, struct error *err)
{
	const struct version version = {SQUIB_VERSION};

	return request_reply(request, schema_encode(&version_schema, &version, SCHEMA_ALL), err);
}

const struct resource version_resource = {
	.path = {"version"},
	.answer = &version_schema,
	.methods[HTTP_GET] = {.states = ALWAYS, .check = get_version, GETS(vmm_version)},
};

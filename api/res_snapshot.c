/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of /snapshot/create and /snapshot/load. */
#include "api/res_snapshot.h"

#include <string.h>

#include "vmm/base/bytes.h"

enum snapshot_type {
	SNAPSHOT_DIFF,
	SNAPSHOT_FULL
};

struct create_body {
	enum snapshot_type snapshot_type; /* SNAPSHOT_FULL where absent */
	char *snapshot_path;
	char *mem_file_path;
};

enum backend_type {
	BACKEND_FILE,
	BACKEND_UFFD
};

struct backend_body {
	char *backend_path;
	enum backend_type backend_type;
};

struct network_body {
	char *iface_id;
	char *host_dev_name;
};

struct vsock_body {
	char *uds_path;
};

/* Those of the machine, or as in the snapshot. */
enum load_pages {
	LOAD_PAGES_SNAPSHOT,
	LOAD_PAGES_NONE,
	LOAD_PAGES_TRANSPARENT,
	LOAD_PAGES_2M
};

struct load_body {
	char *snapshot_path;
	struct backend_body mem_backend;
	bool has_mem_backend;
	char *mem_file_path;
	bool track_dirty_pages;
	bool enable_diff_snapshots;
	bool resume_vm;
	struct schema_list network_overrides;
	struct vsock_body vsock_override;
	bool has_vsock_override;
	bool clock_realtime;
	enum load_pages huge_pages;
};

static const char lacking[] = "snapshots";
static const char *const snapshot_type_names[] = {"Diff", "Full", NULL};
static const char *const backend_type_names[] = {"File", "Uffd", NULL};
static const char *const load_pages_names[] = {"Snapshot", "None", "Transparent", "2M", NULL};

static const struct schema_field create_fields[] = {
	SCHEMA_ENUM_FIELD(struct create_body, snapshot_type, SCHEMA_DEFAULTED, snapshot_type_names),
	SCHEMA_FIELD(struct create_body, snapshot_path, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct create_body, mem_file_path, SCHEMA_REQUIRED),
};

const struct schema res_snapshot_create_schema =
	SCHEMA("CreateSnapshotParams", struct create_body, create_fields);

static const struct schema_field backend_fields[] = {
	SCHEMA_FIELD(struct backend_body, backend_path, SCHEMA_REQUIRED),
	SCHEMA_ENUM_FIELD(struct backend_body, backend_type, SCHEMA_REQUIRED, backend_type_names),
};

const struct schema res_snapshot_backend_schema =
	SCHEMA("MemBackendConfig", struct backend_body, backend_fields);

static const struct schema_field network_fields[] = {
	SCHEMA_FIELD(struct network_body, iface_id, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct network_body, host_dev_name, SCHEMA_REQUIRED),
};

const struct schema res_snapshot_network_schema = {
	.name = "NetworkOverride",
	.fields = network_fields,
	.count = ARRAY_COUNT(network_fields),
	.size = sizeof(struct network_body),
	.is_open = true,
};

static const struct schema_field vsock_fields[] = {
	SCHEMA_FIELD(struct vsock_body, uds_path, SCHEMA_REQUIRED),
};

const struct schema res_snapshot_vsock_schema = {
	.name = "VsockOverride",
	.fields = vsock_fields,
	.count = ARRAY_COUNT(vsock_fields),
	.size = sizeof(struct vsock_body),
	.is_open = true,
};

static const struct schema_field load_fields[] = {
	SCHEMA_FIELD(struct load_body, snapshot_path, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct load_body, mem_file_path, SCHEMA_OPTIONAL),
	SCHEMA_OBJECT_FIELD(struct load_body, mem_backend, SCHEMA_OPTIONAL,
			    &res_snapshot_backend_schema),
	SCHEMA_FIELD(struct load_body, enable_diff_snapshots, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct load_body, track_dirty_pages, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct load_body, resume_vm, SCHEMA_DEFAULTED),
	SCHEMA_LIST_FIELD(struct load_body, network_overrides, SCHEMA_DEFAULTED,
			  &res_snapshot_network_schema),
	SCHEMA_OBJECT_FIELD(struct load_body, vsock_override, SCHEMA_OPTIONAL,
			    &res_snapshot_vsock_schema),
	SCHEMA_FIELD(struct load_body, clock_realtime, SCHEMA_DEFAULTED),
	SCHEMA_ENUM_FIELD(struct load_body, huge_pages, SCHEMA_DEFAULTED, load_pages_names),
};

const struct schema res_snapshot_load_schema =
	SCHEMA("LoadSnapshotConfig", struct load_body, load_fields);

int res_snapshot_create_put(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_snapshot_create_schema, NULL, lacking, err);
}

/* What no table can say: one of two fields, and one field of one architecture. */
static int check_load(struct resource_call *call, const struct load_body *body, struct error *err)
{
	if (body->has_mem_backend == (body->mem_file_path != NULL)) {
		error_set(err, ERR_BAD_REQUEST,
			  body->has_mem_backend
				  ? "too many fields: either `mem_backend` or `mem_file_path` "
				    "exclusively is required"
				  : "missing field: either `mem_backend` or `mem_file_path` is "
				    "required");
		return json_fault(err, call->json->doc);
	}
	if (body->clock_realtime && strcmp(call->arch, "aarch64") == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "clock_realtime is not supported on aarch64.");
	}
	if (body->mem_file_path != NULL || body->enable_diff_snapshots) {
		call->deprecation = "PUT /snapshot/load: mem_file_path and enable_diff_snapshots "
				    "fields are deprecated.";
	}
	return 0;
}

int res_snapshot_load_put(struct resource_call *call, struct error *err)
{
	struct load_body body = {0};
	uint64_t present;
	int result = schema_decode(&res_snapshot_load_schema, call->json, &body, &present, err);

	if (result == 0) {
		result = check_load(call, &body, err);
	}
	schema_free(&res_snapshot_load_schema, &body);
	return result < 0 ? -1 : resource_lacks(lacking, err);
}

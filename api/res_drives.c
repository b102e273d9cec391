/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of /drives/{id}. */
#include "api/res_drives.h"

#include "api/rate_limiter.h"

enum cache_type {
	CACHE_UNSAFE,
	CACHE_WRITEBACK
};

enum io_engine {
	IO_ENGINE_SYNC,
	IO_ENGINE_ASYNC
};

struct body {
	char *drive_id;
	char *partuuid;
	bool is_root_device;
	enum cache_type cache_type;
	bool is_read_only;
	char *path_on_host;
	struct limiter_config rate_limiter;
	bool has_rate_limiter;
	enum io_engine io_engine;
	char *socket;
};

struct patch_body {
	char *drive_id;
	char *path_on_host;
	struct limiter_config rate_limiter;
	bool has_rate_limiter;
};

static const char lacking[] = "virtio block devices";
static const char *const cache_type_names[] = {"Unsafe", "Writeback", NULL};
static const char *const io_engine_names[] = {"Sync", "Async", NULL};

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct body, drive_id, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct body, partuuid, SCHEMA_OPTIONAL),
	SCHEMA_FIELD(struct body, is_root_device, SCHEMA_REQUIRED),
	SCHEMA_ENUM_FIELD(struct body, cache_type, SCHEMA_DEFAULTED, cache_type_names),
	SCHEMA_FIELD(struct body, is_read_only, SCHEMA_OPTIONAL),
	SCHEMA_FIELD(struct body, path_on_host, SCHEMA_OPTIONAL),
	SCHEMA_OBJECT_FIELD(struct body, rate_limiter, SCHEMA_OPTIONAL, &rate_limiter_schema),
	SCHEMA_ENUM_FIELD(struct body, io_engine, SCHEMA_OPTIONAL, io_engine_names),
	SCHEMA_FIELD(struct body, socket, SCHEMA_OPTIONAL),
};

const struct schema res_drives_schema = SCHEMA("BlockDeviceConfig", struct body, fields);

static const struct schema_field patch_fields[] = {
	SCHEMA_FIELD(struct patch_body, drive_id, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct patch_body, path_on_host, SCHEMA_OPTIONAL),
	SCHEMA_OBJECT_FIELD(struct patch_body, rate_limiter, SCHEMA_OPTIONAL, &rate_limiter_schema),
};

const struct schema res_drives_patch_schema =
	SCHEMA("BlockDeviceUpdateConfig", struct patch_body, patch_fields);

int res_drives_put(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_drives_schema, resource_check_id, lacking, err);
}

int res_drives_patch(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_drives_patch_schema, resource_check_id, lacking, err);
}

int res_drives_delete(struct resource_call *call, struct error *err)
{
	(void)call;
	return resource_lacks(lacking, err);
}

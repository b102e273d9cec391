/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of /drives/{id}. */
#include "api/res_drives.h"

#include "api/rate_limiter.h"

/* In the order of enum blk_cache_type and enum blk_io_engine. */
static const char *const cache_type_names[] = {"Unsafe", "Writeback", NULL};
static const char *const io_engine_names[] = {"Sync", "Async", NULL};

enum field {
	FIELD_DRIVE_ID,
	FIELD_PARTUUID,
	FIELD_IS_ROOT_DEVICE,
	FIELD_CACHE_TYPE,
	FIELD_IS_READ_ONLY,
	FIELD_PATH_ON_HOST,
	FIELD_RATE_LIMITER,
	FIELD_IO_ENGINE,
	FIELD_SOCKET,
	FIELD_NUM_QUEUES,
	FIELD_COUNT
};

static const struct schema_field fields[FIELD_COUNT] = {
	[FIELD_DRIVE_ID] = SCHEMA_FIELD(struct blk_config, drive_id, SCHEMA_REQUIRED),
	[FIELD_PARTUUID] = SCHEMA_FIELD(struct blk_config, partuuid, SCHEMA_OPTIONAL),
	[FIELD_IS_ROOT_DEVICE] = SCHEMA_FIELD(struct blk_config, is_root_device, SCHEMA_REQUIRED),
	[FIELD_CACHE_TYPE] = SCHEMA_ENUM_FIELD(struct blk_config, cache_type, SCHEMA_DEFAULTED,
					       cache_type_names),
	[FIELD_IS_READ_ONLY] = SCHEMA_FIELD(struct blk_config, is_read_only, SCHEMA_OPTIONAL),
	[FIELD_PATH_ON_HOST] = SCHEMA_FIELD(struct blk_config, path_on_host, SCHEMA_OPTIONAL),
	[FIELD_RATE_LIMITER] = SCHEMA_OBJECT_FIELD(struct blk_config, rate_limiter, SCHEMA_OPTIONAL,
						   &rate_limiter_schema),
	[FIELD_IO_ENGINE] =
		SCHEMA_ENUM_FIELD(struct blk_config, io_engine, SCHEMA_OPTIONAL, io_engine_names),
	[FIELD_SOCKET] = SCHEMA_FIELD(struct blk_config, socket, SCHEMA_OPTIONAL),
	[FIELD_NUM_QUEUES] = SCHEMA_FIELD(struct blk_config, num_queues, SCHEMA_OPTIONAL),
};

const struct schema res_drives_schema = SCHEMA("BlockDeviceConfig", struct blk_config, fields);

static const struct schema_field patch_fields[] = {
	SCHEMA_FIELD(struct drive_update, drive_id, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct drive_update, path_on_host, SCHEMA_OPTIONAL),
	SCHEMA_OBJECT_FIELD(struct drive_update, rate_limiter, SCHEMA_OPTIONAL,
			    &rate_limiter_schema),
};

const struct schema res_drives_patch_schema =
	SCHEMA("BlockDeviceUpdateConfig", struct drive_update, patch_fields);

int res_drives_put(struct resource_call *call, struct error *err)
{
	struct action action = {.kind = ACTION_PUT_DRIVE};
	uint64_t present;

	if (schema_decode(&res_drives_schema, call->json, &action.drive, &present, err) < 0 ||
	    resource_check_id(call, &action.drive, err) < 0 ||
	    resource_execute(call, &action, err) < 0) {
		schema_free(&res_drives_schema, &action.drive);
		return -1;
	}
	return 0;
}

int res_drives_patch(struct resource_call *call, struct error *err)
{
	struct action action = {.kind = ACTION_PATCH_DRIVE};
	uint64_t present;
	int result = schema_decode(&res_drives_patch_schema, call->json, &action.drive_update,
				   &present, err);

	if (result == 0) {
		result = resource_check_id(call, &action.drive_update, err);
	}
	if (result == 0) {
		result = resource_execute(call, &action, err);
	}
	schema_free(&res_drives_patch_schema, &action.drive_update);
	return result;
}

json_t *res_drives_encode(const struct blk_config *drive)
{
	/* What Firecracker does not know is shown only where it was given [compat]. */
	uint64_t hidden = drive->num_queues == 0 ? UINT64_C(1) << FIELD_NUM_QUEUES : 0;

	return schema_encode(&res_drives_schema, drive, SCHEMA_ALL & ~hidden);
}

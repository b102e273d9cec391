/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of /hotplug/memory. */
#include "api/res_hotplug.h"

struct body {
	uint32_t total_size_mib;
	uint32_t block_size_mib;
	uint32_t slot_size_mib;
};

struct patch_body {
	uint32_t requested_size_mib;
};

static const char lacking[] = "a virtio memory device";

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct body, total_size_mib, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct body, block_size_mib, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct body, slot_size_mib, SCHEMA_DEFAULTED),
};

const struct schema res_hotplug_schema = SCHEMA("MemoryHotplugConfig", struct body, fields);

static const struct schema_field patch_fields[] = {
	SCHEMA_FIELD(struct patch_body, requested_size_mib, SCHEMA_REQUIRED),
};

const struct schema res_hotplug_patch_schema =
	SCHEMA("MemoryHotplugSizeUpdate", struct patch_body, patch_fields);

int res_hotplug_get(struct resource_call *call, struct error *err)
{
	(void)call;
	return resource_lacks(lacking, err);
}

int res_hotplug_put(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_hotplug_schema, NULL, lacking, err);
}

int res_hotplug_patch(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_hotplug_patch_schema, NULL, lacking, err);
}

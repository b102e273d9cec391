/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of /pmem/{id}. */
#include "api/res_pmem.h"

#include "api/rate_limiter.h"

struct body {
	char *id;
	char *path_on_host;
	bool root_device;
	bool read_only;
	struct limiter_config rate_limiter;
	bool has_rate_limiter;
};

struct patch_body {
	char *id;
	struct limiter_config rate_limiter;
	bool has_rate_limiter;
};

static const char lacking[] = "virtio pmem devices";

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct body, id, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct body, path_on_host, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct body, root_device, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct body, read_only, SCHEMA_DEFAULTED),
	SCHEMA_OBJECT_FIELD(struct body, rate_limiter, SCHEMA_OPTIONAL, &rate_limiter_schema),
};

const struct schema res_pmem_schema = SCHEMA("PmemConfig", struct body, fields);

static const struct schema_field patch_fields[] = {
	SCHEMA_FIELD(struct patch_body, id, SCHEMA_REQUIRED),
	SCHEMA_OBJECT_FIELD(struct patch_body, rate_limiter, SCHEMA_OPTIONAL, &rate_limiter_schema),
};

const struct schema res_pmem_patch_schema =
	SCHEMA("PmemDeviceUpdateConfig", struct patch_body, patch_fields);

int res_pmem_put(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_pmem_schema, resource_check_id, lacking, err);
}

int res_pmem_patch(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_pmem_patch_schema, resource_check_id, lacking, err);
}

int res_pmem_delete(struct resource_call *call, struct error *err)
{
	(void)call;
	return resource_lacks(lacking, err);
}

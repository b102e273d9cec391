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

/* The machine refuses it: for another reason once it runs [compat]. */
int res_pmem_put(struct resource_call *call, struct error *err)
{
	struct action action = {.kind = ACTION_PUT_PMEM};
	struct body body = {0};
	uint64_t present;
	int result = schema_decode(&res_pmem_schema, call->json, &body, &present, err);

	if (result == 0) {
		result = resource_check_id(call, &body, err);
	}
	schema_free(&res_pmem_schema, &body);
	return result < 0 ? -1 : resource_execute(call, &action, err);
}

int res_pmem_patch(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_pmem_patch_schema, resource_check_id, lacking, err);
}

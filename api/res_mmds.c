/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of /mmds and /mmds/config. */
#include "api/res_mmds.h"

enum mmds_version {
	MMDS_V1,
	MMDS_V2
};

struct body {
	enum mmds_version version;
	struct schema_list network_interfaces;
	char *ipv4_address;
	bool imds_compat;
};

static const char lacking[] = "a metadata service";
static const char *const version_names[] = {"V1", "V2", NULL};

static const struct schema_field fields[] = {
	SCHEMA_ENUM_FIELD(struct body, version, SCHEMA_DEFAULTED, version_names),
	SCHEMA_LIST_FIELD(struct body, network_interfaces, SCHEMA_REQUIRED, NULL),
	SCHEMA_FIELD(struct body, ipv4_address, SCHEMA_OPTIONAL),
	SCHEMA_FIELD(struct body, imds_compat, SCHEMA_DEFAULTED),
};

const struct schema res_mmds_config_schema = SCHEMA("MmdsConfig", struct body, fields);

int res_mmds_config_put(struct resource_call *call, struct error *err)
{
	struct body body = {.version = MMDS_V1};
	uint64_t present;
	int result = schema_decode(&res_mmds_config_schema, call->json, &body, &present, err);

	schema_free(&res_mmds_config_schema, &body);
	if (result < 0) {
		return -1;
	}
	if (body.version == MMDS_V1) {
		call->deprecation = "PUT /mmds/config: V1 is deprecated. Use V2 instead.";
	}
	return resource_lacks(lacking, err);
}

int res_mmds_get(struct resource_call *call, struct error *err)
{
	(void)call;
	return resource_lacks(lacking, err);
}

int res_mmds_put(struct resource_call *call, struct error *err)
{
	(void)call;
	return resource_lacks(lacking, err);
}

int res_mmds_patch(struct resource_call *call, struct error *err)
{
	(void)call;
	return resource_lacks(lacking, err);
}

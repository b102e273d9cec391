/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of /balloon and what is below it. */
#include "api/res_balloon.h"

#include "vmm/base/bytes.h"

struct body {
	uint32_t amount_mib;
	bool deflate_on_oom;
	uint16_t stats_polling_interval_s;
	bool free_page_hinting;
	bool free_page_reporting;
};

struct patch_body {
	uint32_t amount_mib;
};

struct statistics_patch_body {
	uint16_t stats_polling_interval_s;
};

struct hinting_start_body {
	bool acknowledge_on_stop;
};

static const char lacking[] = "a virtio balloon device";

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct body, amount_mib, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct body, deflate_on_oom, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct body, stats_polling_interval_s, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct body, free_page_hinting, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct body, free_page_reporting, SCHEMA_DEFAULTED),
};

const struct schema res_balloon_schema = SCHEMA("BalloonDeviceConfig", struct body, fields);

static const struct schema_field patch_fields[] = {
	SCHEMA_FIELD(struct patch_body, amount_mib, SCHEMA_REQUIRED),
};

const struct schema res_balloon_patch_schema =
	SCHEMA("BalloonUpdateConfig", struct patch_body, patch_fields);

static const struct schema_field statistics_patch_fields[] = {
	SCHEMA_FIELD(struct statistics_patch_body, stats_polling_interval_s, SCHEMA_REQUIRED),
};

const struct schema res_balloon_statistics_patch_schema =
	SCHEMA("BalloonUpdateStatsConfig", struct statistics_patch_body, statistics_patch_fields);

static const struct schema_field hinting_start_fields[] = {
	SCHEMA_FIELD(struct hinting_start_body, acknowledge_on_stop, SCHEMA_DEFAULTED),
};

const struct schema res_balloon_hinting_start_schema = {
	.name = "StartHintingCmd",
	.fields = hinting_start_fields,
	.count = ARRAY_COUNT(hinting_start_fields),
	.size = sizeof(struct hinting_start_body),
	.is_open = true,
};

int res_balloon_get(struct resource_call *call, struct error *err)
{
	(void)call;
	return resource_lacks(lacking, err);
}

int res_balloon_put(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_balloon_schema, NULL, lacking, err);
}

int res_balloon_patch(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_balloon_patch_schema, NULL, lacking, err);
}

int res_balloon_statistics_patch(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_balloon_statistics_patch_schema, NULL, lacking, err);
}

int res_balloon_hinting_start(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_balloon_hinting_start_schema, NULL, lacking, err);
}

int res_balloon_hinting_stop(struct resource_call *call, struct error *err)
{
	(void)call;
	return resource_lacks(lacking, err);
}

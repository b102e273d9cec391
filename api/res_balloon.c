/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of /balloon and what is below it. */
#include "api/res_balloon.h"

#include "vmm/base/bytes.h"

struct patch_body {
	uint32_t amount_mib;
};

struct statistics_patch_body {
	uint16_t stats_polling_interval_s;
};

struct hinting_start_body {
	bool acknowledge_on_stop;
};

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct balloon_config, amount_mib, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct balloon_config, deflate_on_oom, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct balloon_config, stats_polling_interval_s, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct balloon_config, free_page_hinting, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct balloon_config, free_page_reporting, SCHEMA_DEFAULTED),
};

const struct schema res_balloon_schema =
	SCHEMA("BalloonDeviceConfig", struct balloon_config, fields);

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
	struct action action = {.kind = ACTION_GET_BALLOON};

	if (resource_execute(call, &action, err) < 0) {
		return -1;
	}
	return resource_reply(
		call, schema_encode(&res_balloon_schema, &action.config->balloon, SCHEMA_ALL), err);
}

int res_balloon_put(struct resource_call *call, struct error *err)
{
	struct action action = {.kind = ACTION_PUT_BALLOON};
	uint64_t present;

	if (schema_decode(&res_balloon_schema, call->json, &action.balloon, &present, err) < 0) {
		return -1;
	}
	return resource_execute(call, &action, err);
}

int res_balloon_patch(struct resource_call *call, struct error *err)
{
	struct patch_body body = {0};
	uint64_t present;

	if (schema_decode(&res_balloon_patch_schema, call->json, &body, &present, err) < 0) {
		return -1;
	}

	struct action action = {.kind = ACTION_PATCH_BALLOON, .amount_mib = body.amount_mib};

	return resource_execute(call, &action, err);
}

/* --- Statistics --- */

/* By tag [linux include/uapi/linux/virtio_balloon.h]. */
static const char *const stat_names[BALLOON_STATS_TAGS] = {
	"swap_in",	    "swap_out",	   "major_faults",
	"minor_faults",	    "free_memory", "total_memory",
	"available_memory", "disk_caches", "hugetlb_allocations",
	"hugetlb_failures", "oom_kill",	   "alloc_stall",
	"async_scan",	    "direct_scan", "async_reclaim",
	"direct_reclaim",
};

/* What the guest has not reported is not there. */
static json_t *encode_stats(const struct balloon_stats *stats)
{
	json_t *object = json_pack(
		"{s:I, s:I, s:I, s:I}", "target_pages", (json_int_t)stats->target_pages,
		"actual_pages", (json_int_t)stats->actual_pages, "target_mib",
		(json_int_t)stats->target_mib, "actual_mib", (json_int_t)stats->actual_mib);

	for (size_t i = 0; i < BALLOON_STATS_TAGS && object != NULL; i++) {
		/* The guest's numbers may be larger than the library's. */
		json_int_t value = (json_int_t)min_u64(stats->values[i], INT64_MAX);

		if ((stats->present & 1u << i) != 0 &&
		    json_object_set_new(object, stat_names[i], json_integer(value)) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

int res_balloon_statistics_get(struct resource_call *call, struct error *err)
{
	struct action action = {.kind = ACTION_GET_BALLOON_STATS};

	if (resource_execute(call, &action, err) < 0) {
		return -1;
	}
	return resource_reply(call, encode_stats(&action.stats), err);
}

int res_balloon_statistics_patch(struct resource_call *call, struct error *err)
{
	struct statistics_patch_body body = {0};
	uint64_t present;

	if (schema_decode(&res_balloon_statistics_patch_schema, call->json, &body, &present, err) <
	    0) {
		return -1;
	}

	struct action action = {
		.kind = ACTION_PATCH_BALLOON_STATS,
		.stats_polling_interval_s = body.stats_polling_interval_s,
	};

	return resource_execute(call, &action, err);
}

/* --- Hinting --- */

int res_balloon_hinting_start(struct resource_call *call, struct error *err)
{
	struct hinting_start_body body = {.acknowledge_on_stop = true};
	uint64_t present;

	if (call->json != NULL && schema_decode(&res_balloon_hinting_start_schema, call->json,
						&body, &present, err) < 0) {
		return -1;
	}

	struct action action = {
		.kind = ACTION_START_HINTING,
		.acknowledge_on_stop = body.acknowledge_on_stop,
	};

	return resource_execute(call, &action, err);
}

int res_balloon_hinting_status_get(struct resource_call *call, struct error *err)
{
	struct action action = {.kind = ACTION_GET_HINTING};
	const struct balloon_hinting *hinting = &action.hinting;

	if (resource_execute(call, &action, err) < 0) {
		return -1;
	}
	return resource_reply(
		call,
		json_pack("{s:I, s:o}", "host_cmd", (json_int_t)hinting->host_cmd, "guest_cmd",
			  hinting->has_guest_cmd ? json_integer(hinting->guest_cmd) : json_null()),
		err);
}

int res_balloon_hinting_stop(struct resource_call *call, struct error *err)
{
	struct action action = {.kind = ACTION_STOP_HINTING};

	return resource_execute(call, &action, err);
}

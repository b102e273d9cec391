/* SPDX-License-Identifier: Apache-2.0 */
/* /balloon and what is below it: the memory balloon, its statistics, hinting. */
#include "vmm/base/bytes.h"
#include "vmm/resources/resource.h"

/* --- Bodies --- */

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct balloon_config, amount_mib, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct balloon_config, deflate_on_oom, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct balloon_config, stats_polling_interval_s, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct balloon_config, free_page_hinting, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct balloon_config, free_page_reporting, SCHEMA_DEFAULTED),
};

static const struct schema schema = SCHEMA("BalloonDeviceConfig", struct balloon_config, fields);

struct update {
	uint32_t amount_mib;
};

static const struct schema_field update_fields[] = {
	SCHEMA_FIELD(struct update, amount_mib, SCHEMA_REQUIRED),
};

static const struct schema update_schema =
	SCHEMA("BalloonUpdateConfig", struct update, update_fields);

struct stats_update {
	uint16_t stats_polling_interval_s;
};

static const struct schema_field stats_update_fields[] = {
	SCHEMA_FIELD(struct stats_update, stats_polling_interval_s, SCHEMA_REQUIRED),
};

static const struct schema stats_update_schema =
	SCHEMA("BalloonUpdateStatsConfig", struct stats_update, stats_update_fields);

struct hinting_start {
	bool acknowledge_on_stop;
};

static const struct hinting_start hinting_start_defaults = {.acknowledge_on_stop = true};

static const struct schema_field hinting_start_fields[] = {
	SCHEMA_FIELD(struct hinting_start, acknowledge_on_stop, SCHEMA_DEFAULTED),
};

static const struct schema hinting_start_schema = {
	.name = "StartHintingCmd",
	.fields = hinting_start_fields,
	.count = ARRAY_COUNT(hinting_start_fields),
	.size = sizeof(struct hinting_start),
	.is_open = true,
};

/* --- The configuration --- */

static void clear(struct vm_config *config)
{
	config->has_balloon = false;
}

static json_t *show(const struct vm_config *config)
{
	return resource_show(config->has_balloon, &schema, &config->balloon);
}

static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	struct vm_config *config = &microvm->config;
	const struct balloon_config *balloon = request->body;

	if (balloon->amount_mib > config->machine.mem_size_mib) {
		return error_set(err, ERR_BAD_REQUEST, "Amount of pages requested is too large.");
	}
	config->balloon = *balloon;
	config->has_balloon = true;
	return 0;
}

static int get(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct vm_config *config = &microvm->config;

	if (config->has_balloon) {
		return request_reply(request, show(config), err);
	}
	if (microvm->controller.state == VM_NOT_STARTED) {
		return error_set(err, ERR_BAD_STATE,
				 "Balloon config error: No balloon device found.");
	}
	return error_set(err, ERR_BAD_STATE, "Internal VMM error: %s", resource_not_found);
}

/* --- The machine's device --- */

static int attach(struct microvm *microvm, const struct attachment *at, struct error *err)
{
	struct vm_config *config = &microvm->config;
	const struct dev_env env = devmgr_env(at->devmgr);

	if (!config->has_balloon) {
		return 0;
	}
	if (balloon_new(&env, &config->balloon, &config->balloon_device, err) < 0 ||
	    devmgr_attach(at, balloon_virtio(config->balloon_device), NULL, err) < 0) {
		return error_wrap(err, "Cannot attach the balloon");
	}
	return 0;
}

/* NULL, and the error, if the machine has none. */
static struct balloon *device_of(const struct microvm *microvm, struct error *err)
{
	if (!microvm->config.has_balloon) {
		error_set(err, ERR_BAD_REQUEST, "%s", resource_not_found);
		return NULL;
	}
	return microvm->config.balloon_device;
}

/* Prefixes the sentence with the balloon's name. */
static int told(int result, struct error *err)
{
	return result < 0 ? error_wrap(err, "Balloon") : 0;
}

static int patch(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct update *update = request->body;
	struct balloon *balloon = device_of(microvm, err);

	if (balloon == NULL ||
	    told(balloon_set_amount(balloon, update->amount_mib, err), err) < 0) {
		return -1;
	}
	microvm->config.balloon.amount_mib = update->amount_mib;
	return 0;
}

const struct resource balloon_resource = {
	.path = {"balloon"},
	.is_for_boot = true,
	.methods =
		{
			[HTTP_GET] = {.states = ALWAYS, .run = get},
			[HTTP_PUT] = {.states = BEFORE_START,
				      .body = BODY_JSON,
				      .schema = &schema,
				      .prefix = "Balloon config error",
				      .run = put},
			[HTTP_PATCH] = {.states = AFTER_START,
					.body = BODY_JSON,
					.schema = &update_schema,
					.prefix = "Balloon update error",
					.run = patch},
		},
	.key = "balloon",
	.file_prefix = "Balloon device error",
	.need = SCHEMA_OPTIONAL,
	.turn = 9,
	.show = show,
	.metrics = &balloon_metric_group,
	.attach = attach,
	.clear = clear,
};

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

/* Values that the guest has not reported are left out. */
static json_t *encode_stats(const struct balloon_stats *stats)
{
	json_t *object = json_pack(
		"{s:I, s:I, s:I, s:I}", "target_pages", (json_int_t)stats->target_pages,
		"actual_pages", (json_int_t)stats->actual_pages, "target_mib",
		(json_int_t)stats->target_mib, "actual_mib", (json_int_t)stats->actual_mib);

	for (size_t i = 0; i < BALLOON_STATS_TAGS && object != NULL; i++) {
		if ((stats->present & 1u << i) != 0 &&
		    json_object_set_new(object, stat_names[i], json_from_u64(stats->values[i])) <
			    0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static int get_stats(struct microvm *microvm, struct request *request, struct error *err)
{
	struct balloon *balloon = device_of(microvm, err);
	struct balloon_stats stats;

	if (balloon == NULL || told(balloon_get_stats(balloon, &stats, err), err) < 0) {
		return -1;
	}
	return request_reply(request, encode_stats(&stats), err);
}

static int patch_stats(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct stats_update *update = request->body;
	uint16_t seconds = update->stats_polling_interval_s;
	struct balloon *balloon = device_of(microvm, err);

	if (balloon == NULL || told(balloon_set_stats_interval(balloon, seconds, err), err) < 0) {
		return -1;
	}
	microvm->config.balloon.stats_polling_interval_s = seconds;
	return 0;
}

const struct resource balloon_statistics_resource = {
	.path = {"balloon", "statistics"},
	.methods =
		{
			[HTTP_GET] = {.states = AFTER_START,
				      .prefix = "Internal VMM error",
				      .run = get_stats},
			[HTTP_PATCH] = {.states = AFTER_START,
					.body = BODY_JSON,
					.schema = &stats_update_schema,
					.prefix = "Balloon update error",
					.run = patch_stats},
		},
};

/* --- Hinting --- */

static int start_hinting(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct hinting_start *start = request->body;
	struct balloon *balloon = device_of(microvm, err);

	if (balloon == NULL) {
		return -1;
	}
	return told(balloon_start_hinting(balloon, start->acknowledge_on_stop, err), err);
}

const struct resource hinting_start_resource = {
	.path = {"balloon", "hinting", "start"},
	.methods[HTTP_PATCH] = {.states = AFTER_START,
				.body = BODY_MAYBE,
				.schema = &hinting_start_schema,
				.defaults = &hinting_start_defaults,
				.prefix = "Balloon update error",
				.run = start_hinting},
};

static int get_hinting(struct microvm *microvm, struct request *request, struct error *err)
{
	struct balloon *balloon = device_of(microvm, err);
	struct balloon_hinting hinting;

	if (balloon == NULL || told(balloon_get_hinting(balloon, &hinting, err), err) < 0) {
		return -1;
	}
	return request_reply(
		request,
		json_pack("{s:I, s:o}", "host_cmd", (json_int_t)hinting.host_cmd, "guest_cmd",
			  hinting.has_guest_cmd ? json_integer(hinting.guest_cmd) : json_null()),
		err);
}

const struct resource hinting_status_resource = {
	.path = {"balloon", "hinting", "status"},
	.methods[HTTP_GET] = {.states = AFTER_START,
			      .prefix = "Balloon update error",
			      .run = get_hinting},
};

static int stop_hinting(struct microvm *microvm, struct request *request, struct error *err)
{
	struct balloon *balloon = device_of(microvm, err);

	(void)request;
	return balloon == NULL ? -1 : told(balloon_stop_hinting(balloon, err), err);
}

const struct resource hinting_stop_resource = {
	.path = {"balloon", "hinting", "stop"},
	.methods[HTTP_PATCH] = {.states = AFTER_START,
				.body = BODY_UNREAD,
				.prefix = "Balloon update error",
				.run = stop_hinting},
};

/* SPDX-License-Identifier: Apache-2.0 */
/* /pmem/{id}: persistent memory devices, which this build lacks: valid requests are refused. */
#include "vmm/base/metric.h"
#include "vmm/resources/rate_limiter.h"
#include "vmm/resources/resource.h"

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

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct body, id, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct body, path_on_host, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct body, root_device, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct body, read_only, SCHEMA_DEFAULTED),
	SCHEMA_OBJECT_FIELD(struct body, rate_limiter, SCHEMA_OPTIONAL, &rate_limiter_schema),
};

static const struct schema schema = SCHEMA("PmemConfig", struct body, fields);

static const struct schema_field patch_fields[] = {
	SCHEMA_FIELD(struct patch_body, id, SCHEMA_REQUIRED),
	SCHEMA_OBJECT_FIELD(struct patch_body, rate_limiter, SCHEMA_OPTIONAL, &rate_limiter_schema),
};

static const struct schema patch_schema =
	SCHEMA("PmemDeviceUpdateConfig", struct patch_body, patch_fields);

/* Lines have the group though nothing counts here yet [compat]. */
struct pmem_metrics {
	struct metric activate_fails;
	struct metric cfg_fails;
	struct metric event_fails;
	struct metric queue_event_count;
	struct metric rate_limiter_throttled_events;
	struct metric rate_limiter_event_count;
};

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(pmem_metrics, activate_fails)},
	{METRIC_COUNT(pmem_metrics, cfg_fails)},
	{METRIC_COUNT(pmem_metrics, event_fails)},
	{METRIC_COUNT(pmem_metrics, queue_event_count)},
	{METRIC_COUNT(pmem_metrics, rate_limiter_throttled_events)},
	{METRIC_COUNT(pmem_metrics, rate_limiter_event_count)},
};

static const struct metric_group metric_group = {
	METRIC_GROUP("pmem", pmem_metrics, metric_fields, 0)};

/* What is lacking, the caller says. */
static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	return microvm->controller.state == VM_NOT_STARTED
		       ? 0
		       : resource_check_plug(microvm, request, true, NULL, err);
}

static int unplug(struct microvm *microvm, struct request *request, struct error *err)
{
	return resource_check_plug(microvm, request, false, resource_device_not_found, err);
}

const struct resource pmem_resource = {
	.path = {"pmem"},
	.is_for_boot = true,
	.has_id = true,
	.lacking = "virtio pmem devices",
	.methods =
		{
			[HTTP_PUT] = {.states = ALWAYS,
				      .body = BODY_JSON,
				      .schema = &schema,
				      .check = resource_check_id,
				      .run = put,
				      PUTS(pmem)},
			[HTTP_PATCH] = {.states = AFTER_START,
					.body = BODY_JSON,
					.schema = &patch_schema,
					.check = resource_check_id,
					PATCHES(pmem)},
			[HTTP_DELETE] = {.states = AFTER_START, .run = unplug},
		},
	.key = "pmem",
	.is_list = true,
	.need = SCHEMA_OPTIONAL,
	.turn = 12,
	.metrics = &metric_group,
};

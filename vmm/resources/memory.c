/* SPDX-License-Identifier: Apache-2.0 */
/* /hotplug/memory: memory that can be added, which this build lacks: valid requests are refused. */
#include "vmm/base/metric.h"
#include "vmm/resources/resource.h"

struct body {
	uint32_t total_size_mib;
	uint32_t block_size_mib;
	uint32_t slot_size_mib;
};

struct patch_body {
	uint32_t requested_size_mib;
};

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct body, total_size_mib, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct body, block_size_mib, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct body, slot_size_mib, SCHEMA_DEFAULTED),
};

static const struct schema schema = SCHEMA("MemoryHotplugConfig", struct body, fields);

static const struct schema_field patch_fields[] = {
	SCHEMA_FIELD(struct patch_body, requested_size_mib, SCHEMA_REQUIRED),
};

static const struct schema patch_schema =
	SCHEMA("MemoryHotplugSizeUpdate", struct patch_body, patch_fields);

/* Lines have the group though nothing counts here yet [compat]. */
struct memory_metrics {
	struct metric activate_fails;
	struct metric queue_event_fails;
	struct metric queue_event_count;
	struct metric_latency plug_agg;
	struct metric plug_count;
	struct metric plug_bytes;
	struct metric plug_fails;
	struct metric_latency unplug_agg;
	struct metric unplug_count;
	struct metric unplug_bytes;
	struct metric unplug_fails;
	struct metric unplug_discard_fails;
	struct metric_latency unplug_all_agg;
	struct metric unplug_all_count;
	struct metric unplug_all_fails;
	struct metric_latency state_agg;
	struct metric state_count;
	struct metric state_fails;
};

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(memory_metrics, activate_fails)},
	{METRIC_COUNT(memory_metrics, queue_event_fails)},
	{METRIC_COUNT(memory_metrics, queue_event_count)},
	{METRIC_ROW(memory_metrics, plug_agg, METRIC_LATENCY, METRIC_US)},
	{METRIC_COUNT(memory_metrics, plug_count)},
	{METRIC_ROW(memory_metrics, plug_bytes, METRIC_COUNTER, METRIC_BYTES)},
	{METRIC_COUNT(memory_metrics, plug_fails)},
	{METRIC_ROW(memory_metrics, unplug_agg, METRIC_LATENCY, METRIC_US)},
	{METRIC_COUNT(memory_metrics, unplug_count)},
	{METRIC_ROW(memory_metrics, unplug_bytes, METRIC_COUNTER, METRIC_BYTES)},
	{METRIC_COUNT(memory_metrics, unplug_fails)},
	{METRIC_COUNT(memory_metrics, unplug_discard_fails)},
	{METRIC_ROW(memory_metrics, unplug_all_agg, METRIC_LATENCY, METRIC_US)},
	{METRIC_COUNT(memory_metrics, unplug_all_count)},
	{METRIC_COUNT(memory_metrics, unplug_all_fails)},
	{METRIC_ROW(memory_metrics, state_agg, METRIC_LATENCY, METRIC_US)},
	{METRIC_COUNT(memory_metrics, state_count)},
	{METRIC_COUNT(memory_metrics, state_fails)},
};

static const struct metric_group metric_group = {
	METRIC_GROUP("memory_hotplug", memory_metrics, metric_fields, 4)};

const struct resource memory_resource = {
	.path = {"hotplug", "memory"},
	.is_for_boot = true,
	.lacking = "a virtio memory device",
	.methods =
		{
			[HTTP_GET] = {.states = AFTER_START, GETS(hotplug_memory)},
			[HTTP_PUT] = {.states = BEFORE_START,
				      .body = BODY_JSON,
				      .schema = &schema,
				      PUTS(hotplug_memory)},
			[HTTP_PATCH] = {.states = AFTER_START,
					.body = BODY_JSON,
					.schema = &patch_schema,
					PATCHES(hotplug_memory)},
		},
	.key = "memory-hotplug",
	.need = SCHEMA_OPTIONAL,
	.turn = 13,
	.metrics = &metric_group,
};

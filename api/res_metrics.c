/* SPDX-License-Identifier: Apache-2.0 */
/* The body of /metrics. */
#include "api/res_metrics.h"

#include "vmm/base/bytes.h"

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct metrics_sink_config, metrics_path, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct metrics_sink_config, emit_id, SCHEMA_DEFAULTED),
	SCHEMA_STRING_MAP_FIELD(struct metrics_sink_config, properties, SCHEMA_OPTIONAL),
};

const struct schema res_metrics_schema = {
	.name = "MetricsConfig",
	.fields = fields,
	.count = ARRAY_COUNT(fields),
	.size = sizeof(struct metrics_sink_config),
	.is_open = true,
};

int res_metrics_put(struct resource_call *call, struct error *err)
{
	struct action action = {.kind = ACTION_PUT_METRICS};
	uint64_t present;

	if (schema_decode(&res_metrics_schema, call->json, &action.metrics, &present, err) < 0 ||
	    resource_execute(call, &action, err) < 0) {
		schema_free(&res_metrics_schema, &action.metrics);
		return -1;
	}
	return 0;
}

int res_metrics_get(struct resource_call *call, struct error *err)
{
	if (call->metrics == NULL) {
		return error_set(err, ERR_NOT_SUPPORTED, "This process counts nothing.");
	}
	call->text_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
	return metrics_format_openmetrics(call->metrics, &call->text, &call->text_len, err);
}

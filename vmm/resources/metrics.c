/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics: where the metrics go and what each line carries besides; GET: the values. */
#include "vmm/base/bytes.h"
#include "vmm/resources/resource.h"

struct body {
	char *metrics_path;
	bool emit_id;
	char *properties; /* a JSON object of strings, as text; NULL: none */
};

static const struct schema_field fields[] = {
	SCHEMA_PATH_FIELD(struct body, metrics_path, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct body, emit_id, SCHEMA_DEFAULTED),
	SCHEMA_STRING_MAP_FIELD(struct body, properties, SCHEMA_OPTIONAL),
};

static const struct schema schema = {
	.name = "MetricsConfig",
	.fields = fields,
	.count = ARRAY_COUNT(fields),
	.size = sizeof(struct body),
	.is_open = true,
};

static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct body *body = request->body;
	const struct controller *controller = &microvm->controller;
	const struct metrics_config config = {
		.path = body->metrics_path,
		.id = body->emit_id ? controller->id : NULL,
		.properties = body->properties,
	};

	return metrics_configure(&controller->telemetry->metrics, &config, err);
}

/* For Prometheus: beyond what Firecracker's API has. The machine need not be asked. */
static int get(struct request *request, struct error *err)
{
	if (request->metrics == NULL) {
		return error_set(err, ERR_NOT_SUPPORTED, "This process has no metrics.");
	}
	request->text_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
	return metrics_format_openmetrics(request->metrics, &request->text, &request->text_len,
					  err);
}

const struct resource metrics_resource = {
	.path = {"metrics"},
	.methods =
		{
			[HTTP_GET] = {.states = ALWAYS, .check = get},
			[HTTP_PUT] = {.states = BEFORE_START,
				      .body = BODY_JSON,
				      .schema = &schema,
				      .prefix = "Metrics error",
				      .run = put,
				      PUTS(metrics)},
		},
	.key = "metrics",
	.need = SCHEMA_OPTIONAL,
	.turn = 2,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* The body of /logger. */
#include "api/res_logger.h"

#include <string.h>

#include "vmm/base/log.h"

struct body {
	char *log_path;
	char *level; /* not an enum field: any case, and Warning for Warn */
	bool show_level;
	bool show_log_origin;
	char *module;
};

enum field {
	FIELD_LOG_PATH,
	FIELD_LEVEL,
	FIELD_SHOW_LEVEL,
	FIELD_SHOW_LOG_ORIGIN,
	FIELD_MODULE,
	FIELD_COUNT
};

static const struct schema_field fields[FIELD_COUNT] = {
	[FIELD_LOG_PATH] = SCHEMA_FIELD(struct body, log_path, SCHEMA_OPTIONAL),
	[FIELD_LEVEL] = SCHEMA_FIELD(struct body, level, SCHEMA_OPTIONAL),
	[FIELD_SHOW_LEVEL] = SCHEMA_FIELD(struct body, show_level, SCHEMA_OPTIONAL),
	[FIELD_SHOW_LOG_ORIGIN] = SCHEMA_FIELD(struct body, show_log_origin, SCHEMA_OPTIONAL),
	[FIELD_MODULE] = SCHEMA_FIELD(struct body, module, SCHEMA_OPTIONAL),
};

const struct schema res_logger_schema = SCHEMA("LoggerConfig", struct body, fields);

static enum log_switch switch_of(bool value, enum field field, uint64_t present)
{
	if (!(present & UINT64_C(1) << field)) {
		return LOG_KEEP;
	}
	return value ? LOG_SHOW : LOG_HIDE;
}

static int configure(const struct resource_call *call, const struct body *body, uint64_t present,
		     struct error *err)
{
	struct action action = {
		.kind = ACTION_PUT_LOGGER,
		.log =
			{
				.path = body->log_path,
				.module = body->module,
				.level = LOG_INFO,
				.show_level =
					switch_of(body->show_level, FIELD_SHOW_LEVEL, present),
				.show_origin = switch_of(body->show_log_origin,
							 FIELD_SHOW_LOG_ORIGIN, present),
			},
	};

	if (body->level != NULL && !log_level_parse(body->level, &action.log.level)) {
		char quoted[JSON_QUOTE_LEN];

		json_quote(body->level, strlen(body->level), quoted, sizeof(quoted));
		error_set(err, ERR_BAD_REQUEST, "Invalid LevelFilter: %s", quoted);
		return json_fault(err, call->json->doc);
	}
	return resource_execute(call, &action, err);
}

int res_logger_put(struct resource_call *call, struct error *err)
{
	struct body body = {0};
	uint64_t present;
	int result = schema_decode(&res_logger_schema, call->json, &body, &present, err);

	if (result == 0) {
		result = configure(call, &body, present, err);
	}
	schema_free(&res_logger_schema, &body);
	return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* /logger: where the log goes and what its lines show. */
#include "vmm/base/log.h"
#include "vmm/resources/resource.h"

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
	[FIELD_LOG_PATH] = SCHEMA_PATH_FIELD(struct body, log_path, SCHEMA_OPTIONAL),
	[FIELD_LEVEL] = SCHEMA_FIELD(struct body, level, SCHEMA_OPTIONAL),
	[FIELD_SHOW_LEVEL] = SCHEMA_FIELD(struct body, show_level, SCHEMA_OPTIONAL),
	[FIELD_SHOW_LOG_ORIGIN] = SCHEMA_FIELD(struct body, show_log_origin, SCHEMA_OPTIONAL),
	[FIELD_MODULE] = SCHEMA_FIELD(struct body, module, SCHEMA_OPTIONAL),
};

static const struct schema schema = SCHEMA("LoggerConfig", struct body, fields);

/* [compat] Without `level` it becomes Info, whatever it was. */
static int parse_level(const struct body *body, enum log_level *level)
{
	*level = LOG_INFO;
	return body->level == NULL || log_level_parse(body->level, level) ? 0 : -1;
}

static int check(struct request *request, struct error *err)
{
	enum log_level level;

	if (parse_level(request->body, &level) == 0) {
		return 0;
	}
	error_set(err, ERR_BAD_REQUEST, "Invalid LevelFilter");
	json_error_after_member(err, request->json, fields[FIELD_LEVEL].name);
	return json_fault(err, request->json->doc);
}

static enum log_switch switch_of(bool value, enum field field, uint64_t present)
{
	if (!(present & UINT64_C(1) << field)) {
		return LOG_KEEP;
	}
	return value ? LOG_SHOW : LOG_HIDE;
}

/* Of the process. Fields other than `level` keep what they had where they are absent [compat]. */
static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct body *body = request->body;
	struct log_config log = {
		.path = body->log_path,
		.module = body->module,
		.show_level = switch_of(body->show_level, FIELD_SHOW_LEVEL, request->present),
		.show_origin =
			switch_of(body->show_log_origin, FIELD_SHOW_LOG_ORIGIN, request->present),
	};

	(void)microvm;
	(void)parse_level(body, &log.level);
	return log_configure(&log, err);
}

const struct resource logger_resource = {
	.path = {"logger"},
	.methods[HTTP_PUT] = {.states = BEFORE_START,
			      .body = BODY_JSON,
			      .schema = &schema,
			      .prefix = "Logger error",
			      .check = check,
			      .run = put,
			      PUTS(logger)},
	.key = "logger",
	.need = SCHEMA_OPTIONAL,
	.turn = 1,
};

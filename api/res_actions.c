/* SPDX-License-Identifier: Apache-2.0 */
/* The body of /actions. */
#include "api/res_actions.h"

#include <string.h>

enum action_type {
	FLUSH_METRICS,
	INSTANCE_START,
	SEND_CTRL_ALT_DEL
};

struct body {
	enum action_type action_type;
};

static const char *const type_names[] = {"FlushMetrics", "InstanceStart", "SendCtrlAltDel", NULL};

static const enum action_kind kinds[] = {
	[FLUSH_METRICS] = ACTION_FLUSH_METRICS,
	[INSTANCE_START] = ACTION_START,
	[SEND_CTRL_ALT_DEL] = ACTION_CTRL_ALT_DEL,
};

static const struct schema_field fields[] = {
	SCHEMA_ENUM_FIELD(struct body, action_type, SCHEMA_REQUIRED, type_names),
};

const struct schema res_actions_schema = SCHEMA("ActionBody", struct body, fields);

int res_actions_put(struct resource_call *call, struct error *err)
{
	struct body body = {0};
	uint64_t present;

	if (schema_decode(&res_actions_schema, call->json, &body, &present, err) < 0) {
		return -1;
	}
	if (body.action_type == SEND_CTRL_ALT_DEL && strcmp(call->arch, "aarch64") == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "SendCtrlAltDel does not supported on aarch64.");
	}

	struct action action = {.kind = kinds[body.action_type]};

	return resource_execute(call, &action, err);
}

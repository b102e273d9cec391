/* SPDX-License-Identifier: Apache-2.0 */
/* The body of /serial. */
#include "api/res_serial.h"

#include "api/rate_limiter.h"

struct body {
	char *serial_out_path;
	struct token_bucket_config rate_limiter; /* of bytes; zero: no limit */
	bool has_rate_limiter;
};

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct body, serial_out_path, SCHEMA_OPTIONAL),
	SCHEMA_OBJECT_FIELD(struct body, rate_limiter, SCHEMA_OPTIONAL, &token_bucket_schema),
};

const struct schema res_serial_schema = SCHEMA("SerialConfig", struct body, fields);

int res_serial_put(struct resource_call *call, struct error *err)
{
	struct body body = {0};
	uint64_t present;
	int result = schema_decode(&res_serial_schema, call->json, &body, &present, err);

	if (result == 0) {
		struct action action = {
			.kind = ACTION_PUT_SERIAL,
			.serial = {body.serial_out_path, body.rate_limiter},
		};

		result = resource_execute(call, &action, err);
	}
	if (result < 0) {
		schema_free(&res_serial_schema, &body);
	}
	return result;
}

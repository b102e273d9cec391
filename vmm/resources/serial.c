/* SPDX-License-Identifier: Apache-2.0 */
/* /serial: where the guest's serial output goes. */
#include "vmm/resources/rate_limiter.h"
#include "vmm/resources/resource.h"

static const struct schema_field fields[] = {
	SCHEMA_PATH_FIELD(struct serial_config_body, serial_out_path, SCHEMA_OPTIONAL),
	SCHEMA_OBJECT_FIELD(struct serial_config_body, rate_limiter, SCHEMA_OPTIONAL,
			    &token_bucket_schema),
};

static const struct schema schema = SCHEMA("SerialConfig", struct serial_config_body, fields);

static void clear(struct vm_config *config)
{
	schema_free(&schema, &config->serial);
	config->serial = (struct serial_config_body){0};
}

/* The file is opened when the machine starts [compat]. */
static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	struct serial_config_body *body = request->body;

	(void)err;
	clear(&microvm->config);
	microvm->config.serial = *body;
	body->serial_out_path = NULL;
	return 0;
}

const struct resource serial_resource = {
	.path = {"serial"},
	.methods[HTTP_PUT] = {.states = BEFORE_START,
			      .body = BODY_JSON,
			      .schema = &schema,
			      .run = put,
			      PUTS(serial)},
	.clear = clear,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* The body of /boot-source. */
#include "api/res_boot_source.h"

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct boot_source_config, kernel_image_path, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct boot_source_config, initrd_path, SCHEMA_OPTIONAL),
	SCHEMA_FIELD(struct boot_source_config, boot_args, SCHEMA_OPTIONAL),
};

const struct schema res_boot_source_schema =
	SCHEMA("BootSourceConfig", struct boot_source_config, fields);

int res_boot_source_put(struct resource_call *call, struct error *err)
{
	struct action action = {
		.kind = ACTION_PUT_BOOT_SOURCE,
		.boot_source = {.kernel_fd = -1, .initrd_fd = -1},
	};
	uint64_t present;

	if (schema_decode(&res_boot_source_schema, call->json, &action.boot_source, &present, err) <
		    0 ||
	    resource_execute(call, &action, err) < 0) {
		schema_free(&res_boot_source_schema, &action.boot_source);
		return -1;
	}
	return 0;
}

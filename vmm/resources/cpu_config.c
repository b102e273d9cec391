/* SPDX-License-Identifier: Apache-2.0 */
/* /cpu-config: a custom CPU template. */
#include <stdlib.h>

#include "vmm/resources/cpu_template_json.h"
#include "vmm/resources/resource.h"

/* --- The resource --- */

/* [compat] What is wrong with a number is a fault of the JSON. */
static int check(struct request *request, struct error *err)
{
	struct cpu_template_block *custom = NULL;
	int result = cpu_template_make(request->body, CPU_TEMPLATE_EXACT, &custom, err);

	free(custom);
	return result == 0 ? 0 : json_fault(err, request->json->doc);
}

static void clear(struct vm_config *config)
{
	free((void *)config->cpu_template);
	config->cpu_template = NULL;
	config->static_template = NULL;
}

/* It takes the place of a static template. */
static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	struct cpu_template_block *custom = NULL;

	if (cpu_template_make(request->body, CPU_TEMPLATE_EXACT, &custom, err) < 0) {
		return -1;
	}
	clear(&microvm->config);
	microvm->config.cpu_template = &custom->bits;
	return 0;
}

#define TEMPLATE_ROW(its_schema)                                                                   \
	.path = {"cpu-config"}, .is_for_boot = true,                                               \
	.methods[HTTP_PUT] = {.states = BEFORE_START,                                              \
			      .body = BODY_JSON,                                                   \
			      .schema = (its_schema),                                              \
			      .check = check,                                                      \
			      .run = put,                                                          \
			      PUTS(cpu_cfg)},                                                      \
	.key = "cpu-config", .is_file_or_path = true, .need = SCHEMA_OPTIONAL, .turn = 4,          \
	.clear = clear

const struct resource cpu_config_aarch64_resource = {
	TEMPLATE_ROW(&cpu_template_aarch64_schema),
	.arch = "aarch64",
};

const struct resource cpu_config_resource = {TEMPLATE_ROW(&cpu_template_x86_64_schema)};

/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of /machine-config. */
#include "api/res_machine_config.h"

/* Of all architectures: which of them fits this host is not for the parser to say. */
enum cpu_template {
	CPU_TEMPLATE_C3,
	CPU_TEMPLATE_T2,
	CPU_TEMPLATE_T2S,
	CPU_TEMPLATE_T2CL,
	CPU_TEMPLATE_T2A,
	CPU_TEMPLATE_V1N1,
	CPU_TEMPLATE_NONE
};

struct body {
	struct machine_config machine;
	enum cpu_template cpu_template;
};

static const char *const template_names[] = {"C3",  "T2",   "T2S",  "T2CL",
					     "T2A", "V1N1", "None", NULL};

/* In the order of enum huge_pages. */
static const char *const huge_pages_names[] = {"None", "Transparent", "2M", NULL};

enum field {
	FIELD_VCPU_COUNT,
	FIELD_MEM_SIZE_MIB,
	FIELD_SMT,
	FIELD_CPU_TEMPLATE,
	FIELD_TRACK_DIRTY_PAGES,
	FIELD_HUGE_PAGES,
	FIELD_COUNT
};

static const struct schema_field fields[FIELD_COUNT] = {
	[FIELD_VCPU_COUNT] =
		SCHEMA_FIELD_AS("vcpu_count", struct body, machine.vcpu_count, SCHEMA_REQUIRED),
	[FIELD_MEM_SIZE_MIB] = SCHEMA_USIZE_FIELD_AS("mem_size_mib", struct body,
						     machine.mem_size_mib, SCHEMA_REQUIRED),
	[FIELD_SMT] = SCHEMA_FIELD_AS("smt", struct body, machine.smt, SCHEMA_DEFAULTED),
	[FIELD_CPU_TEMPLATE] =
		SCHEMA_ENUM_FIELD(struct body, cpu_template, SCHEMA_OPTIONAL, template_names),
	[FIELD_TRACK_DIRTY_PAGES] = SCHEMA_FIELD_AS("track_dirty_pages", struct body,
						    machine.track_dirty_pages, SCHEMA_DEFAULTED),
	[FIELD_HUGE_PAGES] = SCHEMA_ENUM_FIELD_AS("huge_pages", struct body, machine.huge_pages,
						  SCHEMA_DEFAULTED, huge_pages_names),
};

const struct schema res_machine_config_schema = SCHEMA("MachineConfig", struct body, fields);

const struct schema res_machine_config_patch_schema = {
	.name = "MachineConfigUpdate",
	.fields = fields,
	.count = FIELD_COUNT,
	.size = sizeof(struct body),
	.is_patch = true,
};

static int put(const struct resource_call *call, const struct body *body, struct error *err)
{
	struct action action = {.kind = ACTION_PUT_MACHINE, .machine = body->machine};

	if (body->cpu_template != CPU_TEMPLATE_NONE) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "Machine config error: This build of squib has no CPU "
				 "templates yet: leave out cpu_template `%s`",
				 template_names[body->cpu_template]);
	}
	return resource_execute(call, &action, err);
}

int res_machine_config_put(struct resource_call *call, struct error *err)
{
	struct body body = {.cpu_template = CPU_TEMPLATE_NONE};
	uint64_t present;

	if (schema_decode(&res_machine_config_schema, call->json, &body, &present, err) < 0) {
		return -1;
	}
	if (present & 1u << FIELD_CPU_TEMPLATE) {
		call->deprecation = "PUT /machine-config: cpu_template field is deprecated.";
	}
	return put(call, &body, err);
}

int res_machine_config_patch(struct resource_call *call, struct error *err)
{
	struct action get = {.kind = ACTION_GET};
	uint64_t present;

	if (resource_execute(call, &get, err) < 0) {
		return -1;
	}

	struct body body = {.machine = get.config->machine, .cpu_template = CPU_TEMPLATE_NONE};

	if (schema_decode(&res_machine_config_patch_schema, call->json, &body, &present, err) < 0) {
		return -1;
	}
	if (present == 0) {
		return error_set(err, ERR_BAD_REQUEST, "Empty PATCH request.");
	}
	if (present & 1u << FIELD_CPU_TEMPLATE) {
		call->deprecation = "PATCH /machine-config: cpu_template field is deprecated.";
	}
	return put(call, &body, err);
}

json_t *res_machine_config_encode(const struct machine_config *machine)
{
	struct body body = {.machine = *machine};

	/* A template that is not set is not shown [compat]. */
	return schema_encode(&res_machine_config_schema, &body,
			     SCHEMA_ALL & ~(UINT64_C(1) << FIELD_CPU_TEMPLATE));
}

int res_machine_config_get(struct resource_call *call, struct error *err)
{
	struct action get = {.kind = ACTION_GET};

	if (resource_execute(call, &get, err) < 0) {
		return -1;
	}
	return resource_reply(call, res_machine_config_encode(&get.config->machine), err);
}

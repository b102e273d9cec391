/* SPDX-License-Identifier: Apache-2.0 */
/* The body of /cpu-config, of which each architecture has its own. */
#include "api/res_cpu_config.h"

#include <string.h>

#include "vmm/base/bytes.h"

/* Numbers are text with a prefix ("0x1"), bitmaps too ("0b1x0"): x keeps a bit. */
struct body {
	struct schema_list kvm_capabilities;
	struct schema_list cpuid_modifiers; /* x86_64 */
	struct schema_list msr_modifiers;   /* the same */
	struct schema_list vcpu_features;   /* aarch64 */
	struct schema_list reg_modifiers;   /* the same */
};

enum leaf_register {
	EAX,
	EBX,
	ECX,
	EDX
};

struct leaf_body {
	char *leaf;
	char *subleaf;
	uint32_t flags;
	struct schema_list modifiers;
};

struct leaf_register_body {
	enum leaf_register reg;
	char *bitmap;
};

struct register_body {
	char *addr;
	char *bitmap;
};

struct feature_body {
	uint32_t index;
	char *bitmap;
};

static const char *const leaf_register_names[] = {"eax", "ebx", "ecx", "edx", NULL};

static const struct schema_field leaf_register_fields[] = {
	SCHEMA_ENUM_FIELD_AS("register", struct leaf_register_body, reg, SCHEMA_REQUIRED,
			     leaf_register_names),
	SCHEMA_FIELD(struct leaf_register_body, bitmap, SCHEMA_REQUIRED),
};

const struct schema res_cpu_config_leaf_register_schema = {
	.name = "CpuidRegisterModifier",
	.fields = leaf_register_fields,
	.count = ARRAY_COUNT(leaf_register_fields),
	.size = sizeof(struct leaf_register_body),
	.is_open = true,
};

static const struct schema_field leaf_fields[] = {
	SCHEMA_FIELD(struct leaf_body, leaf, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct leaf_body, subleaf, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct leaf_body, flags, SCHEMA_REQUIRED),
	SCHEMA_LIST_FIELD(struct leaf_body, modifiers, SCHEMA_REQUIRED,
			  &res_cpu_config_leaf_register_schema),
};

const struct schema res_cpu_config_leaf_schema = {
	.name = "CpuidLeafModifier",
	.fields = leaf_fields,
	.count = ARRAY_COUNT(leaf_fields),
	.size = sizeof(struct leaf_body),
	.is_open = true,
};

static const struct schema_field register_fields[] = {
	SCHEMA_FIELD(struct register_body, addr, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct register_body, bitmap, SCHEMA_REQUIRED),
};

const struct schema res_cpu_config_register_schema = {
	.name = "RegisterModifier",
	.fields = register_fields,
	.count = ARRAY_COUNT(register_fields),
	.size = sizeof(struct register_body),
	.is_open = true,
};

static const struct schema_field feature_fields[] = {
	SCHEMA_FIELD(struct feature_body, index, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct feature_body, bitmap, SCHEMA_REQUIRED),
};

const struct schema res_cpu_config_feature_schema = {
	.name = "VcpuFeatures",
	.fields = feature_fields,
	.count = ARRAY_COUNT(feature_fields),
	.size = sizeof(struct feature_body),
	.is_open = true,
};

static const struct schema_field x86_64_fields[] = {
	SCHEMA_LIST_FIELD(struct body, kvm_capabilities, SCHEMA_DEFAULTED, NULL),
	SCHEMA_LIST_FIELD(struct body, cpuid_modifiers, SCHEMA_DEFAULTED,
			  &res_cpu_config_leaf_schema),
	SCHEMA_LIST_FIELD(struct body, msr_modifiers, SCHEMA_DEFAULTED,
			  &res_cpu_config_register_schema),
};

const struct schema res_cpu_config_x86_64_schema =
	SCHEMA("CustomCpuTemplate", struct body, x86_64_fields);

static const struct schema_field aarch64_fields[] = {
	SCHEMA_LIST_FIELD(struct body, kvm_capabilities, SCHEMA_DEFAULTED, NULL),
	SCHEMA_LIST_FIELD(struct body, vcpu_features, SCHEMA_DEFAULTED,
			  &res_cpu_config_feature_schema),
	SCHEMA_LIST_FIELD(struct body, reg_modifiers, SCHEMA_DEFAULTED,
			  &res_cpu_config_register_schema),
};

const struct schema res_cpu_config_aarch64_schema =
	SCHEMA("CustomCpuTemplate", struct body, aarch64_fields);

int res_cpu_config_put(struct resource_call *call, struct error *err)
{
	bool is_arm = strcmp(call->arch, "aarch64") == 0;

	return resource_refuse(
		call, is_arm ? &res_cpu_config_aarch64_schema : &res_cpu_config_x86_64_schema, NULL,
		"custom CPU templates", err);
}

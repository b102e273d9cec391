/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /cpu-config: a custom CPU template, of which each architecture has its own. This build lacks
 * templates: valid requests are refused.
 */
#include "vmm/base/bytes.h"
#include "vmm/resources/resource.h"

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

static const struct schema leaf_register_schema = {
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
	SCHEMA_LIST_FIELD(struct leaf_body, modifiers, SCHEMA_REQUIRED, &leaf_register_schema),
};

static const struct schema leaf_schema = {
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

static const struct schema register_schema = {
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

static const struct schema feature_schema = {
	.name = "VcpuFeatures",
	.fields = feature_fields,
	.count = ARRAY_COUNT(feature_fields),
	.size = sizeof(struct feature_body),
	.is_open = true,
};

static const struct schema_field x86_64_fields[] = {
	SCHEMA_LIST_FIELD(struct body, kvm_capabilities, SCHEMA_DEFAULTED, NULL),
	SCHEMA_LIST_FIELD(struct body, cpuid_modifiers, SCHEMA_DEFAULTED, &leaf_schema),
	SCHEMA_LIST_FIELD(struct body, msr_modifiers, SCHEMA_DEFAULTED, &register_schema),
};

static const struct schema x86_64_schema = SCHEMA("CustomCpuTemplate", struct body, x86_64_fields);

static const struct schema_field aarch64_fields[] = {
	SCHEMA_LIST_FIELD(struct body, kvm_capabilities, SCHEMA_DEFAULTED, NULL),
	SCHEMA_LIST_FIELD(struct body, vcpu_features, SCHEMA_DEFAULTED, &feature_schema),
	SCHEMA_LIST_FIELD(struct body, reg_modifiers, SCHEMA_DEFAULTED, &register_schema),
};

static const struct schema aarch64_schema =
	SCHEMA("CustomCpuTemplate", struct body, aarch64_fields);

static const char lacking[] = "custom CPU templates";

const struct resource cpu_config_aarch64_resource = {
	.path = {"cpu-config"},
	.arch = "aarch64",
	.lacking = lacking,
	.methods[HTTP_PUT] = {.states = BEFORE_START,
			      .body = BODY_JSON,
			      .schema = &aarch64_schema,
			      PUTS(cpu_cfg)},
};

const struct resource cpu_config_resource = {
	.path = {"cpu-config"},
	.lacking = lacking,
	.methods[HTTP_PUT] = {.states = BEFORE_START,
			      .body = BODY_JSON,
			      .schema = &x86_64_schema,
			      PUTS(cpu_cfg)},
	.key = "cpu-config",
	.need = SCHEMA_OPTIONAL,
	.turn = 4,
};

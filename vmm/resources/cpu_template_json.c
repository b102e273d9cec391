/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON of a custom CPU template, of which each architecture has its own. */
#include "vmm/resources/cpu_template_json.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
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

const struct schema cpu_template_x86_64_schema =
	SCHEMA("CustomCpuTemplate", struct body, x86_64_fields);

static const struct schema_field aarch64_fields[] = {
	SCHEMA_LIST_FIELD(struct body, kvm_capabilities, SCHEMA_DEFAULTED, NULL),
	SCHEMA_LIST_FIELD(struct body, vcpu_features, SCHEMA_DEFAULTED, &feature_schema),
	SCHEMA_LIST_FIELD(struct body, reg_modifiers, SCHEMA_DEFAULTED, &register_schema),
};

const struct schema cpu_template_aarch64_schema =
	SCHEMA("CustomCpuTemplate", struct body, aarch64_fields);

/* --- Numbers and bitmaps --- */

enum fault {
	FAULT_NONE,
	FAULT_EMPTY,
	FAULT_DIGIT,
	FAULT_RANGE
};

/* 16 and more: it is none. */
static unsigned digit_of(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *digit = strchr(digits, c);

	return digit != NULL ? (unsigned)(digit - digits) % 16 : UINT_MAX;
}

/* All of the text is a number below `max` + 1, without a sign. */
static enum fault parse(const char *text, unsigned base, uint64_t max, uint64_t *value)
{
	uint64_t number = 0;

	if (text[0] == '\0') {
		return FAULT_EMPTY;
	}
	for (; *text != '\0'; text++) {
		const unsigned units = digit_of(*text);

		if (units >= base) {
			return FAULT_DIGIT;
		}
		if (number > (max - units) / base) {
			return FAULT_RANGE;
		}
		number = number * base + units;
	}
	*value = number;
	return FAULT_NONE;
}

static int parse_number(const char *text, uint64_t max, uint64_t *value, struct error *err)
{
	static const char *const kinds[] = {[FAULT_EMPTY] = "Empty",
					    [FAULT_DIGIT] = "InvalidDigit",
					    [FAULT_RANGE] = "PosOverflow"};
	const bool is_binary = strncmp(text, "0b", 2) == 0;

	if (!is_binary && strncmp(text, "0x", 2) != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "No supported number system prefix found in value [%.64s]. Make "
				 "sure to prefix the number with '0x' for hexadecimal numbers or "
				 "'0b' for binary numbers",
				 text);
	}
	enum fault fault = parse(text + 2, is_binary ? 2 : 16, max, value);

	if (fault != FAULT_NONE) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Failed to parse string [%.64s] as a number for CPU template - "
				 "ParseIntError { kind: %s }",
				 text, kinds[fault]);
	}
	return 0;
}

static int parse_number32(const char *text, uint32_t *value, struct error *err)
{
	uint64_t number = 0;
	int result = parse_number(text, UINT32_MAX, &number, err);

	*value = (uint32_t)number;
	return result;
}

/* "0b01x_x" of up to `width` bits: the last character is the lowest bit. */
static int parse_bitmap(const char *text, unsigned width, struct cpu_template_bits *bits,
			struct error *err)
{
	const char *first = strncmp(text, "0b", 2) == 0 ? text + 2 : text;
	unsigned bit = 0;

	*bits = (struct cpu_template_bits){0};
	for (const char *at = first + strlen(first); at > first; at--) {
		const char c = at[-1];

		if (bit == width) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Failed to parse string [%.160s] as a bitmap - string is "
					 "too long",
					 text);
		}
		if (c == '_') {
			continue;
		}
		if (c != 'x' && c != '0' && c != '1') {
			return error_set(err, ERR_BAD_REQUEST,
					 "Failed to parse string [%.160s] as a bitmap - unknown "
					 "character: %u",
					 text, (unsigned char)c);
		}
		bits->mask[bit / 64] |= (uint64_t)(c != 'x') << bit % 64;
		bits->value[bit / 64] |= (uint64_t)(c == '1') << bit % 64;
		bit++;
	}
	return 0;
}

/* "121": the host must have it; "!121": it need not. */
static int parse_capability(const char *text, struct cpu_template_capability *capability,
			    struct error *err)
{
	static const char *const kinds[] = {
		[FAULT_EMPTY] = "cannot parse integer from empty string",
		[FAULT_DIGIT] = "invalid digit found in string",
		[FAULT_RANGE] = "number too large to fit in target type"};
	uint64_t number = 0;

	capability->is_waived = text[0] == '!';

	enum fault fault = parse(text + (capability->is_waived ? 1 : 0), 10, UINT32_MAX, &number);

	if (fault != FAULT_NONE) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Failed to parse string [%.64s] as a kvm capability - can not "
				 "convert to numeric: %s",
				 text, kinds[fault]);
	}
	capability->cap = (uint32_t)number;
	return 0;
}

/* --- The template --- */

static int parse_leaf(const struct leaf_body *body, struct cpu_template_leaf *leaf,
		      struct error *err)
{
	const struct leaf_register_body *regs = body->modifiers.items;

	leaf->flags = body->flags;
	if (parse_number32(body->leaf, &leaf->leaf, err) < 0 ||
	    parse_number32(body->subleaf, &leaf->subleaf, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < body->modifiers.count; i++) {
		struct cpu_template_bits bits;

		if (parse_bitmap(regs[i].bitmap, 32, &bits, err) < 0) {
			return -1;
		}
		/* Of a register that is there twice, the later bits count. */
		leaf->regs[regs[i].reg].mask |= (uint32_t)bits.mask[0];
		leaf->regs[regs[i].reg].value =
			cpu_template_apply32(leaf->regs[regs[i].reg].value, (uint32_t)bits.mask[0],
					     (uint32_t)bits.value[0]);
	}
	return 0;
}

/* Drops the zeroes that a dump has above the register [compat]. */
static void cut_zeroes(struct cpu_template_bits *bits, unsigned width)
{
	const uint64_t low = width >= 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;

	if (bits->value[1] == 0 && (bits->value[0] & ~low) == 0) {
		bits->mask[0] &= low;
		bits->mask[1] = 0;
	}
}

/* An MSR's number has 32 bits and its value 64; the id of a register of aarch64 tells its size. */
static int parse_register(const struct register_body *body, bool is_msr,
			  enum cpu_template_width width, struct cpu_template_register *reg,
			  struct error *err)
{
	if (parse_number(body->addr, is_msr ? UINT32_MAX : UINT64_MAX, &reg->id, err) < 0 ||
	    parse_bitmap(body->bitmap, is_msr ? 64 : 128, &reg->bits, err) < 0) {
		return -1;
	}
	if (is_msr) {
		return 0;
	}
	/* KVM_REG_SIZE_MASK: the logarithm of its bytes [kvm-api 4.68]. */
	const unsigned log = reg->id >> 52 & 0xf;
	const uint64_t *mask = reg->bits.mask;

	if (log < 2 || log > 4) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Invalid aarch64 register address: %#llx - Only 32, 64 and 128 "
				 "bit wide registers are supported",
				 (unsigned long long)reg->id);
	}
	if (width == CPU_TEMPLATE_DUMPED && log < 4) {
		cut_zeroes(&reg->bits, 8u << log);
	}
	if ((log < 4 && mask[1] != 0) || (log == 2 && mask[0] > UINT32_MAX)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Invalid size of bitmap for register %#llx, should be <= %u bits",
				 (unsigned long long)reg->id, 8u << log);
	}
	return 0;
}

static int parse_feature(const struct feature_body *body, struct cpu_template_feature *feature,
			 struct error *err)
{
	struct cpu_template_bits bits;

	if (parse_bitmap(body->bitmap, 32, &bits, err) < 0) {
		return -1;
	}
	*feature = (struct cpu_template_feature){body->index, (uint32_t)bits.mask[0],
						 (uint32_t)bits.value[0]};
	return 0;
}

static int fill(const struct body *body, enum cpu_template_width width,
		struct cpu_template_block *custom, struct error *err)
{
	char *const *capabilities = body->kvm_capabilities.items;
	const struct leaf_body *leaves = body->cpuid_modifiers.items;
	const struct register_body *msrs = body->msr_modifiers.items;
	const struct register_body *regs = body->reg_modifiers.items;
	const struct feature_body *features = body->vcpu_features.items;

	for (size_t i = 0; i < body->kvm_capabilities.count; i++) {
		if (parse_capability(capabilities[i], &custom->capabilities[i], err) < 0) {
			return -1;
		}
	}
	for (size_t i = 0; i < body->cpuid_modifiers.count; i++) {
		if (parse_leaf(&leaves[i], &custom->leaves[i], err) < 0) {
			return -1;
		}
	}
	for (size_t i = 0; i < custom->bits.register_count; i++) {
		const bool is_msr = body->msr_modifiers.count > 0;

		if (parse_register(is_msr ? &msrs[i] : &regs[i], is_msr, width,
				   &custom->registers[i], err) < 0) {
			return -1;
		}
	}
	for (size_t i = 0; i < body->vcpu_features.count; i++) {
		if (parse_feature(&features[i], &custom->features[i], err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int check_lengths(const struct body *body, struct error *err)
{
	const struct {
		const char *name;
		size_t count;
	} lists[] = {
		{"kvm_capabilities", body->kvm_capabilities.count},
		{"cpuid_modifiers", body->cpuid_modifiers.count},
		{"msr_modifiers", body->msr_modifiers.count},
		{"vcpu_features", body->vcpu_features.count},
		{"reg_modifiers", body->reg_modifiers.count},
	};

	for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
		if (lists[i].count > CPU_TEMPLATE_ITEMS_MAX) {
			return error_set(err, ERR_BAD_REQUEST,
					 "`%s` has %zu items, and at most %d can be", lists[i].name,
					 lists[i].count, CPU_TEMPLATE_ITEMS_MAX);
		}
	}
	return 0;
}

int cpu_template_make(const void *json, enum cpu_template_width width,
		      struct cpu_template_block **made, struct error *err)
{
	const struct body *body = json;
	const struct cpu_template sizes = {
		.capability_count = body->kvm_capabilities.count,
		.leaf_count = body->cpuid_modifiers.count,
		/* A body has the registers of one architecture. */
		.register_count = body->msr_modifiers.count + body->reg_modifiers.count,
		.feature_count = body->vcpu_features.count,
	};
	struct cpu_template_block *custom;

	if (check_lengths(body, err) < 0 || cpu_template_block_new(&sizes, &custom, err) < 0) {
		return -1;
	}
	if (fill(body, width, custom, err) < 0) {
		free(custom);
		return -1;
	}
	*made = custom;
	return 0;
}

int cpu_template_parse(const struct json_value *json, struct cpu_template_block **made,
		       struct error *err)
{
	const struct schema *schema = strcmp(arch_name, "aarch64") == 0
					      ? &cpu_template_aarch64_schema
					      : &cpu_template_x86_64_schema;
	struct body body = {0};
	uint64_t present;
	int result = schema_decode(schema, json, &body, &present, err);

	if (result == 0 && cpu_template_make(&body, CPU_TEMPLATE_DUMPED, made, err) < 0) {
		result = json_fault(err, json->doc);
	}
	schema_free(schema, &body);
	return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of CPUID and of model-specific registers: finds them in their tables, and names them. */
#include "arch/field.h"

#include "cpuid_features.h"
#include "msr.h"
#include "vmm/base/bytes.h"

static bool is_bit(const struct arch_field *field, unsigned bit)
{
	return bit >= field->shift && bit < field->shift + field->width;
}

/* A field that a row has for this subleaf, or for any. */
static bool find_number(const struct arch_register *reg, uint32_t subleaf, unsigned bit,
			struct arch_field *field)
{
	for (size_t i = 0; i < cpuid_field_count; i++) {
		const struct cpuid_field *row = &cpuid_fields[i];

		if (row->leaf != reg->leaf || row->subleaf != subleaf ||
		    (row->reg != CPUID_ANY && row->reg != reg->reg)) {
			continue;
		}
		*field = (struct arch_field){row->shift, row->width, row->name, row->rule};
		if (is_bit(field, bit)) {
			return true;
		}
	}
	return false;
}

static bool find_feature(const struct arch_register *reg, uint32_t subleaf, unsigned bit,
			 struct arch_field *field)
{
	for (size_t i = 0; i < cpuid_feature_count; i++) {
		const struct cpuid_features *row = &cpuid_features[i];

		if (row->leaf == reg->leaf && row->subleaf == subleaf && row->reg == reg->reg) {
			const bool is_inverted = (row->inverted >> bit & 1) != 0;

			*field = (struct arch_field){
				bit, 1, row->names[bit][0] != '\0' ? row->names[bit] : NULL,
				is_inverted ? ARCH_RULE_OR : ARCH_RULE_AND};
			return true;
		}
	}
	return false;
}

/* What is in no table: all bits from one that a row has to the next. */
static struct arch_field gap_at(const struct arch_register *reg, unsigned bit)
{
	struct arch_field gap = {.shift = bit, .width = 1, .rule = ARCH_RULE_LEFT};
	struct arch_field other;

	while (gap.shift > 0 && !find_number(reg, reg->subleaf, gap.shift - 1, &other) &&
	       !find_number(reg, CPUID_ANY, gap.shift - 1, &other)) {
		gap.shift--;
		gap.width++;
	}
	while (gap.shift + gap.width < 32 &&
	       !find_number(reg, reg->subleaf, gap.shift + gap.width, &other) &&
	       !find_number(reg, CPUID_ANY, gap.shift + gap.width, &other)) {
		gap.width++;
	}
	return gap;
}

struct arch_field arch_field_at(const struct arch_register *reg, unsigned bit)
{
	struct arch_field field;

	if (!reg->is_cpuid) {
		return msr_field((uint32_t)reg->id, bit);
	}
	return find_number(reg, reg->subleaf, bit, &field) ||
			       find_feature(reg, reg->subleaf, bit, &field) ||
			       find_number(reg, CPUID_ANY, bit, &field) ||
			       find_feature(reg, CPUID_ANY, bit, &field)
		       ? field
		       : gap_at(reg, bit);
}

void arch_register_add_name(struct text *text, const struct arch_register *reg)
{
	static const char *const regs[] = {"EAX", "EBX", "ECX", "EDX"};

	if (!reg->is_cpuid) {
		msr_add_name(text, (uint32_t)reg->id);
		return;
	}
	text_add(text, "CPUID 0x%x", reg->leaf);
	if (cpuid_has_subleaves(reg->leaf)) {
		text_add(text, ".%u", reg->subleaf);
	}
	text_add(text, " %s", regs[reg->reg]);
}

void arch_field_add_name(struct text *text, const struct arch_register *reg,
			 const struct arch_field *field)
{
	const bool is_whole = field->width == (reg->is_cpuid ? 32 : 64);
	const char *name = field->name;

	if (name != NULL) {
		text_add(text, "%s (", name);
	}
	arch_register_add_name(text, reg);
	if (field->width == 1) {
		text_add(text, " bit %u", field->shift);
	} else if (!is_whole) {
		text_add(text, " bits %u:%u", field->shift + field->width - 1, field->shift);
	}
	text_add(text, "%s", name != NULL ? ")" : "");
}

struct cpuid_vendor cpuid_vendor(uint32_t ebx, uint32_t edx, uint32_t ecx)
{
	struct cpuid_vendor vendor = {{0}};

	store_le32(vendor.name, ebx);
	store_le32(vendor.name + 4, edx);
	store_le32(vendor.name + 8, ecx);
	for (char *c = vendor.name; *c != '\0'; c++) {
		if (*c < ' ' || *c > '~') {
			*c = '?';
		}
	}
	return vendor;
}

void arch_vendor_add_name(struct text *text, const struct cpu_template *dump)
{
	for (size_t i = 0; i < dump->leaf_count; i++) {
		const struct cpu_template_leaf *leaf = &dump->leaves[i];

		if (leaf->leaf == 0) {
			const struct cpuid_vendor vendor = cpuid_vendor(
				leaf->regs[CPUID_EBX].value, leaf->regs[CPUID_EDX].value,
				leaf->regs[CPUID_ECX].value);

			text_add(text, "%s", vendor.name[0] != '\0' ? vendor.name : "unknown");
			return;
		}
	}
	text_add(text, "unknown");
}

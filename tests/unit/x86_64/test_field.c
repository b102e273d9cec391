/* SPDX-License-Identifier: Apache-2.0 */
/* The table of names: what bits of CPUID and of model-specific registers mean. */
#include "arch/field.h"

#include <criterion/criterion.h>
#include <string.h>

#include "cpuid_features.h"
#include "vmm/base/bytes.h"

static char said[160];

static const char *name_at(const struct arch_register *reg, unsigned bit)
{
	const struct arch_field field = arch_field_at(reg, bit);
	struct text text;

	text_init(&text, said, sizeof(said));
	arch_field_add_name(&text, reg, &field);
	return said;
}

Test(field, bits_have_names)
{
	static const struct {
		struct arch_register reg;
		unsigned bit;
		const char *name;
		enum arch_rule rule;
	} cases[] = {
		{{true, 1, 7, 0, 0}, 16, "AVX512F (CPUID 0x7.0 EBX bit 16)", ARCH_RULE_AND},
		{{true, 1, 7, 0, 0}, 13, "ZERO_FCS_FDS (CPUID 0x7.0 EBX bit 13)", ARCH_RULE_OR},
		{{true, 0, 7, 0, 0}, 3, "last subleaf of 0x7 (CPUID 0x7.0 EAX)", ARCH_RULE_MIN},
		{{true, 0, 1, 0, 0},
		 17,
		 "extended model (CPUID 0x1 EAX bits 19:16)",
		 ARCH_RULE_FIRST},
		{{true, 0, 1, 0, 0}, 14, "CPUID 0x1 EAX bits 15:14", ARCH_RULE_LEFT},
		{{true, 0, 1, 0, 0}, 31, "CPUID 0x1 EAX bits 31:28", ARCH_RULE_LEFT},
		{{true, 2, 0xd, 0, 0},
		 9,
		 "size of the whole XSAVE area (CPUID 0xd.0 ECX)",
		 ARCH_RULE_MIN},
		{{true, 0, 0xd, 1, 0}, 3, "XSAVES (CPUID 0xd.1 EAX bit 3)", ARCH_RULE_AND},
		{{true, 0, 0xd, 5, 0},
		 3,
		 "size of a component of the XSAVE area (CPUID 0xd.5 EAX)",
		 ARCH_RULE_LEFT},
		{{true, 1, 0x24, 0, 0},
		 7,
		 "version of AVX10 (CPUID 0x24.0 EBX bits 7:0)",
		 ARCH_RULE_LIMIT},
		{{true, 1, 0x24, 0, 0}, 18, "AVX10/512 (CPUID 0x24.0 EBX bit 18)", ARCH_RULE_AND},
		{{true, 3, 0xb, 1, 0}, 0, "topology (CPUID 0xb.1 EDX)", ARCH_RULE_MACHINE},
		{{true, 3, 0x8000000a, 0, 0},
		 16,
		 "SVM_VGIF (CPUID 0x8000000a EDX bit 16)",
		 ARCH_RULE_AND},
		{{true, 0, 0x99, 0, 0}, 5, "CPUID 0x99 EAX", ARCH_RULE_LEFT},
		{{.id = 0x10a},
		 0,
		 "RDCL_NO (IA32_ARCH_CAPABILITIES (MSR 0x10a) bit 0)",
		 ARCH_RULE_AND},
		{{.id = 0x10a},
		 19,
		 "RRSBA (IA32_ARCH_CAPABILITIES (MSR 0x10a) bit 19)",
		 ARCH_RULE_OR},
		{{.id = 0x10a}, 63, "IA32_ARCH_CAPABILITIES (MSR 0x10a) bit 63", ARCH_RULE_AND},
		{{.id = 0x8b}, 63, "IA32_BIOS_SIGN_ID (MSR 0x8b)", ARCH_RULE_MIN},
		{{.id = 0x406}, 1, "IA32_MC1_ADDR (MSR 0x406)", ARCH_RULE_MACHINE},
		{{.id = 0x20f}, 1, "IA32_MTRR_PHYSMASK7 (MSR 0x20f)", ARCH_RULE_MACHINE},
		{{.id = 0xc0010203}, 1, "MSR_F15H_PERF_CTR1 (MSR 0xc0010203)", ARCH_RULE_MACHINE},
		{{.id = 0x999}, 1, "MSR 0x999", ARCH_RULE_MACHINE},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		cr_expect_str_eq(name_at(&cases[i].reg, cases[i].bit), cases[i].name);
		cr_expect_eq(arch_field_at(&cases[i].reg, cases[i].bit).rule, cases[i].rule, "%s",
			     cases[i].name);
	}
}

static void expect_fields_cover(const struct arch_register *reg, unsigned width)
{
	struct arch_field field;

	for (unsigned bit = 0; bit < width; bit = field.shift + field.width) {
		field = arch_field_at(reg, bit);
		cr_assert(field.width > 0 && field.shift == bit && bit + field.width <= width,
			  "%s: %u bits from %u on", name_at(reg, bit), field.width, field.shift);
	}
}

Test(field, each_bit_is_in_one_field)
{
	for (uint32_t leaf = 0; leaf < 0x30; leaf++) {
		for (unsigned i = 0; i < 4 * 4; i++) {
			const struct arch_register basic = {true, i % 4, leaf, i / 4, 0};
			const struct arch_register extended = {true, i % 4, 0x80000000 + leaf,
							       i / 4, 0};

			expect_fields_cover(&basic, 32);
			expect_fields_cover(&extended, 32);
		}
	}
	for (uint32_t index = 0; index < 0x1000; index++) {
		const struct arch_register low = {.id = index};
		const struct arch_register amd = {.id = 0xc0010000 + index};

		expect_fields_cover(&low, 64);
		expect_fields_cover(&amd, 64);
	}
}

/* A name that is there twice in a register would be a slip; one without an end too. */
Test(field, names_are_told_apart)
{
	for (size_t i = 0; i < cpuid_feature_count; i++) {
		const char(*names)[CPUID_NAME_LEN] = cpuid_features[i].names;

		for (unsigned a = 0; a < 32; a++) {
			cr_expect_lt(strnlen(names[a], CPUID_NAME_LEN), CPUID_NAME_LEN);
			for (unsigned b = a + 1; names[a][0] != '\0' && b < 32; b++) {
				cr_expect(strcmp(names[a], names[b]) != 0, "leaf 0x%x: %s",
					  cpuid_features[i].leaf, names[a]);
			}
		}
	}
	for (size_t i = 0; i < cpuid_field_count; i++) {
		cr_expect_lt(strnlen(cpuid_fields[i].name, CPUID_FIELD_NAME_LEN),
			     CPUID_FIELD_NAME_LEN);
	}
}

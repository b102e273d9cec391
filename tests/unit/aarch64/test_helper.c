/* SPDX-License-Identifier: Apache-2.0 */
/* cpu-template-helper on registers of aarch64, and the names of their fields. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "arch/field.h"
#include "tools/cpu_template_helper/compare.h"
#include "tools/cpu_template_helper/files.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

#define PFR0 UINT64_C(0x603000000013c020)
#define CTR UINT64_C(0x603000000013d801)
#define MIDR UINT64_C(0x603000000013c000)
#define X0 UINT64_C(0x6030000000100000)

static char said[4096];

/* What tests make; freed after each. */
static struct dump dumps[2];
static struct cells made;
static struct file file;

static void clean_up(void)
{
	dump_free(&dumps[0]);
	dump_free(&dumps[1]);
	cells_free(&made);
	file_free(&file);
}

TestSuite(helper, .fini = clean_up);

static FILE *listen(void)
{
	memset(said, 0, sizeof(said));
	return fmemopen(said, sizeof(said) - 1, "w");
}

Test(field, fields_have_names)
{
	static const struct {
		uint64_t id;
		unsigned bit;
		const char *name;
		enum arch_rule rule;
	} cases[] = {
		{PFR0, 33, "SVE (ID_AA64PFR0_EL1 bits 35:32)", ARCH_RULE_MIN},
		{PFR0, 16, "FP (ID_AA64PFR0_EL1 bits 19:16)", ARCH_RULE_SIGNED_MIN},
		{CTR, 28, "IDC and DIC (CTR_EL0 bits 31:28)", ARCH_RULE_AND},
		{CTR, 24, "CWG (CTR_EL0 bits 27:24)", ARCH_RULE_MAX},
		{MIDR, 5, "MIDR_EL1", ARCH_RULE_LEFT},
		{X0, 63, "X0", ARCH_RULE_MACHINE},
		{0x6030000000160000, 0, "TRNG (standard secure services bit 0)", ARCH_RULE_AND},
		{0x603000000013c008, 7, "State1 (ID_PFR0_EL1 bits 7:4)", ARCH_RULE_MIN},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct arch_register reg = {.id = cases[i].id};
		const struct arch_field field = arch_field_at(&reg, cases[i].bit);
		struct text text;

		text_init(&text, said, sizeof(said));
		arch_field_add_name(&text, &reg, &field);
		cr_expect_str_eq(said, cases[i].name);
		cr_expect_eq(field.rule, cases[i].rule, "%s", said);
	}
}

static void make(const struct cpu_template_register *registers, size_t count, const char *path,
		 struct dump *dump)
{
	const struct cpu_template sizes = {.register_count = count};
	struct error err = {0};

	*dump = (struct dump){.path = path};
	cr_assert_eq(cpu_template_block_new(&sizes, &dump->block, &err), 0);
	memcpy(dump->block->registers, registers, count * sizeof(*registers));
	cr_assert_eq(cells_of(&dump->block->bits, &dump->cells, &err), 0);
}

#define WHOLE(its_id, its_value)                                                                   \
	{                                                                                          \
		.id = (its_id), .bits = { {UINT64_MAX}, {its_value} }                              \
	}

/* FP and AdvSIMD are -1 where there are none. */
static const struct cpu_template_register n1[] = {WHOLE(PFR0, 0x0000000000110000),
						  WHOLE(CTR, 0x10000000 | 0x04000004),
						  WHOLE(MIDR, 0x413fd0c1), WHOLE(X0, 7)};
static const struct cpu_template_register v1[] = {WHOLE(PFR0, 0x0001000100ff0000),
						  WHOLE(CTR, 0x20000000 | 0x06000003),
						  WHOLE(MIDR, 0x411fd401), WHOLE(X0, 9)};

Test(helper, common_goes_by_the_rules)
{
	struct error err = {0};
	FILE *out = listen();

	make(n1, ARRAY_COUNT(n1), "n1", &dumps[0]);
	make(v1, ARRAY_COUNT(v1), "v1", &dumps[1]);
	cr_assert_eq(compare_common(dumps, 2, &made, out, &err), 0, "%s", err.msg);
	fclose(out);
	cr_assert_eq(made.count, 2);
	/* By id: PFR0 comes first. */
	cr_expect_eq(made.items[0].bits.mask[0], 0x000f000f00ff0000);
	cr_expect_eq(made.items[0].bits.value[0], 0x0000000000ff0000);
	cr_expect_eq(made.items[1].bits.mask[0], 0xff00000f);
	cr_expect_eq(made.items[1].bits.value[0], 0x06000003);
	cr_expect_str_eq(said, "note: MIDR_EL1 differs, and stays what it is on each host\n");
}

Test(helper, implementers_are_vendors)
{
	static const struct cpu_template_register other[] = {WHOLE(MIDR, 0xc00fac30)};
	struct error err = {0};

	make(n1, ARRAY_COUNT(n1), "n1", &dumps[0]);
	make(other, ARRAY_COUNT(other), "other", &dumps[1]);
	cr_expect_eq(compare_common(dumps, 2, &made, stderr, &err), -1);
	cr_expect_str_eq(err.msg,
			 "No template makes processors of different vendors the same: n1 is "
			 "of implementer 0x41, other of implementer 0xc0");
}

Test(helper, explain_names_fields)
{
	FILE *out = listen();

	make(n1, ARRAY_COUNT(n1), "n1", &dumps[0]);
	make(v1, 2, "v1", &dumps[1]);
	cr_expect_gt(compare_explain(&dumps[0], &dumps[1], out), 4);
	fclose(out);
	cr_expect_neq(strstr(said, "SVE (ID_AA64PFR0_EL1 bits 35:32): 0 in n1, 1 in v1\n"), NULL,
		      "%s", said);
	cr_expect_neq(strstr(said, "MIDR_EL1: only in n1\n"), NULL, "%s", said);
}

/* Firecracker's dumps have 128 bits for each register; its machines take no such template. */
Test(helper, bitmaps_are_as_wide_as_firecrackers)
{
	struct dump *const dump = &dumps[0];
	struct dump *const again = &dumps[1];
	struct error err = {0};

	make(n1, 1, "n1", dump);
	json_t *whole = cells_to_json(&dump->cells, CELLS_DUMP);
	json_t *stripped = cells_to_json(&dump->cells, CELLS_TEMPLATE);
	AUTO_FREE char *text = json_dumps(whole, JSON_COMPACT);
	AUTO_FREE char *stripped_text = json_dumps(stripped, JSON_COMPACT);
	static const char begin[] =
		"{\"kvm_capabilities\":[],\"vcpu_features\":[],\"reg_modifiers\":[{"
		"\"addr\":\"0x603000000013c020\",\"bitmap\":\"0b";

	file.text = strdup(text);
	cr_expect_eq(strncmp(text, begin, strlen(begin)), 0, "%s", text);
	cr_expect_eq(strlen(text), strlen(begin) + 128 + strlen("\"}]}"));
	cr_expect_eq(text[strlen(begin)], '0');
	cr_expect_eq(stripped_text[strlen(begin) + 63], 'x');
	cr_expect_eq(stripped_text[strlen(begin) + 64], '0');
	cr_assert_eq(json_doc_load(file.text, strlen(file.text), "", &file.doc, &err), 0);
	cr_assert_eq(file_to_dump(&file, "x", again, &err), 0, "%s", err.msg);
	cr_expect(cells_equal(&dump->cells, &again->cells));
	json_decref(whole);
	json_decref(stripped);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers of any ids and values: their names, kinds and fields, and what differs.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-plevel 200
 */
#include "tests/eva/kvm_arm.h"

#include "tests/eva/printf.h"
#include "tests/eva/text.h"

#include "arch/aarch64/regs.c"

void main(void)
{
	static struct cpu_template_register one;
	struct cpu_template dump = {.registers = &one, .register_count = any_bool() ? 1 : 0};
	struct arch_register reg;
	struct arch_field field;
	struct reg_name name = reg_name(any_u64());
	struct text text;
	char buf[8];

	text_init(&text, buf, sizeof(buf));
	keep((unsigned char)name.text[0]);
	keep(reg_len(any_u64()));
	keep(reg_is_of_host(any_u64()));
	keep(reg_is_of_make(any_u64()));
	keep(reg_is_counter(any_u64()));
	keep(reg_explain(any_u64(), any_u64(), any_u64(), &text));
	fill(&reg, sizeof(reg));
	field = arch_field_at(&reg, (unsigned)any_u64());
	arch_register_add_name(&text, &reg);
	arch_field_add_name(&text, &reg, &field);
	fill(&one, sizeof(one));
	arch_vendor_add_name(&text, &dump);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest's processor is, as a template: the registers that a state has, but those that change
 * by themselves, or say where the guest begins [compat], and those that no template can name.
 */
#include "arch/template.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/aarch64/kvm_arm.h"
#include "arch/aarch64/regs.h"
#include "arch/aarch64/vcpu_state.h"
#include "arch/state.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

static bool is_in_dump(const struct saved_reg *reg)
{
	return reg->len >= 4 && reg->len <= 16 && !reg_is_counter(reg->id) &&
	       reg->id != KVM_ARM_CORE_REG(regs.pc);
}

static struct cpu_template_register register_of(const struct saved_reg *reg)
{
	struct cpu_template_register made = {.id = reg->id};

	memset(made.bits.mask, 0xff, reg->len);
	memcpy(made.bits.value, reg->value, reg->len);
	return made;
}

static int by_id(const void *a, const void *b)
{
	const uint64_t first = ((const struct cpu_template_register *)a)->id;
	const uint64_t second = ((const struct cpu_template_register *)b)->id;

	return first == second ? 0 : first < second ? -1 : 1;
}

int arch_dump_cpu(const struct arch_vcpu *vcpu, struct cpu_template_block **dump, struct error *err)
{
	AUTO_FREE struct arch_vcpu_state *state = malloc(sizeof(*state));
	struct cpu_template sizes = {0};
	struct saved_reg reg;
	size_t count = 0;

	if (state == NULL) {
		errno = ENOMEM;
		return error_sys(err, "Cannot keep the registers of a vCPU");
	}
	if (arch_vcpu_save(vcpu, state, err) < 0) {
		return -1;
	}
	for (size_t at = 0; saved_reg_next(state, &at, &reg);) {
		sizes.register_count += is_in_dump(&reg) ? 1 : 0;
	}
	if (cpu_template_block_new(&sizes, dump, err) < 0) {
		return -1;
	}
	for (size_t at = 0; saved_reg_next(state, &at, &reg);) {
		if (is_in_dump(&reg)) {
			(*dump)->registers[count++] = register_of(&reg);
		}
	}
	qsort((*dump)->registers, count, sizeof((*dump)->registers[0]), by_id);
	return 0;
}

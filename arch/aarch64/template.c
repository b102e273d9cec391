/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU templates of aarch64.
 *
 * Theory of operation. What a guest finds out about its processor it reads from ID registers, which
 * KVM lets us write: a template says which of their bits are to be what. Optional features of vCPUs
 * (SVE, pointer authentication) are asked for when a vCPU is made.
 *
 * V1N1 is Firecracker's to the bit [compat].
 */
#include "arch/aarch64/template.h"

#include <errno.h>
#include <string.h>

#include "arch/aarch64/kvm_arm.h"
#include "arch/aarch64/regs.h"
#include "arch/template.h"
#include "vmm/base/bytes.h"

/* What a Neoverse V1 has and an N1 lacks. */
static const struct cpu_template_register v1n1_registers[] = {
	/* ID_AA64PFR0_EL1: SVE, DIT */
	{0x603000000013c020, {{0x000f000f00000000}, {0}}},
	/* ID_AA64ISAR0_EL1: SHA3, SM3, SM4, FHM, TS, RNDR; SHA2 as on an N1 */
	{0x603000000013c030, {{0xf0ff0fff0000f000}, {0x1000}}},
	/* ID_AA64ISAR1_EL1: DPB, LRCPC as on an N1; FCMA, JSCVT, BF16, DGH, I8MM */
	{0x603000000013c031, {{0x00fff000000ff00f}, {0x100001}}},
	/* ID_AA64MMFR2_EL1: AT */
	{0x603000000013c03a, {{0x0000000f00000000}, {0}}},
};

static const struct cpu_template v1n1 = {
	.registers = v1n1_registers,
	.register_count = ARRAY_COUNT(v1n1_registers),
};

int arch_find_template(const char *name, const struct cpu_template **cpu_template,
		       struct error *err)
{
	if (strcmp(name, "V1N1") != 0) {
		return error_set(err, ERR_NOT_SUPPORTED, "There is no CPU template `%s`", name);
	}
	*cpu_template = &v1n1;
	return 0;
}

int template_apply_features(const struct cpu_template *cpu_template, struct kvm_vcpu_init *init,
			    struct error *err)
{
	for (size_t i = 0; i < cpu_template->feature_count; i++) {
		const struct cpu_template_feature *change = &cpu_template->features[i];

		if (change->index >= ARRAY_COUNT(init->features)) {
			return error_set(
				err, ERR_BAD_REQUEST,
				"The CPU template changes word %u of a vCPU's features, of "
				"which there are %zu",
				change->index, ARRAY_COUNT(init->features));
		}
		init->features[change->index] = cpu_template_apply32(init->features[change->index],
								     change->mask, change->value);
	}
	return 0;
}

/* Registers have 32, 64 or 128 bits: that was checked when the template came. */
static int change_register(const struct cpu_template_register *change, int vcpu, struct error *err)
{
	uint64_t value[CPU_TEMPLATE_WORDS] = {0};
	const char *done = "read";
	int result = kvm_arm_get_reg_bytes(vcpu, change->id, value, err);

	if (result == 0) {
		done = "change";
		cpu_template_apply(&change->bits, value, CPU_TEMPLATE_WORDS);
		result = kvm_arm_set_reg_bytes(vcpu, change->id, value, err);
	}
	return result == 0
		       ? 0
		       : error_wrap(err, "KVM does not let the CPU template %s register %#llx (%s)",
				    done, (unsigned long long)change->id,
				    reg_name(change->id).text);
}

int template_set_registers(const struct cpu_template *cpu_template, int vcpu, struct error *err)
{
	for (size_t i = 0; i < cpu_template->register_count; i++) {
		if (change_register(&cpu_template->registers[i], vcpu, err) < 0) {
			return -1;
		}
	}
	return 0;
}

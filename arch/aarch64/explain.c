/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells whether a saved vCPU would load here, without a machine for it.
 *
 * Theory of operation. Only KVM knows what it accepts: a value that differs from the host's may be
 * refused by one kernel and taken by the next, which lets ID registers be lowered. So a vCPU of a
 * VM without memory is given the saved registers that show the host, and asked whether it has the
 * others; what it refuses is named.
 */
#include "arch/state.h"

#include "arch/aarch64/kvm_arm.h"
#include "arch/aarch64/regs.h"
#include "arch/aarch64/vcpu_state.h"
#include "vmm/base/fd.h"
#include "vmm/base/kvm.h"

/* A VM with one vCPU as squib makes them. */
struct scratch {
	int vm;
	int vcpu;
	struct kvm_vcpu_init init;
};

static int scratch_init(struct scratch *scratch, int kvm, struct error *err)
{
	AUTO_FD vm = -1;
	AUTO_FD vcpu = -1;

	if (kvm_create_vm(kvm, arch_vm_type(kvm), &vm, err) < 0 ||
	    kvm_create_vcpu(vm, 0, &vcpu, err) < 0 ||
	    kvm_arm_preferred_target(vm, &scratch->init, err) < 0) {
		return -1;
	}
	scratch->init.features[0] |= UINT32_C(1) << KVM_ARM_VCPU_PSCI_0_2;
	if (kvm_arm_vcpu_init(vcpu, &scratch->init, err) < 0) {
		return -1;
	}
	scratch->vm = fd_take(&vm);
	scratch->vcpu = fd_take(&vcpu);
	return 0;
}

static void scratch_destroy(struct scratch *scratch)
{
	fd_close(&scratch->vcpu);
	fd_close(&scratch->vm);
}

unsigned arch_state_explain(int kvm, const struct arch_vcpu_state *state, struct text *lacks)
{
	struct scratch scratch;
	struct error err = {0};
	struct saved_reg reg;
	size_t at = 0;

	if (scratch_init(&scratch, kvm, &err) < 0) {
		text_add(lacks, "a vCPU to compare with (%s)", err.msg);
		return 1;
	}
	unsigned count = saved_features_explain(state, scratch.init.features, lacks);

	while (saved_reg_next(state, &at, &reg)) {
		int result = reg_is_of_host(reg.id)
				     ? saved_reg_load(scratch.vcpu, &reg, lacks, &count, &err)
				     : saved_reg_find(scratch.vcpu, &reg, lacks, &count, &err);

		if (result < 0) {
			text_add(lacks, "%s%s", lacks->len > 0 ? ", " : "", err.msg);
			error_clear(&err);
			count++;
		}
	}
	scratch_destroy(&scratch);
	return count;
}

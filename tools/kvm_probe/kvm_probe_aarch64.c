/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of tools/kvm_probe/probe.c on aarch64: with the MMU off it writes to an address
 * without memory. Here KVM always runs on the processor, so one that runs this runs Linux.
 */
#include "arch/aarch64/kvm_arm.h"
#include "tools/kvm_probe/kvm_probe.h"
#include "vmm/base/bytes.h"

enum {
	DEVICE = 0x40000000,
	PSTATE_EL1H = 0x3c5, /* interrupts masked */
};

const struct gmem_range probe_ram = {.base = {UINT64_C(0x80000000)}, .len = 0x10000};

static const uint32_t code[] = {
	0xd2a80000, /* mov x0, #DEVICE */
	0xb9000001, /* str w1, [x0] */
	0x14000000, /* b . */
};

int probe_load(struct gmem *mem, struct error *err)
{
	if (gmem_write(mem, probe_ram.base, code, sizeof(code)) < 0) {
		return error_set(err, ERR_HOST, "The probe's guest does not fit its memory");
	}
	return 0;
}

int probe_set_registers(int vm, int vcpu, struct error *err)
{
	struct kvm_vcpu_init init;

	if (kvm_arm_preferred_target(vm, &init, err) < 0 ||
	    kvm_arm_vcpu_init(vcpu, &init, err) < 0 ||
	    kvm_arm_set_reg(vcpu, KVM_ARM_CORE_REG(regs.pstate), PSTATE_EL1H, "PSTATE", err) < 0) {
		return -1;
	}
	return kvm_arm_set_reg(vcpu, KVM_ARM_CORE_REG(regs.pc), probe_ram.base.v, "PC", err);
}

enum probe_progress probe_progress(const struct kvm_run *run)
{
	bool is_ours = run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write &&
		       run->mmio.phys_addr == DEVICE;

	return is_ours ? PROBE_ALL : PROBE_FAILED;
}

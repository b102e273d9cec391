/* SPDX-License-Identifier: Apache-2.0 */
/* The aarch64 part of bare_kvm: GICv3 and the registers of a start at EL1. */
#include <asm/ptrace.h>
#include <linux/kvm.h>
#include <stddef.h>

#include "tests/bench/bare.h"

#define RAM UINT64_C(0x80000000)
#define DIST UINT64_C(0x3fff0000)
#define REDIST UINT64_C(0x3ffd0000)

/* A 64-bit core register's number counts 32-bit words of struct kvm_regs [kvm-api 4.68]. */
#define CORE_REG(field)                                                                            \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |                                     \
	 offsetof(struct kvm_regs, field) / sizeof(uint32_t))

const uint64_t bare_ram_base = RAM;

/* mov x1, #0x40000000; strb w2, [x1]: an address without memory */
static const uint8_t code[] = {0x01, 0x00, 0xa8, 0xd2, 0x22, 0x00, 0x00, 0x39};

const struct bare_payload bare_payload = {code, sizeof(code), RAM};

void bare_vm_init(int kvm, int vm)
{
	(void)kvm;
	(void)vm;
}

void bare_vcpu_init(int vm, int vcpu)
{
	struct kvm_vcpu_init init;

	bare_ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init, "KVM_ARM_PREFERRED_TARGET");
	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
	bare_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init, "KVM_ARM_VCPU_INIT");
}

void bare_vm_finish(int vm)
{
	static const uint64_t dist = DIST;
	static const uint64_t redist = REDIST;
	static const uint32_t intids = 128;
	const struct kvm_device_attr attrs[] = {
		{0, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, (uintptr_t)&dist},
		{0, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, (uintptr_t)&redist},
		{0, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, (uintptr_t)&intids},
		{0, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0},
	};
	struct kvm_create_device gic = {.type = KVM_DEV_TYPE_ARM_VGIC_V3};

	bare_ioctl(vm, KVM_CREATE_DEVICE, &gic, "KVM_CREATE_DEVICE (GICv3)");
	for (size_t i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++) {
		bare_ioctl((int)gic.fd, KVM_SET_DEVICE_ATTR, (void *)&attrs[i],
			   "KVM_SET_DEVICE_ATTR (GICv3)");
	}
}

void bare_set_registers(int vcpu)
{
	uint64_t pc = RAM;
	uint64_t pstate = PSR_MODE_EL1h | PSR_D_BIT | PSR_A_BIT | PSR_I_BIT | PSR_F_BIT;
	struct kvm_one_reg regs[] = {
		{CORE_REG(regs.pc), (uintptr_t)&pc},
		{CORE_REG(regs.pstate), (uintptr_t)&pstate},
	};

	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++) {
		bare_ioctl(vcpu, KVM_SET_ONE_REG, &regs[i], "KVM_SET_ONE_REG");
	}
}

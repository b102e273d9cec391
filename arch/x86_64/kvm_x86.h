/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM ioctls that only x86 has, one function each, as vmm/base/kvm.h has the shared ones.
 * Numbers in brackets are sections of the kernel's Documentation/virt/kvm/api.rst.
 */
#ifndef ARCH_X86_64_KVM_X86_H
#define ARCH_X86_64_KVM_X86_H

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	KVM_MSRS_MAX = 16 /* per kvm_set_msrs */
};

/* KVM_SET_TSS_ADDR [4.36]: three unused guest pages from `addr` on, below 4 GiB. */
MUST_CHECK int kvm_set_tss_addr(int vm, uint64_t addr, struct error *err);

/* KVM_CREATE_IRQCHIP [4.24]: PICs, IOAPIC and a LAPIC for each vCPU created from now on. */
MUST_CHECK int kvm_create_irqchip(int vm, struct error *err);

/* KVM_CREATE_PIT2 [4.71] with a port 0x61 that answers without a speaker. After the irqchip. */
MUST_CHECK int kvm_create_pit2(int vm, struct error *err);

/* KVM_GET_SUPPORTED_CPUID [4.46], on the system descriptor. */
MUST_CHECK int kvm_get_supported_cpuid(int kvm, struct cpuid_table *table, struct error *err);

/* KVM_SET_CPUID2 [4.66]. Before any MSR: since Linux 6.13 some exist only by CPUID. */
MUST_CHECK int kvm_set_cpuid2(int vcpu, const struct cpuid_table *table, struct error *err);

/* KVM_SET_MSRS [4.19] of `count` <= KVM_MSRS_MAX; one that KVM refuses is an error naming it. */
MUST_CHECK int kvm_set_msrs(int vcpu, const struct kvm_msr_entry *msrs, size_t count,
			    struct error *err);

/* KVM_GET_SREGS [4.13], KVM_SET_SREGS [4.14] */
MUST_CHECK int kvm_get_sregs(int vcpu, struct kvm_sregs *sregs, struct error *err);
MUST_CHECK int kvm_set_sregs(int vcpu, const struct kvm_sregs *sregs, struct error *err);

/* KVM_GET_REGS [4.11], KVM_SET_REGS [4.12] */
MUST_CHECK int kvm_get_regs(int vcpu, struct kvm_regs *regs, struct error *err);
MUST_CHECK int kvm_set_regs(int vcpu, const struct kvm_regs *regs, struct error *err);

/* KVM_SET_FPU [4.23] */
MUST_CHECK int kvm_set_fpu(int vcpu, const struct kvm_fpu *fpu, struct error *err);

/* KVM_GET_LAPIC [4.57], KVM_SET_LAPIC [4.58] */
MUST_CHECK int kvm_get_lapic(int vcpu, struct kvm_lapic_state *lapic, struct error *err);
MUST_CHECK int kvm_set_lapic(int vcpu, const struct kvm_lapic_state *lapic, struct error *err);

/* KVM_KVMCLOCK_CTRL [4.85]: fails with EINVAL as long as the guest has not set up kvm-clock. */
MUST_CHECK int kvm_kvmclock_ctrl(int vcpu, struct error *err);

#endif

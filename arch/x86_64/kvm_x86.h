/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM ioctls that only x86 has, one function each, as vmm/base/kvm.h has the shared ones.
 * Numbers in brackets are sections of the kernel's Documentation/virt/kvm/api.rst.
 */
#ifndef ARCH_X86_64_KVM_X86_H
#define ARCH_X86_64_KVM_X86_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch_state.h"
#include "layout.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

enum {
	KVM_MSRS_MAX = 64 /* per kvm_get_msrs and kvm_set_msrs */
};

/* KVM_SET_TSS_ADDR [4.36]: three unused guest pages from `addr` on, below 4 GiB. */
MUST_CHECK int kvm_set_tss_addr(int vm, uint64_t addr, struct error *err);

/* KVM_CREATE_IRQCHIP [4.24]: PICs, IOAPIC and a LAPIC for each vCPU created from now on. */
MUST_CHECK int kvm_create_irqchip(int vm, struct error *err);

/*
 * KVM_SET_IRQCHIP [4.27] of both PICs: all inputs masked. KVM leaves them open with vectors from 0
 * on, as if firmware were to come and program them. A kernel on an ACPI machine without them never
 * does, and takes the timer for a fault. After the irqchip.
 */
MUST_CHECK int kvm_mask_pics(int vm, struct error *err);

/* KVM_CREATE_PIT2 [4.71] with a port 0x61 that answers without a speaker. After the irqchip. */
MUST_CHECK int kvm_create_pit2(int vm, struct error *err);

/* KVM_GET_SUPPORTED_CPUID [4.46], on the system descriptor. */
MUST_CHECK int kvm_get_supported_cpuid(int kvm, struct cpuid_table *table, struct error *err);

/* KVM_SET_CPUID2 [4.66]. Before any MSR: since Linux 6.13 some exist only by CPUID. */
MUST_CHECK int kvm_set_cpuid2(int vcpu, const struct cpuid_table *table, struct error *err);

/* KVM_GET_CPUID2 [4.67]: as the guest has it now, with bits that KVM sets by its registers. */
MUST_CHECK int kvm_get_cpuid2(int vcpu, struct cpuid_table *table, struct error *err);

/* KVM_SET_MSRS [4.19] of `count` <= KVM_MSRS_MAX; one that KVM refuses is an error naming it. */
MUST_CHECK int kvm_set_msrs(int vcpu, const struct kvm_msr_entry *msrs, size_t count,
			    struct error *err);

/*
 * As kvm_set_msrs, and KVM_GET_MSRS [4.18], which reads msrs[i].index to msrs[i].data: each stops
 * at the first register that KVM refuses. *done is how many came before it.
 */
MUST_CHECK int kvm_set_msrs_until(int vcpu, const struct kvm_msr_entry *msrs, size_t count,
				  size_t *done, struct error *err);
MUST_CHECK int kvm_get_msrs(int vcpu, struct kvm_msr_entry *msrs, size_t count, size_t *done,
			    struct error *err);

/* KVM_GET_MSR_INDEX_LIST [4.3], on the system descriptor. */
MUST_CHECK int kvm_get_msr_list(int kvm, struct msr_list *list, struct error *err);

/* KVM_GET_SREGS [4.13], KVM_SET_SREGS [4.14] */
MUST_CHECK int kvm_get_sregs(int vcpu, struct kvm_sregs *sregs, struct error *err);
MUST_CHECK int kvm_set_sregs(int vcpu, const struct kvm_sregs *sregs, struct error *err);

/* KVM_GET_REGS [4.11], KVM_SET_REGS [4.12] */
MUST_CHECK int kvm_get_regs(int vcpu, struct kvm_regs *regs, struct error *err);
MUST_CHECK int kvm_set_regs(int vcpu, const struct kvm_regs *regs, struct error *err);

/* KVM_SET_FPU [4.23]; it takes no MXCSR. */
MUST_CHECK int kvm_set_fpu(int vcpu, const struct kvm_fpu *fpu, struct error *err);

/* KVM_GET_LAPIC [4.57], KVM_SET_LAPIC [4.58] */
MUST_CHECK int kvm_get_lapic(int vcpu, struct kvm_lapic_state *lapic, struct error *err);
MUST_CHECK int kvm_set_lapic(int vcpu, const struct kvm_lapic_state *lapic, struct error *err);

/* --- What only saving and loading need --- */

/* KVM_CHECK_EXTENSION [4.4] of what struct kvm_abilities has, on the VM's descriptor. */
struct kvm_abilities kvm_find_abilities(int vm);

/* KVM_GET_SREGS2, KVM_SET_SREGS2 [4.131, 4.132], where kvm_abilities has them */
MUST_CHECK int kvm_get_sregs2(int vcpu, struct kvm_sregs2 *sregs, struct error *err);
MUST_CHECK int kvm_set_sregs2(int vcpu, const struct kvm_sregs2 *sregs, struct error *err);

/*
 * KVM_GET_XSAVE [4.42] or KVM_GET_XSAVE2 [4.134], KVM_SET_XSAVE [4.43]: kvm_abilities.xsave_len
 * bytes. Reading refuses more than STATE_XSAVE_MAX.
 */
MUST_CHECK int kvm_get_xsave(int vcpu, const struct kvm_abilities *can,
			     uint8_t area[STATE_XSAVE_MAX], struct error *err);
MUST_CHECK int kvm_set_xsave(int vcpu, const uint8_t area[STATE_XSAVE_MAX], struct error *err);

/* KVM_GET_XCRS [4.44], KVM_SET_XCRS [4.45] */
MUST_CHECK int kvm_get_xcrs(int vcpu, struct kvm_xcrs *xcrs, struct error *err);
MUST_CHECK int kvm_set_xcrs(int vcpu, const struct kvm_xcrs *xcrs, struct error *err);

/* KVM_GET_DEBUGREGS [4.33], KVM_SET_DEBUGREGS [4.34] */
MUST_CHECK int kvm_get_debugregs(int vcpu, struct kvm_debugregs *regs, struct error *err);
MUST_CHECK int kvm_set_debugregs(int vcpu, const struct kvm_debugregs *regs, struct error *err);

/* KVM_GET_MP_STATE [4.38], KVM_SET_MP_STATE [4.39]: KVM_MP_STATE_* */
MUST_CHECK int kvm_get_mp_state(int vcpu, uint32_t *state, struct error *err);
MUST_CHECK int kvm_set_mp_state(int vcpu, uint32_t state, struct error *err);

/* KVM_GET_VCPU_EVENTS [4.31], KVM_SET_VCPU_EVENTS [4.32] */
MUST_CHECK int kvm_get_vcpu_events(int vcpu, struct kvm_vcpu_events *events, struct error *err);
MUST_CHECK int kvm_set_vcpu_events(int vcpu, const struct kvm_vcpu_events *events,
				   struct error *err);

/* KVM_GET_TSC_KHZ [4.56] (fails if unstable; of a VM since Linux 5.18), KVM_SET_TSC_KHZ [4.55] */
MUST_CHECK int kvm_get_tsc_khz(int fd, uint32_t *khz, struct error *err);
MUST_CHECK int kvm_set_tsc_khz(int vcpu, uint32_t khz, struct error *err);

/*
 * KVM_GET_DEVICE_ATTR, KVM_SET_DEVICE_ATTR [4.80, 4.79] of KVM_VCPU_TSC_OFFSET, since Linux 5.16:
 * what is added to the host's TSC, scaled, to get the guest's.
 */
MUST_CHECK int kvm_get_tsc_offset(int vcpu, uint64_t *offset, struct error *err);
MUST_CHECK int kvm_set_tsc_offset(int vcpu, uint64_t offset, struct error *err);

/* KVM_GET_ONE_REG [4.69], KVM_SET_ONE_REG [4.68] of 64 bits; on x86 since Linux 6.18 */
MUST_CHECK int kvm_get_reg(int vcpu, uint64_t id, uint64_t *value, struct error *err);
MUST_CHECK int kvm_set_reg(int vcpu, uint64_t id, uint64_t value, struct error *err);

/* KVM_GET_IRQCHIP [4.26], KVM_SET_IRQCHIP [4.27] of chip->chip_id: KVM_IRQCHIP_* */
MUST_CHECK int kvm_get_irqchip(int vm, struct kvm_irqchip *chip, struct error *err);
MUST_CHECK int kvm_set_irqchip(int vm, const struct kvm_irqchip *chip, struct error *err);

/* KVM_GET_PIT2 [4.72], KVM_SET_PIT2 [4.73] */
MUST_CHECK int kvm_get_pit2(int vm, struct kvm_pit_state2 *pit, struct error *err);
MUST_CHECK int kvm_set_pit2(int vm, const struct kvm_pit_state2 *pit, struct error *err);

/* KVM_GET_CLOCK [4.29], KVM_SET_CLOCK [4.30] */
MUST_CHECK int kvm_get_clock(int vm, struct kvm_clock_data *clock, struct error *err);
MUST_CHECK int kvm_set_clock(int vm, const struct kvm_clock_data *clock, struct error *err);

/* --- While it runs --- */

/* KVM_TRANSLATE [4.15] by the guest's tables, as they are now; false: they have no such page. */
bool kvm_translate(int vcpu, uint64_t address, gpa_t *gpa);

/* KVM_KVMCLOCK_CTRL [4.85]: fails with EINVAL as long as the guest has not set up kvm-clock. */
MUST_CHECK int kvm_kvmclock_ctrl(int vcpu, struct error *err);

#endif

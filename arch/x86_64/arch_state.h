/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What KVM keeps of an x86_64 machine. KVM's own structs are the kernel's ABI and never change, so
 * they stand here as they are; state_codec.c names their fields.
 */
#ifndef ARCH_X86_64_ARCH_STATE_H
#define ARCH_X86_64_ARCH_STATE_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

enum {
	STATE_PICS = 2,		     /* master, slave */
	STATE_XSAVE_MIN = 4096,	     /* what each KVM has */
	STATE_XSAVE_MAX = 16 * 1024, /* with AMX it is 11 KiB */
	STATE_MSRS_MAX = MSR_LIST_MAX,
};

struct arch_vm_state {
	struct kvm_pic_state pics[STATE_PICS];
	struct kvm_ioapic_state ioapic;
	struct kvm_pit_state2 pit;
	struct kvm_clock_data clock; /* realtime is valid where flags has KVM_CLOCK_REALTIME */
};

struct arch_msr {
	uint32_t index;
	uint64_t value;
};

struct arch_vcpu_state {
	uint32_t mp_state; /* KVM_MP_STATE_* */
	uint32_t tsc_khz;  /* 0: the host did not tell */
	bool has_tsc_offset;
	uint64_t tsc_offset; /* from the host's TSC to the guest's, modulo 2^64 */
	struct kvm_regs regs;
	struct kvm_sregs2 sregs; /* of a KVM without KVM_CAP_SREGS2 too: then its flags are 0 */
	uint32_t xcr_count;
	uint32_t xcr_flags;
	struct kvm_xcr xcrs[KVM_MAX_XCRS];
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	bool has_ssp; /* the guest's CPUID has shadow stacks */
	uint64_t ssp; /* the shadow stack's pointer */
	struct kvm_lapic_state lapic;
	uint32_t xsave_len;
	uint8_t xsave[STATE_XSAVE_MAX];
	struct cpuid_table cpuid;
	uint32_t msr_count;
	struct arch_msr msrs[STATE_MSRS_MAX];
};

#endif

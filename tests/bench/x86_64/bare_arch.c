/* SPDX-License-Identifier: Apache-2.0 */
/* The x86_64 part of bare_kvm: irqchip, PIT, CPUID, the registers of a start in real mode. */
#include <linux/kvm.h>

#include "tests/bench/bare.h"

enum {
	CPUID_ENTRIES = 256,
	MSR_COUNT = 11, /* as many as a monitor sets for Linux */
	PAYLOAD = 0x200000,
};

const uint64_t bare_ram_base = 0;

/* out %al, $0x64 */
static const uint8_t code[] = {0xe6, 0x64, 0xf4};

const struct bare_payload bare_payload = {code, sizeof(code), PAYLOAD};

/* A kvm_cpuid2 with its entries. */
static struct {
	uint32_t count;
	uint32_t padding;
	struct kvm_cpuid_entry2 entry[CPUID_ENTRIES];
} cpuid = {.count = CPUID_ENTRIES};

void bare_vm_init(int kvm, int vm)
{
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};

	bare_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid, "KVM_GET_SUPPORTED_CPUID");
	/* Any three pages outside RAM, for processors that can't run real mode by themselves. */
	bare_ioctl(vm, KVM_SET_TSS_ADDR, (void *)0xfffbd000, "KVM_SET_TSS_ADDR");
	bare_ioctl(vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
	bare_ioctl(vm, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2");
}

void bare_vcpu_init(int vm, int vcpu)
{
	/*
	 * A kvm_msrs with its entries: SYSENTER's and SYSCALL's registers, the TSC, what is
	 * enabled, memory types.
	 */
	static struct {
		uint32_t count;
		uint32_t padding;
		struct kvm_msr_entry entry[MSR_COUNT];
	} msrs = {
		.count = MSR_COUNT,
		.entry = {{.index = 0x174},
			  {.index = 0x175},
			  {.index = 0x176},
			  {.index = 0xc0000081},
			  {.index = 0xc0000082},
			  {.index = 0xc0000083},
			  {.index = 0xc0000084},
			  {.index = 0xc0000102},
			  {.index = 0x10},
			  {.index = 0x1a0, .data = 1},
			  {.index = 0x2ff, .data = 0x806}},
	};
	struct kvm_fpu fpu = {.fcw = 0x37f, .mxcsr = 0x1f80};
	struct kvm_lapic_state lapic;

	(void)vm;
	bare_ioctl(vcpu, KVM_SET_CPUID2, &cpuid, "KVM_SET_CPUID2");
	bare_ioctl(vcpu, KVM_SET_MSRS, &msrs, "KVM_SET_MSRS");
	bare_ioctl(vcpu, KVM_SET_FPU, &fpu, "KVM_SET_FPU");
	bare_ioctl(vcpu, KVM_GET_LAPIC, &lapic, "KVM_GET_LAPIC");
	bare_ioctl(vcpu, KVM_SET_LAPIC, &lapic, "KVM_SET_LAPIC");
}

void bare_vm_finish(int vm)
{
	(void)vm;
}

/* 32-bit flat mode without paging, as a PVH kernel is entered. */
void bare_set_registers(int vcpu)
{
	const struct kvm_segment flat = {
		.limit = 0xffffffff,
		.selector = 0x10,
		.type = 3,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
	struct kvm_regs regs = {.rip = PAYLOAD, .rflags = 2};
	struct kvm_sregs sregs;

	bare_ioctl(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	sregs.cr0 |= 1;
	sregs.ds = sregs.es = sregs.ss = flat;
	sregs.cs = flat;
	sregs.cs.selector = 8;
	sregs.cs.type = 11;
	bare_ioctl(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
	bare_ioctl(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

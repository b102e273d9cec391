/* SPDX-License-Identifier: Apache-2.0 */
/* One vCPU: CPUID, MSRs, FPU and LAPIC before boot, and the words for why it can't go on. */
#include "arch/boot.h"
#include "cpuid.h"
#include "kvm_x86.h"
#include "msr.h"
#include "regs.h"
#include "template.h"
#include "vmm/base/bytes.h"
#include "vmm/base/text.h"

/* --- Building the machine --- */

/* The local APIC's registers for its two pins [intel-sdm vol. 3, 11.5.1]. */
enum {
	LAPIC_LVT_LINT0 = 0x350,
	LAPIC_LVT_LINT1 = 0x360,
	LVT_DELIVERY_MASK = 7 << 8,
	LVT_DELIVERY_NMI = 4 << 8,
	LVT_DELIVERY_EXTINT = 7 << 8,
};

static void set_delivery(struct kvm_lapic_state *lapic, unsigned reg, uint32_t delivery)
{
	const uint32_t old = load_le32(lapic->regs + reg);

	store_le32(lapic->regs + reg, (old & ~(uint32_t)LVT_DELIVERY_MASK) | delivery);
}

/* The wiring that the MPTable tells of: the PICs at LINT0, NMI at LINT1. */
static int set_lapic_pins(int fd, struct error *err)
{
	struct kvm_lapic_state lapic = {0};

	if (kvm_get_lapic(fd, &lapic, err) != 0) {
		return -1;
	}
	set_delivery(&lapic, LAPIC_LVT_LINT0, LVT_DELIVERY_EXTINT);
	set_delivery(&lapic, LAPIC_LVT_LINT1, LVT_DELIVERY_NMI);
	return kvm_set_lapic(fd, &lapic, err);
}

int arch_vcpu_init(struct arch_vcpu *vcpu, struct arch_vm *vm, int fd, unsigned index,
		   struct error *err)
{
	/* As FNINIT leaves it: all exceptions masked, for the FPU and for SSE. */
	static const struct kvm_fpu fpu = {.fcw = 0x37f, .mxcsr = 0x1f80};
	size_t msr_count;
	const struct kvm_msr_entry *msrs = msr_boot(&msr_count);

	*vcpu = (struct arch_vcpu){
		.fd = fd,
		.vm = vm,
		.index = index,
		.is_interpreted = vm->is_interpreted,
	};
	if (vm->is_loaded) {
		return 0; /* all that it is comes with arch_vcpu_load */
	}
	cpuid_set_vcpu(&vm->cpuid, vm->smt, index);
	/* Before the MSRs, some of which exist only if CPUID says so. */
	if (kvm_set_cpuid2(fd, &vm->cpuid, err) != 0) {
		return -1;
	}
	if (vm->cpu_template != NULL && template_set_msrs(vm->cpu_template, fd, err) != 0) {
		return -1;
	}
	if (kvm_set_msrs(fd, msrs, msr_count, err) != 0) {
		return -1;
	}
	if (kvm_set_fpu(fd, &fpu, err) != 0) {
		return -1;
	}
	return set_lapic_pins(fd, err);
}

int arch_vcpu_set_boot_state(struct arch_vcpu *vcpu, const struct boot_info *boot,
			     struct error *err)
{
	if (vcpu->index != 0) {
		/* KVM keeps it waiting for INIT and SIPI, which set all that we could. */
		return 0;
	}

	struct kvm_sregs sregs;

	if (kvm_get_sregs(vcpu->fd, &sregs, err) != 0) {
		return -1;
	}
	regs_set_system(&sregs, boot->protocol);
	if (kvm_set_sregs(vcpu->fd, &sregs, err) != 0) {
		return -1;
	}

	const struct kvm_regs regs = regs_general(boot);

	return kvm_set_regs(vcpu->fd, &regs, err);
}

/* --- While it runs --- */

int arch_vcpu_note_pause(struct arch_vcpu *vcpu, struct error *err)
{
	return kvm_kvmclock_ctrl(vcpu->fd, err);
}

/* Where an AMD processor's guest is after KVM reset it because of a triple fault. */
#define RESET_RIP UINT64_C(0xfff0)

static void add_rip(const struct arch_vcpu *vcpu, struct text *text)
{
	struct error ignored = {0};
	struct kvm_regs regs;

	if (kvm_get_regs(vcpu->fd, &regs, &ignored) != 0) {
		text_add(text, " at an address that KVM doesn't tell");
	} else if (regs.rip == RESET_RIP) {
		text_add(text, " (KVM has reset the vCPU, so where is not known)");
	} else {
		text_add(text, " at rip 0x%llx", regs.rip);
	}
}

static void add_instruction(const struct kvm_run *run, struct text *text)
{
	/* Flags are one of KVM's 64-bit data words, the size and bytes two more [5]. */
	enum {
		DATA_WITH_BYTES = 3
	};

	if (run->exit_reason != KVM_EXIT_INTERNAL_ERROR ||
	    run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION ||
	    run->emulation_failure.ndata < DATA_WITH_BYTES ||
	    (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) ==
		    0) {
		return;
	}

	const size_t size = min_u64(run->emulation_failure.insn_size,
				    sizeof(run->emulation_failure.insn_bytes));

	text_add(text, ", bytes");
	for (size_t i = 0; i < size; i++) {
		text_add(text, " %02x", run->emulation_failure.insn_bytes[i]);
	}
}

static void describe_reason(const struct kvm_run *run, struct text *text)
{
	switch (run->exit_reason) {
	case KVM_EXIT_INTERNAL_ERROR:
		if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
			text_add(text, "KVM can't emulate the guest's instruction");
		} else {
			text_add(text, "KVM reports internal error %u", run->internal.suberror);
		}
		break;
	case KVM_EXIT_SHUTDOWN:
		text_add(text, "the guest triple-faulted");
		break;
	case KVM_EXIT_FAIL_ENTRY:
		text_add(text, "the processor refuses to enter the guest (hardware reason 0x%llx)",
			 run->fail_entry.hardware_entry_failure_reason);
		break;
	default:
		text_add(text, "KVM returned with unknown exit reason %u", run->exit_reason);
		break;
	}
}

void arch_vcpu_describe_exit(const struct arch_vcpu *vcpu, const struct kvm_run *run,
			     struct text *text)
{
	describe_reason(run, text);
	add_rip(vcpu, text);
	add_instruction(run, text);
	if (vcpu->is_interpreted) {
		text_add(text, "; this host's KVM (neither kvm_intel nor kvm_amd) interprets "
			       "guest instructions rather than running them on hardware, and "
			       "can't run Linux");
	}
}

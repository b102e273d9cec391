/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual CPU: its features, its registers at the first instruction, and why it stopped.
 *
 * Theory of operation. Only vCPU 0 runs at first; the others are powered off until the guest calls
 * PSCI CPU_ON, which KVM answers itself. KVM_ARM_VCPU_INIT resets all registers to the
 * architecture's values, so only those that the boot protocol names are set after it.
 */
#include <string.h>

#include "arch/arch.h"
#include "arch/boot.h"
#include "arch/state.h"

#include "arch/aarch64/boot.h"
#include "arch/aarch64/kvm_arm.h"
#include "arch/aarch64/pvtime.h"
#include "arch/aarch64/template.h"
#include "vmm/base/bytes.h"
#include "vmm/base/text.h"

_Static_assert((int)ARCH_AARCH64_VCPUS_MAX == (int)ARCH_VCPUS_MAX, "arch_vm has a slot per vCPU");

/* --- Building the machine --- */

/* EL1 with its own stack pointer; debug, SError, IRQ and FIQ masked [linux-arm64-boot 4]. */
static const uint64_t boot_pstate = PSR_MODE_EL1h | PSR_D_BIT | PSR_A_BIT | PSR_I_BIT | PSR_F_BIT;

/* What a state file may ask for, beside what all vCPUs have: SVE, pointer authentication. */
#define LOADED_FEATURES                                                                            \
	(UINT32_C(1) << KVM_ARM_VCPU_SVE | UINT32_C(1) << KVM_ARM_VCPU_PTRAUTH_ADDRESS |           \
	 UINT32_C(1) << KVM_ARM_VCPU_PTRAUTH_GENERIC)

/*
 * As the vCPU was made that is loaded. Where this host can't, it is made without, and its load says
 * which features are missing.
 */
static int make_loaded(int fd, struct kvm_vcpu_init *init, const struct arch_vcpu_state *saved,
		       struct error *err)
{
	const struct kvm_vcpu_init plain = *init;

	init->features[0] |= saved->features[0] & LOADED_FEATURES;
	if (kvm_arm_vcpu_init(fd, init, err) == 0) {
		return 0;
	}
	error_clear(err);
	*init = plain;
	return kvm_arm_vcpu_init(fd, init, err);
}

static int make(int fd, const struct kvm_vcpu_init *init, const struct arch_vm *vm,
		struct error *err)
{
	if (kvm_arm_vcpu_init(fd, init, err) < 0) {
		return -1;
	}
	if ((init->features[0] & UINT32_C(1) << KVM_ARM_VCPU_SVE) != 0 &&
	    kvm_arm_vcpu_finalize(fd, KVM_ARM_VCPU_SVE, err) < 0) {
		return -1;
	}
	return vm->cpu_template != NULL ? template_set_registers(vm->cpu_template, fd, err) : 0;
}

int arch_vcpu_init(struct arch_vcpu *vcpu, struct arch_vm *vm, int fd, unsigned index,
		   struct error *err)
{
	struct kvm_vcpu_init init;

	if (kvm_arm_preferred_target(vm->fd, &init, err) < 0) {
		return -1;
	}
	init.features[0] |= UINT32_C(1) << KVM_ARM_VCPU_PSCI_0_2;
	if (index > 0) {
		init.features[0] |= UINT32_C(1) << KVM_ARM_VCPU_POWER_OFF;
	}
	if (vm->cpu_template != NULL && template_apply_features(vm->cpu_template, &init, err) < 0) {
		return -1;
	}
	if ((vm->saved != NULL ? make_loaded(fd, &init, &vm->saved[index], err)
			       : make(fd, &init, vm, err)) < 0 ||
	    kvm_arm_get_reg(fd, KVM_ARM_MPIDR_EL1, &vm->mpidr[index], "MPIDR_EL1", err) < 0) {
		return -1;
	}
	*vcpu = (struct arch_vcpu){
		.fd = fd,
		.index = index,
		.has_counter_offset = vm->has_counter_offset,
		.has_vcpu_events = vm->has_vcpu_events,
		.has_steal_time = vm->has_steal_time,
		.mpidr = vm->mpidr[index],
		.init = {.target = init.target},
	};
	_Static_assert(sizeof(vcpu->init.features) == sizeof(init.features), "all words");
	memcpy(vcpu->init.features, init.features, sizeof(init.features));
	if (!vm->is_loaded) {
		pvtime_init(vcpu, pvtime_place(vm->vcpu_count, index));
	}
	return 0;
}

int arch_vcpu_set_boot_state(struct arch_vcpu *vcpu, const struct boot_info *boot,
			     struct error *err)
{
	const struct {
		uint64_t id;
		uint64_t value;
		const char *name;
		bool is_skipped;
	} regs[] = {
		{KVM_ARM_CORE_REG(regs.pstate), boot_pstate, "PSTATE", false},
		{KVM_ARM_CORE_REG(regs.pc), boot->entry.v, "PC", false},
		{KVM_ARM_CORE_REG(regs.regs[0]), boot_fdt_address(boot).v, "X0", false},
		/*
		 * The physical counter is the host's unless KVM can shift it: how long the host
		 * has been up is none of the guest's business. One offset serves all vCPUs.
		 */
		{KVM_REG_ARM_PTIMER_CNT, 0, "CNTPCT_EL0", !vcpu->has_counter_offset},
	};

	if (vcpu->index > 0) {
		return 0;
	}
	for (size_t i = 0; i < ARRAY_COUNT(regs); i++) {
		if (!regs[i].is_skipped &&
		    kvm_arm_set_reg(vcpu->fd, regs[i].id, regs[i].value, regs[i].name, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* --- While it runs --- */

int arch_vcpu_note_pause(struct arch_vcpu *vcpu, struct error *err)
{
	/* The architected counter never stops, and it is the only clock of the guest. */
	(void)vcpu;
	(void)err;
	return 0;
}

static void describe_reason(const struct kvm_run *run, struct text *text)
{
	switch (run->exit_reason) {
	case KVM_EXIT_ARM_NISV:
		text_add(text,
			 "the guest accessed %#llx, where no memory is, with an instruction that "
			 "the "
			 "processor does not decode for the host (syndrome %#llx)",
			 (unsigned long long)run->arm_nisv.fault_ipa,
			 (unsigned long long)run->arm_nisv.esr_iss);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		if (run->fail_entry.hardware_entry_failure_reason ==
		    KVM_EXIT_FAIL_ENTRY_CPU_UNSUPPORTED) {
			text_add(text,
				 "the host's CPU %u is of a kind that cannot run it; keep squib's "
				 "threads on CPUs of one kind",
				 run->fail_entry.cpu);
			break;
		}
		text_add(text, "the host's CPU %u refused to enter the guest, reason %#llx",
			 run->fail_entry.cpu,
			 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		text_add(text, "the host's KVM failed internally, suberror %u",
			 run->internal.suberror);
		break;
	default:
		text_add(text, "the host's KVM gave exit reason %u, which squib does not know",
			 run->exit_reason);
		break;
	}
}

void arch_vcpu_describe_exit(const struct arch_vcpu *vcpu, const struct kvm_run *run,
			     struct text *text)
{
	const struct {
		uint64_t id;
		const char *name;
	} regs[] = {
		{KVM_ARM_CORE_REG(regs.pc), "PC"},
		/* What the guest's last own exception was: a hint where its handler is stuck. */
		{KVM_ARM_ESR_EL1, "ESR_EL1"},
	};

	const char *separator = "; ";

	describe_reason(run, text);
	for (size_t i = 0; i < ARRAY_COUNT(regs); i++) {
		struct error ignored = {0};
		uint64_t value;

		/* If a register can't be read, the reason is still reported. */
		if (kvm_arm_get_reg(vcpu->fd, regs[i].id, &value, regs[i].name, &ignored) == 0) {
			text_add(text, "%s%s %#llx", separator, regs[i].name,
				 (unsigned long long)value);
			separator = ", ";
		}
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual CPU: its features, its registers at the first instruction, and why it stopped.
 *
 * Theory of operation. Only vCPU 0 runs at first; the others are powered off until the guest calls
 * PSCI CPU_ON, which KVM answers itself. KVM_ARM_VCPU_INIT resets all registers to the
 * architecture's values, so only those that the boot protocol names are set after it.
 */
#include "arch/arch.h"
#include "arch/boot.h"

#include <stdarg.h>
#include <stdio.h>

#include "arch/aarch64/boot.h"
#include "arch/aarch64/kvm_arm.h"
#include "vmm/base/bytes.h"

_Static_assert((int)ARCH_AARCH64_VCPUS_MAX == (int)ARCH_VCPUS_MAX, "arch_vm has a slot per vCPU");

/* EL1 with its own stack pointer; debug, SError, IRQ and FIQ masked [linux-arm64-boot 4]. */
static const uint64_t boot_pstate = PSR_MODE_EL1h | PSR_D_BIT | PSR_A_BIT | PSR_I_BIT | PSR_F_BIT;

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
	if (kvm_arm_vcpu_init(fd, &init, err) < 0 ||
	    kvm_arm_get_reg(fd, KVM_ARM_MPIDR_EL1, &vm->mpidr[index], "MPIDR_EL1", err) < 0) {
		return -1;
	}
	*vcpu = (struct arch_vcpu){
		.fd = fd,
		.index = index,
		.has_counter_offset = vm->has_counter_offset,
	};
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

int arch_vcpu_note_pause(struct arch_vcpu *vcpu, struct error *err)
{
	/* The architected counter runs on, and guests know no other clock. */
	(void)vcpu;
	(void)err;
	return 0;
}

/* Appends to a text that may be full already. */
PRINTF(3, 4) static void append(char *buf, size_t len, const char *fmt, ...)
{
	size_t used = strnlen(buf, len);
	va_list args;

	va_start(args, fmt);
	vsnprintf(buf + used, len - used, fmt, args);
	va_end(args);
}

static void describe_reason(const struct kvm_run *run, char *buf, size_t len)
{
	switch (run->exit_reason) {
	case KVM_EXIT_ARM_NISV:
		append(buf, len,
		       "the guest accessed %#llx, where no memory is, with an instruction that the "
		       "processor does not decode for the host (syndrome %#llx)",
		       (unsigned long long)run->arm_nisv.fault_ipa,
		       (unsigned long long)run->arm_nisv.esr_iss);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		if (run->fail_entry.hardware_entry_failure_reason ==
		    KVM_EXIT_FAIL_ENTRY_CPU_UNSUPPORTED) {
			append(buf, len,
			       "the host's CPU %u is of a kind that cannot run it; keep squib's "
			       "threads on CPUs of one kind",
			       run->fail_entry.cpu);
			break;
		}
		append(buf, len, "the host's CPU %u refused to enter the guest, reason %#llx",
		       run->fail_entry.cpu,
		       (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		append(buf, len, "the host's KVM failed internally, suberror %u",
		       run->internal.suberror);
		break;
	default:
		append(buf, len, "the host's KVM gave exit reason %u, which squib does not know",
		       run->exit_reason);
		break;
	}
}

void arch_vcpu_describe_exit(const struct arch_vcpu *vcpu, const struct kvm_run *run, char *buf,
			     size_t len)
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

	if (len == 0) {
		return;
	}
	buf[0] = '\0';
	describe_reason(run, buf, len);
	for (size_t i = 0; i < ARRAY_COUNT(regs); i++) {
		struct error ignored = {0};
		uint64_t value;

		/* A register that cannot be read must not hide the reason. */
		if (kvm_arm_get_reg(vcpu->fd, regs[i].id, &value, regs[i].name, &ignored) == 0) {
			append(buf, len, "%s%s %#llx", separator, regs[i].name,
			       (unsigned long long)value);
			separator = ", ";
		}
	}
}

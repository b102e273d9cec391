/* SPDX-License-Identifier: Apache-2.0 */
/* Typed wrappers of the KVM ioctls that only x86 has. */
#include "kvm_x86.h"

#include <assert.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/kvm.h"

static_assert(offsetof(struct cpuid_table, entry) == offsetof(struct kvm_cpuid2, entries),
	      "cpuid_table is handed to KVM as a kvm_cpuid2");

int kvm_set_tss_addr(int vm, uint64_t addr, struct error *err)
{
	return kvm_call_value(vm, KVM_SET_TSS_ADDR, addr, "KVM_SET_TSS_ADDR", err);
}

int kvm_create_irqchip(int vm, struct error *err)
{
	return kvm_call_value(vm, KVM_CREATE_IRQCHIP, 0, "KVM_CREATE_IRQCHIP", err);
}

int kvm_create_pit2(int vm, struct error *err)
{
	struct kvm_pit_config config = {.flags = KVM_PIT_SPEAKER_DUMMY};

	return kvm_call(vm, KVM_CREATE_PIT2, &config, "KVM_CREATE_PIT2", err);
}

int kvm_get_supported_cpuid(int kvm, struct cpuid_table *table, struct error *err)
{
	table->count = CPUID_ENTRIES_MAX;
	return kvm_call(kvm, KVM_GET_SUPPORTED_CPUID, table, "KVM_GET_SUPPORTED_CPUID", err);
}

int kvm_set_cpuid2(int vcpu, const struct cpuid_table *table, struct error *err)
{
	return kvm_call(vcpu, KVM_SET_CPUID2, (void *)table, "KVM_SET_CPUID2", err);
}

int kvm_set_msrs(int vcpu, const struct kvm_msr_entry *msrs, size_t count, struct error *err)
{
	struct {
		uint32_t count;
		uint32_t padding;
		struct kvm_msr_entry entry[KVM_MSRS_MAX];
	} list = {.count = (uint32_t)count};
	int done;

	static_assert(offsetof(typeof(list), entry) == offsetof(struct kvm_msrs, entries),
		      "the list is handed to KVM as a kvm_msrs");
	assert(count <= KVM_MSRS_MAX);
	memcpy(list.entry, msrs, count * sizeof(*msrs));
	if (kvm_call_result(vcpu, KVM_SET_MSRS, &list, "KVM_SET_MSRS", &done, err) != 0) {
		return -1;
	}
	if ((size_t)done < count) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "KVM refused to set model-specific register 0x%x to 0x%llx",
				 msrs[done].index, msrs[done].data);
	}
	return 0;
}

int kvm_get_sregs(int vcpu, struct kvm_sregs *sregs, struct error *err)
{
	return kvm_call(vcpu, KVM_GET_SREGS, sregs, "KVM_GET_SREGS", err);
}

int kvm_set_sregs(int vcpu, const struct kvm_sregs *sregs, struct error *err)
{
	return kvm_call(vcpu, KVM_SET_SREGS, (void *)sregs, "KVM_SET_SREGS", err);
}

int kvm_get_regs(int vcpu, struct kvm_regs *regs, struct error *err)
{
	return kvm_call(vcpu, KVM_GET_REGS, regs, "KVM_GET_REGS", err);
}

int kvm_set_regs(int vcpu, const struct kvm_regs *regs, struct error *err)
{
	return kvm_call(vcpu, KVM_SET_REGS, (void *)regs, "KVM_SET_REGS", err);
}

int kvm_set_fpu(int vcpu, const struct kvm_fpu *fpu, struct error *err)
{
	return kvm_call(vcpu, KVM_SET_FPU, (void *)fpu, "KVM_SET_FPU", err);
}

int kvm_get_lapic(int vcpu, struct kvm_lapic_state *lapic, struct error *err)
{
	return kvm_call(vcpu, KVM_GET_LAPIC, lapic, "KVM_GET_LAPIC", err);
}

int kvm_set_lapic(int vcpu, const struct kvm_lapic_state *lapic, struct error *err)
{
	return kvm_call(vcpu, KVM_SET_LAPIC, (void *)lapic, "KVM_SET_LAPIC", err);
}

int kvm_kvmclock_ctrl(int vcpu, struct error *err)
{
	return kvm_call(vcpu, KVM_KVMCLOCK_CTRL, NULL, "KVM_KVMCLOCK_CTRL", err);
}

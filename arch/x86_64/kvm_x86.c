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

int kvm_mask_pics(int vm, struct error *err)
{
	/* Which inputs may be level-triggered: not the timer, keyboard, cascade, clock and FPU. */
	static const uint8_t elcr_masks[] = {
		[KVM_IRQCHIP_PIC_MASTER] = 0xf8,
		[KVM_IRQCHIP_PIC_SLAVE] = 0xde,
	};

	for (uint32_t i = 0; i < ARRAY_COUNT(elcr_masks); i++) {
		struct kvm_irqchip chip = {
			.chip_id = i,
			.chip.pic = {.imr = 0xff, .elcr_mask = elcr_masks[i]},
		};

		if (kvm_call(vm, KVM_SET_IRQCHIP, &chip, "KVM_SET_IRQCHIP", err) < 0) {
			return -1;
		}
	}
	return 0;
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

int kvm_get_cpuid2(int vcpu, struct cpuid_table *table, struct error *err)
{
	static const struct kvm_cpuid_entry2 nothing;

	*table = (struct cpuid_table){.count = CPUID_ENTRIES_MAX};
	if (kvm_call(vcpu, KVM_GET_CPUID2, table, "KVM_GET_CPUID2", err) < 0) {
		return -1;
	}
	/* Older kernels do not say how many there are: those behind the last one stay empty. */
	while (table->count > 0 &&
	       memcmp(&table->entry[table->count - 1], &nothing, sizeof(nothing)) == 0) {
		table->count--;
	}
	return 0;
}

/* A struct kvm_msrs with room for its entries. */
struct msr_entries {
	uint32_t count;
	uint32_t padding;
	struct kvm_msr_entry entry[KVM_MSRS_MAX];
};

static_assert(offsetof(struct msr_entries, entry) == offsetof(struct kvm_msrs, entries),
	      "msr_entries is handed to KVM as a kvm_msrs");

int kvm_set_msrs_until(int vcpu, const struct kvm_msr_entry *msrs, size_t count, size_t *done,
		       struct error *err)
{
	struct msr_entries list = {.count = (uint32_t)count};
	int result;

	assert(count <= KVM_MSRS_MAX);
	memcpy(list.entry, msrs, count * sizeof(*msrs));
	if (kvm_call_result(vcpu, KVM_SET_MSRS, &list, "KVM_SET_MSRS", &result, err) != 0) {
		return -1;
	}
	*done = min_u64((uint64_t)result, count);
	return 0;
}

int kvm_set_msrs(int vcpu, const struct kvm_msr_entry *msrs, size_t count, struct error *err)
{
	size_t done;

	if (kvm_set_msrs_until(vcpu, msrs, count, &done, err) != 0) {
		return -1;
	}
	if (done < count) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "KVM refused to set model-specific register 0x%x to 0x%llx",
				 msrs[done].index, msrs[done].data);
	}
	return 0;
}

int kvm_get_msrs(int vcpu, struct kvm_msr_entry *msrs, size_t count, size_t *done,
		 struct error *err)
{
	struct msr_entries list = {.count = (uint32_t)count};
	int result;

	assert(count <= KVM_MSRS_MAX);
	memcpy(list.entry, msrs, count * sizeof(*msrs));
	if (kvm_call_result(vcpu, KVM_GET_MSRS, &list, "KVM_GET_MSRS", &result, err) != 0) {
		return -1;
	}
	*done = min_u64((uint64_t)result, count);
	memcpy(msrs, list.entry, *done * sizeof(*msrs));
	return 0;
}

static_assert(offsetof(struct msr_list, index) == offsetof(struct kvm_msr_list, indices),
	      "msr_list is handed to KVM as a kvm_msr_list");

int kvm_get_msr_list(int kvm, struct msr_list *list, struct error *err)
{
	list->count = MSR_LIST_MAX;
	return kvm_call(kvm, KVM_GET_MSR_INDEX_LIST, list, "KVM_GET_MSR_INDEX_LIST", err);
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

/* --- What only saving and loading need --- */

struct kvm_abilities kvm_find_abilities(int vm)
{
	const int xsave2 = kvm_check_extension(vm, KVM_CAP_XSAVE2);
	const int clock = kvm_check_extension(vm, KVM_CAP_ADJUST_CLOCK);

	return (struct kvm_abilities){
		.xsave_len = (uint32_t)max_u64((uint64_t)xsave2, sizeof(struct kvm_xsave)),
		.has_xsave2 = xsave2 > 0,
		.has_sregs2 = kvm_check_extension(vm, KVM_CAP_SREGS2) > 0,
		.has_tsc_control = kvm_check_extension(vm, KVM_CAP_TSC_CONTROL) > 0,
		.has_clock_realtime = (clock & KVM_CLOCK_REALTIME) != 0,
	};
}

int kvm_get_sregs2(int vcpu, struct kvm_sregs2 *sregs, struct error *err)
{
	return kvm_call(vcpu, KVM_GET_SREGS2, sregs, "KVM_GET_SREGS2", err);
}

int kvm_set_sregs2(int vcpu, const struct kvm_sregs2 *sregs, struct error *err)
{
	return kvm_call(vcpu, KVM_SET_SREGS2, (void *)sregs, "KVM_SET_SREGS2", err);
}

int kvm_get_xsave(int vcpu, const struct kvm_abilities *can, uint8_t area[STATE_XSAVE_MAX],
		  struct error *err)
{
	if (can->xsave_len > STATE_XSAVE_MAX) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The vCPU's XSAVE area has %u bytes, and at most %d are supported",
				 can->xsave_len, STATE_XSAVE_MAX);
	}
	return can->has_xsave2 ? kvm_call(vcpu, KVM_GET_XSAVE2, area, "KVM_GET_XSAVE2", err)
			       : kvm_call(vcpu, KVM_GET_XSAVE, area, "KVM_GET_XSAVE", err);
}

int kvm_set_xsave(int vcpu, const uint8_t area[STATE_XSAVE_MAX], struct error *err)
{
	return kvm_call(vcpu, KVM_SET_XSAVE, (void *)area, "KVM_SET_XSAVE", err);
}

int kvm_get_xcrs(int vcpu, struct kvm_xcrs *xcrs, struct error *err)
{
	return kvm_call(vcpu, KVM_GET_XCRS, xcrs, "KVM_GET_XCRS", err);
}

int kvm_set_xcrs(int vcpu, const struct kvm_xcrs *xcrs, struct error *err)
{
	return kvm_call(vcpu, KVM_SET_XCRS, (void *)xcrs, "KVM_SET_XCRS", err);
}

int kvm_get_debugregs(int vcpu, struct kvm_debugregs *regs, struct error *err)
{
	return kvm_call(vcpu, KVM_GET_DEBUGREGS, regs, "KVM_GET_DEBUGREGS", err);
}

int kvm_set_debugregs(int vcpu, const struct kvm_debugregs *regs, struct error *err)
{
	return kvm_call(vcpu, KVM_SET_DEBUGREGS, (void *)regs, "KVM_SET_DEBUGREGS", err);
}

int kvm_get_mp_state(int vcpu, uint32_t *state, struct error *err)
{
	struct kvm_mp_state mp = {0};

	if (kvm_call(vcpu, KVM_GET_MP_STATE, &mp, "KVM_GET_MP_STATE", err) != 0) {
		return -1;
	}
	*state = mp.mp_state;
	return 0;
}

int kvm_set_mp_state(int vcpu, uint32_t state, struct error *err)
{
	struct kvm_mp_state mp = {.mp_state = state};

	return kvm_call(vcpu, KVM_SET_MP_STATE, &mp, "KVM_SET_MP_STATE", err);
}

int kvm_get_vcpu_events(int vcpu, struct kvm_vcpu_events *events, struct error *err)
{
	return kvm_call(vcpu, KVM_GET_VCPU_EVENTS, events, "KVM_GET_VCPU_EVENTS", err);
}

int kvm_set_vcpu_events(int vcpu, const struct kvm_vcpu_events *events, struct error *err)
{
	return kvm_call(vcpu, KVM_SET_VCPU_EVENTS, (void *)events, "KVM_SET_VCPU_EVENTS", err);
}

int kvm_get_tsc_khz(int fd, uint32_t *khz, struct error *err)
{
	int result;

	if (kvm_call_result(fd, KVM_GET_TSC_KHZ, NULL, "KVM_GET_TSC_KHZ", &result, err) != 0) {
		return -1;
	}
	*khz = (uint32_t)result;
	return 0;
}

int kvm_set_tsc_khz(int vcpu, uint32_t khz, struct error *err)
{
	return kvm_call_value(vcpu, KVM_SET_TSC_KHZ, khz, "KVM_SET_TSC_KHZ", err);
}

int kvm_get_tsc_offset(int vcpu, uint64_t *offset, struct error *err)
{
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)offset,
	};

	return kvm_call(vcpu, KVM_GET_DEVICE_ATTR, &attr, "KVM_GET_DEVICE_ATTR", err);
}

int kvm_set_tsc_offset(int vcpu, uint64_t offset, struct error *err)
{
	return kvm_set_device_attr(vcpu, KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, &offset, err);
}

int kvm_get_reg(int vcpu, uint64_t id, uint64_t *value, struct error *err)
{
	struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)value};

	return kvm_call(vcpu, KVM_GET_ONE_REG, &reg, "KVM_GET_ONE_REG", err);
}

int kvm_set_reg(int vcpu, uint64_t id, uint64_t value, struct error *err)
{
	struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)&value};

	return kvm_call(vcpu, KVM_SET_ONE_REG, &reg, "KVM_SET_ONE_REG", err);
}

int kvm_get_irqchip(int vm, struct kvm_irqchip *chip, struct error *err)
{
	return kvm_call(vm, KVM_GET_IRQCHIP, chip, "KVM_GET_IRQCHIP", err);
}

int kvm_set_irqchip(int vm, const struct kvm_irqchip *chip, struct error *err)
{
	return kvm_call(vm, KVM_SET_IRQCHIP, (void *)chip, "KVM_SET_IRQCHIP", err);
}

int kvm_get_pit2(int vm, struct kvm_pit_state2 *pit, struct error *err)
{
	return kvm_call(vm, KVM_GET_PIT2, pit, "KVM_GET_PIT2", err);
}

int kvm_set_pit2(int vm, const struct kvm_pit_state2 *pit, struct error *err)
{
	return kvm_call(vm, KVM_SET_PIT2, (void *)pit, "KVM_SET_PIT2", err);
}

int kvm_get_clock(int vm, struct kvm_clock_data *clock, struct error *err)
{
	return kvm_call(vm, KVM_GET_CLOCK, clock, "KVM_GET_CLOCK", err);
}

int kvm_set_clock(int vm, const struct kvm_clock_data *clock, struct error *err)
{
	return kvm_call(vm, KVM_SET_CLOCK, (void *)clock, "KVM_SET_CLOCK", err);
}

/* --- While it runs --- */

bool kvm_translate(int vcpu, uint64_t address, gpa_t *gpa)
{
	struct kvm_translation translation = {.linear_address = address};
	struct error ignored = {0};

	if (kvm_call(vcpu, KVM_TRANSLATE, &translation, "KVM_TRANSLATE", &ignored) != 0) {
		return false;
	}
	*gpa = GPA(translation.physical_address);
	return translation.valid != 0;
}

int kvm_kvmclock_ctrl(int vcpu, struct error *err)
{
	return kvm_call(vcpu, KVM_KVMCLOCK_CTRL, NULL, "KVM_KVMCLOCK_CTRL", err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Saving and loading what the vCPUs share: interrupt controllers, timer and clock. */
#include <errno.h>

#include "arch/state.h"
#include "kvm_x86.h"

_Static_assert(KVM_IRQCHIP_PIC_MASTER == 0 && KVM_IRQCHIP_PIC_SLAVE == 1,
	       "the PICs' numbers are their indexes in the state");

int arch_vm_save(const struct arch_vm *vm, struct arch_vm_state *state, struct error *err)
{
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};

	for (uint32_t i = 0; i < STATE_PICS; i++) {
		struct kvm_irqchip pic = {.chip_id = i};

		if (kvm_get_irqchip(vm->fd, &pic, err) != 0) {
			return -1;
		}
		state->pics[i] = pic.chip.pic;
	}
	if (kvm_get_irqchip(vm->fd, &chip, err) != 0) {
		return -1;
	}
	state->ioapic = chip.chip.ioapic;
	if (kvm_get_pit2(vm->fd, &state->pit, err) != 0) {
		return -1;
	}
	return kvm_get_clock(vm->fd, &state->clock, err);
}

static int load_clock(const struct arch_vm *vm, const struct kvm_clock_data *saved,
		      const struct arch_load *load, struct error *err)
{
	/* Of the flags that KVM told, most are facts about the clock and no orders. */
	struct kvm_clock_data clock = {.clock = saved->clock};

	if (load->clock_realtime) {
		if ((saved->flags & KVM_CLOCK_REALTIME) == 0) {
			return error_set(err, ERR_NOT_SUPPORTED,
					 "It can't go on by the time since the save "
					 "(clock_realtime): the host that saved it did not tell "
					 "the time (KVM_CLOCK_REALTIME)");
		}
		if (!vm->can.has_clock_realtime) {
			return error_set(err, ERR_NOT_SUPPORTED,
					 "It can't go on by the time since the save "
					 "(clock_realtime): this host's KVM lacks "
					 "KVM_CLOCK_REALTIME");
		}
		clock.flags = KVM_CLOCK_REALTIME;
		clock.realtime = saved->realtime;
	}
	return kvm_set_clock(vm->fd, &clock, err);
}

/* Where the clock is now, and the host's TSC at that moment: for arch_vcpu_load_clock. */
static void note_clock(struct arch_vm *vm)
{
	struct error ignored = {0};

	if (kvm_get_clock(vm->fd, &vm->clock, &ignored) != 0) {
		vm->clock.flags = 0;
	}
}

static int load_irqchips(const struct arch_vm *vm, const struct arch_vm_state *state,
			 struct error *err)
{
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC, .chip.ioapic = state->ioapic};

	for (uint32_t i = 0; i < STATE_PICS; i++) {
		const struct kvm_irqchip pic = {.chip_id = i, .chip.pic = state->pics[i]};

		if (kvm_set_irqchip(vm->fd, &pic, err) != 0) {
			return -1;
		}
	}
	return kvm_set_irqchip(vm->fd, &chip, err);
}

/* KVM checks what it is given, and says no more than this. */
static int refused(struct error *err, const char *what)
{
	err->kind = err->sys == EINVAL ? ERR_CORRUPT : err->kind;
	return error_wrap(err, "Can't load the %s", what);
}

int arch_vm_load(struct arch_vm *vm, const struct arch_vm_state *state,
		 const struct arch_load *load, struct error *err)
{
	if (load_irqchips(vm, state, err) != 0) {
		return refused(err, "interrupt controllers");
	}
	if (kvm_set_pit2(vm->fd, &state->pit, err) != 0) {
		return refused(err, "timer");
	}
	/* Last, as a clock that stood still goes on from here. */
	if (load_clock(vm, &state->clock, load, err) != 0) {
		return refused(err, "clock");
	}
	note_clock(vm);
	return 0;
}

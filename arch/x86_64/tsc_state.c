/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saves and loads the relation of a guest's TSC to its clock.
 *
 * Theory of operation. The TSC is among the MSRs, but each vCPU's is read, and set, at a moment of
 * its own, and the clock at another: after a load TSC and clock would be apart by as long as all
 * that takes, and a guest that compares them gives up its TSC. So the state has the offset of each
 * vCPU's TSC from the host's, and of one moment the clock and the host's TSC (KVM_CLOCK_HOST_TSC).
 * After a load KVM tells the same two again. The guest's TSC must have gone on by as much as its
 * clock, a little, or all the time since the save, which gives the new offset [kvm-vcpu 4.1]. It
 * differs from the old one by the same for all vCPUs.
 *
 * Where something of it is missing the MSR's value stays: Linux before 5.16, a host whose clock is
 * not the TSC, a guest whose TSC is scaled.
 */
#include "tsc_state.h"

#include "arch/state.h"
#include "kvm_x86.h"
#include "msr.h"
#include "vmm/base/bytes.h"

void tsc_save_offset(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state)
{
	struct error ignored = {0};

	state->tsc_offset = 0;
	state->has_tsc_offset =
		!vcpu->is_scaled && kvm_get_tsc_offset(vcpu->fd, &state->tsc_offset, &ignored) == 0;
}

/* How far a TSC goes in that time; modulo 2^64, as it counts. */
static uint64_t ticks_of(uint64_t ns, uint32_t khz)
{
	return (uint64_t)((unsigned __int128)ns * khz / 1000000);
}

/* KVM has compared the deadline with another TSC. */
static int load_deadline(const struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
			 struct error *err)
{
	const uint32_t count = (uint32_t)min_u64(state->msr_count, STATE_MSRS_MAX);

	for (uint32_t i = 0; i < count; i++) {
		const struct kvm_msr_entry msr = {.index = state->msrs[i].index,
						  .data = state->msrs[i].value};

		if (msr.index == MSR_IA32_TSC_DEADLINE) {
			return kvm_set_msrs(vcpu->fd, &msr, 1, err);
		}
	}
	return 0;
}

int arch_vcpu_load_clock(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
			 const struct arch_vm_state *vm_state, struct error *err)
{
	const struct kvm_clock_data *saved = &vm_state->clock;
	const struct kvm_clock_data *now = &vcpu->vm->clock;

	if (!state->has_tsc_offset || vcpu->is_scaled || state->tsc_khz == 0 ||
	    (saved->flags & now->flags & KVM_CLOCK_HOST_TSC) == 0 || now->clock < saved->clock) {
		return 0;
	}

	const uint64_t offset = state->tsc_offset + saved->host_tsc - now->host_tsc +
				ticks_of(now->clock - saved->clock, state->tsc_khz);

	if (kvm_set_tsc_offset(vcpu->fd, offset, err) != 0 ||
	    load_deadline(vcpu, state, err) != 0) {
		return error_wrap(err, "Can't load the TSC of vCPU %u", vcpu->index);
	}
	return 0;
}

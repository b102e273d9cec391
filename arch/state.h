/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving and loading a machine: the half of the architecture's contract that snapshots need. What
 * KVM keeps of a machine becomes plain numbers here, and a machine again.
 *
 * A machine that is loaded is made as one that boots, with arch_machine.is_loaded: memory slots,
 * arch_vm_init, per vCPU arch_vcpu_init, arch_vm_finish. Then, in place of a kernel and boot
 * registers: per vCPU arch_vcpu_load, arch_vm_load, per vCPU arch_vcpu_load_clock. All on the VMM
 * thread, with the vCPUs parked.
 *
 * What is loaded comes from a file that nobody trusts: each number that squib itself uses (a count,
 * a length, an index, a version) is checked first, what goes to KVM is checked by KVM.
 */
#ifndef ARCH_STATE_H
#define ARCH_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "arch/arch.h"
#include "vmm/base/attr.h"
#include "vmm/base/codec.h"
#include "vmm/base/error.h"
#include "vmm/base/text.h"

/*
 * struct arch_vm_state: interrupt controllers, timers and clock. struct arch_vcpu_state: one vCPU.
 * Bounded arrays and fixed-width numbers; large, so they live on the heap. Zeroed they are empty.
 */
#include "arch_state.h"

/* What a state file of this architecture begins with [compat]. */
extern const uint64_t arch_state_magic;

/* Each names its fields, in sections of its own: for saving, loading and a readable dump. */
void arch_vm_state_codec(struct codec *codec, struct arch_vm_state *state);
void arch_vcpu_state_codec(struct codec *codec, struct arch_vcpu_state *state);

/* Reads the state from KVM, of a VM whose vCPUs are parked between two instructions. */
MUST_CHECK int arch_vcpu_save(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state,
			      struct error *err);
MUST_CHECK int arch_vm_save(const struct arch_vm *vm, struct arch_vm_state *state,
			    struct error *err);

/* How a guest's clock goes on. */
struct arch_load {
	bool clock_realtime; /* by the time since the save; else it stood still (x86_64 only) */
};

/*
 * Writes the state to KVM. ERR_CORRUPT: it is none that this machine can have, with the register or
 * structure in the sentence. ERR_NOT_SUPPORTED: this host lacks something for it.
 */
MUST_CHECK int arch_vcpu_load(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
			      struct error *err);
MUST_CHECK int arch_vm_load(struct arch_vm *vm, const struct arch_vm_state *state,
			    const struct arch_load *load, struct error *err);

/* The part of a vCPU that has to agree with the machine's clock as arch_vm_load has set it. */
MUST_CHECK int arch_vcpu_load_clock(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
				    const struct arch_vm_state *vm_state, struct error *err);

/*
 * What the host lacks of what the saved guest was given: "AVX512F (CPUID 0x7.0 EBX bit 16), ...",
 * features and registers by name. Returns how many; 0 means it would load. `kvm` is /dev/kvm.
 */
unsigned arch_state_explain(int kvm, const struct arch_vcpu_state *state, struct text *lacks);

#endif

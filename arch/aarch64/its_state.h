/* SPDX-License-Identifier: Apache-2.0 */
/* Saving and loading the ITS, by which a GICv3 takes the message interrupts of PCI functions. */
#ifndef ARCH_AARCH64_ITS_STATE_H
#define ARCH_AARCH64_ITS_STATE_H

#include "arch_state.h"
#include "vmm/base/attr.h"
#include "vmm/base/codec.h"
#include "vmm/base/error.h"

/* The fields of one, in a section of its own. */
void its_state_codec(struct codec *codec, struct arch_its_state *state, uint32_t vcpu_count);

/*
 * Of a VM that has one. A save has KVM write its tables into guest memory, where the guest has made
 * room for them: before the memory is saved. It fails where the guest has told KVM of a place that
 * is none.
 */
MUST_CHECK int its_save(const struct arch_vm *vm, struct arch_its_state *state, struct error *err);

/* After the GIC's other registers. ERR_CORRUPT: no ITS can be so. */
MUST_CHECK int its_load(const struct arch_vm *vm, const struct arch_its_state *state,
			struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What a host lacks of a saved guest, in parts. */
#ifndef ARCH_X86_64_EXPLAIN_H
#define ARCH_X86_64_EXPLAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "arch/state.h"

/* As arch_state_explain, without the TSC's frequency, which takes a VM to ask for. */
unsigned explain_features(int kvm, const struct arch_vcpu_state *state, struct text *lacks);

/* A guest that was saved with one frequency must be told of the other one. 0: not known. */
bool explain_tsc_differs(uint32_t saved_khz, uint32_t host_khz);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's TSC as an offset from the host's; loading it is arch_vcpu_load_clock. */
#ifndef ARCH_X86_64_TSC_STATE_H
#define ARCH_X86_64_TSC_STATE_H

#include "arch_state.h"

/* Notes the offset in the state, if this host tells one. */
void tsc_save_offset(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state);

#endif

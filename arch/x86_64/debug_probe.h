/* SPDX-License-Identifier: Apache-2.0 */
/* What of a guest's debug exceptions a KVM hands to us, which it has no capability for. */
#ifndef ARCH_X86_64_DEBUG_PROBE_H
#define ARCH_X86_64_DEBUG_PROBE_H

#include <stdbool.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct debug_probe {
	bool traps;   /* a breakpoint instruction (KVM_GUESTDBG_USE_SW_BP) */
	bool breaks;  /* a debug register that stops at an instruction (KVM_GUESTDBG_USE_HW_BP) */
	bool watches; /* one that stops at a write */
};

/*
 * Finds out by a VM of its own, with one vCPU that runs two instructions, some microseconds for
 * each member. `kvm` is /dev/kvm's descriptor; nothing is left. Fails if there can be no such VM.
 */
MUST_CHECK int debug_probe_run(int kvm, struct debug_probe *probe, struct error *err);

#endif

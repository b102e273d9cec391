/* SPDX-License-Identifier: Apache-2.0 */
/* Registers of saved vCPUs, where the architecture saves them one by one. */
#ifndef TOOLS_SNAPSHOT_EDITOR_REGS_H
#define TOOLS_SNAPSHOT_EDITOR_REGS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "arch/state.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct regs_list {
	const uint64_t *ids; /* of KVM */
	size_t count;
};

/*
 * Removes registers from the vCPU `index`, and prints for each whether it was there.
 * ERR_NOT_SUPPORTED: this architecture has no such registers.
 */
MUST_CHECK int regs_remove(struct arch_vcpu_state *state, unsigned index,
			   const struct regs_list *list, FILE *out, struct error *err);

#endif

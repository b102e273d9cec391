/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest's CPUID instruction says: KVM's abilities, made to describe the guest's machine.
 */
#ifndef ARCH_X86_64_CPUID_H
#define ARCH_X86_64_CPUID_H

#include <stdint.h>

#include "arch/arch.h"

struct cpuid_regs {
	uint32_t eax;
	uint32_t ebx;
	uint32_t ecx;
	uint32_t edx;
};

/* Executes CPUID on some processor: the host's in the monitor, a script's in tests. */
typedef struct cpuid_regs (*cpuid_read_fn)(uint32_t leaf, uint32_t subleaf);

struct cpuid_regs cpuid_read_host(uint32_t leaf, uint32_t subleaf);

/*
 * Turns KVM's list of what it supports into the CPUID of `machine`, the same for all vCPUs but for
 * their APIC ids. Fails only where KVM's list leaves no room for the topology leaves.
 */
MUST_CHECK int cpuid_normalise(struct cpuid_table *table, const struct arch_machine *machine,
			       cpuid_read_fn read_host, struct error *err);

/* Leaves of KVM's list what a guest may have: cpuid_allow.c has the table. cpuid_normalise's part.
 */
void cpuid_allow(struct cpuid_table *table);

/* Makes a normalised table that of vCPU `index`, whose APIC id is its index. */
void cpuid_set_vcpu(struct cpuid_table *table, bool smt, unsigned index);

#endif

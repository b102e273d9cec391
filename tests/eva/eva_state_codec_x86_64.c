/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any sections of a VM and of a vCPU, with any counts up to the limits that codec.c keeps.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-auto-loop-unroll 40
 */
#include "tests/eva/codec.h"

#include "arch/x86_64/state_codec.c"

void main(void)
{
	static struct arch_vm_state vm;
	static struct arch_vcpu_state vcpu;

	arch_vm_state_codec(NULL, &vm);
	arch_vcpu_state_codec(NULL, &vcpu);
	keep(vm.pit.flags + vcpu.cpuid.entry[CPUID_ENTRIES_MAX - 1].edx);
	/*@ assert vcpu.xsave_len <= STATE_XSAVE_MAX && vcpu.msr_count <= STATE_MSRS_MAX; */
}

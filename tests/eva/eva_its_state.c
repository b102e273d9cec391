/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine of any number of vCPUs: any section of the ITS, saved and loaded, by a KVM that answers
 * anything.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-auto-loop-unroll 40
 */
#include "tests/eva/kvm_arm.h"

#include "tests/eva/codec.h"

#include "arch/aarch64/gic.h"

uint64_t gic_cpu_attr(const struct arch_vm *vm, unsigned index)
{
	return vm->mpidr[index] << 32;
}

#include "arch/aarch64/its_state.c"

void main(void)
{
	static struct arch_its_state state;
	static struct arch_vm vm;
	struct codec codec = {.mode = any_between(CODEC_SAVE, CODEC_DUMP)};
	struct error err = {0};

	fill(&state, sizeof(state));
	vm.vcpu_count = (unsigned)any_between(0, ARCH_AARCH64_VCPUS_MAX);
	its_state_codec(&codec, &state, vm.vcpu_count);
	keep(state.regs[ARCH_ITS_REGS - 1]);
	keep(its_save(&vm, &state, &err));
	keep(its_load(&vm, &state, &err));
}

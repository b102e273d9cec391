/* SPDX-License-Identifier: Apache-2.0 */
/* A KVM that keeps a machine's state: what each getter tells is known, what setters get is kept. */
#ifndef TESTS_UNIT_X86_64_STATE_KVM_H
#define TESTS_UNIT_X86_64_STATE_KVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/state.h"

enum {
	STATE_KVM_FD = 100,
	STATE_VM_FD = 101,
	STATE_VCPU_FD = 102, /* and one each for further vCPUs */
	STATE_BLOCK_MAX = STATE_XSAVE_MAX,
	STATE_MSRS_HOST = 200,
};

/* What a pair of ioctls reads and writes. */
struct state_block {
	const char *name;
	unsigned long get;
	unsigned long set;
	size_t len;
	uint8_t told[STATE_BLOCK_MAX]; /* what the getter tells: a number that differs by byte */
	uint8_t taken[STATE_BLOCK_MAX];
};

/* Of the host; a test changes it before it asks. */
extern struct state_host {
	int xsave2; /* what KVM_CHECK_EXTENSION says of them */
	bool sregs2;
	bool tsc_control;
	int clock;
	uint32_t tsc_khz;
	uint64_t tsc_offset; /* of vCPU 0; each further one's is one more */
	bool no_tsc_offset;
	struct cpuid_table supported;
	struct kvm_msr_entry msrs[STATE_MSRS_HOST]; /* of which KVM_GET_MSR_INDEX_LIST tells */
	uint32_t msr_count;
	uint32_t unreadable; /* an MSR */
	uint32_t refused;    /* an MSR */
} host;

/* What setters got, besides the blocks. */
extern struct state_taken {
	struct kvm_msr_entry msrs[4 * STATE_MSRS_MAX]; /* in order */
	uint32_t msr_count;
	struct cpuid_table cpuid;
	struct kvm_irqchip chips[3];
	uint64_t reg;
	uint64_t tsc_offsets[2];
} taken;

/* Scripts it all. A criterion .init function. */
void state_kvm_script(void);

struct state_block *state_block(unsigned long request);
struct kvm_irqchip state_chip(uint32_t id); /* as KVM_GET_IRQCHIP tells */

/* A machine of two vCPUs that was made the usual way; `vcpus` has room for them. */
void state_machine(bool is_loaded, struct arch_vm *vm, struct arch_vcpu *vcpus);

/* The requests since call `from`, in order, by name, each with a space behind it. */
const char *state_calls(size_t from);

#endif

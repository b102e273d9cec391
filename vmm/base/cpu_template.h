/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CPU template: bits that a guest's processor has, or lacks, whatever the host's is like. Each
 * architecture uses its own parts.
 */
#ifndef VMM_BASE_CPU_TEMPLATE_H
#define VMM_BASE_CPU_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/kvm.h"

enum {
	CPU_TEMPLATE_WORDS = 2,	      /* of 64 bits, the lowest first: the widest register */
	CPU_TEMPLATE_ITEMS_MAX = 512, /* of each list of a template */
};

/* A value's bits in `mask` become those of `value`, which has no others. */
struct cpu_template_bits {
	uint64_t mask[CPU_TEMPLATE_WORDS];
	uint64_t value[CPU_TEMPLATE_WORDS];
};

/* A leaf of CPUID: EAX, EBX, ECX, EDX. */
struct cpu_template_leaf {
	uint32_t leaf;
	uint32_t subleaf;
	uint32_t flags; /* KVM_CPUID_FLAG_* */
	struct {
		uint32_t mask;
		uint32_t value;
	} regs[4];
};

/* A model-specific register of x86_64 by number; a register of aarch64 by KVM's id. */
struct cpu_template_register {
	uint64_t id;
	struct cpu_template_bits bits;
};

/* A word of struct kvm_vcpu_init's features. */
struct cpu_template_feature {
	uint32_t index;
	uint32_t mask;
	uint32_t value;
};

/* A KVM_CAP_* that the host must have, or need not have though squib asks for it. */
struct cpu_template_capability {
	uint32_t cap;
	bool is_waived;
};

struct cpu_template {
	const struct cpu_template_capability *capabilities;
	size_t capability_count;
	const struct cpu_template_leaf *leaves; /* x86_64 */
	size_t leaf_count;
	const struct cpu_template_register *registers;
	size_t register_count;
	const struct cpu_template_feature *features; /* aarch64 */
	size_t feature_count;
};

/* A template with lists that can be filled: one block of the heap, to be freed. */
struct cpu_template_block {
	struct cpu_template bits; /* with all of the lists */
	struct cpu_template_capability *capabilities;
	struct cpu_template_leaf *leaves;
	struct cpu_template_register *registers;
	struct cpu_template_feature *features;
};

/* A zeroed one, with as many items as `sizes` counts. */
MUST_CHECK int cpu_template_block_new(const struct cpu_template *sizes,
				      struct cpu_template_block **made, struct error *err);

uint32_t cpu_template_apply32(uint32_t old, uint32_t mask, uint32_t value);

/* Changes `words` words of 64 bits. */
void cpu_template_apply(const struct cpu_template_bits *bits, uint64_t *value, size_t words);

/*
 * kvm_check_caps of what the template (NULL: none) does not waive, and of what it adds. The
 * sentence names the first that is missing.
 */
MUST_CHECK int cpu_template_check_caps(const struct cpu_template *cpu_template, int kvm,
				       const struct kvm_cap *caps, size_t count, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* CPU templates: masks and values, and what they ask of KVM. */
#include "vmm/base/cpu_template.h"

#include <stdlib.h>

int cpu_template_block_new(const struct cpu_template *sizes, struct cpu_template_block **made,
			   struct error *err)
{
	struct cpu_template_block *block =
		calloc(1, sizeof(*block) + sizes->register_count * sizeof(*block->registers) +
				  sizes->leaf_count * sizeof(*block->leaves) +
				  sizes->capability_count * sizeof(*block->capabilities) +
				  sizes->feature_count * sizeof(*block->features));

	if (block == NULL) {
		return error_sys(err, "Cannot keep the CPU template");
	}
	/* What is aligned to 8 bytes comes first. */
	block->registers = (struct cpu_template_register *)(block + 1);
	block->leaves = (struct cpu_template_leaf *)(block->registers + sizes->register_count);
	block->capabilities = (struct cpu_template_capability *)(block->leaves + sizes->leaf_count);
	block->features =
		(struct cpu_template_feature *)(block->capabilities + sizes->capability_count);
	block->bits = (struct cpu_template){
		.capabilities = block->capabilities,
		.capability_count = sizes->capability_count,
		.leaves = block->leaves,
		.leaf_count = sizes->leaf_count,
		.registers = block->registers,
		.register_count = sizes->register_count,
		.features = block->features,
		.feature_count = sizes->feature_count,
	};
	*made = block;
	return 0;
}

uint32_t cpu_template_apply32(uint32_t old, uint32_t mask, uint32_t value)
{
	return (old & ~mask) | value;
}

void cpu_template_apply(const struct cpu_template_bits *bits, uint64_t *value, size_t words)
{
	for (size_t i = 0; i < words; i++) {
		value[i] = (value[i] & ~bits->mask[i]) | bits->value[i];
	}
}

static bool is_waived(const struct cpu_template *cpu_template, uint32_t cap)
{
	for (size_t i = 0; i < cpu_template->capability_count; i++) {
		if (cpu_template->capabilities[i].cap == cap) {
			return cpu_template->capabilities[i].is_waived;
		}
	}
	return false;
}

int cpu_template_check_caps(const struct cpu_template *cpu_template, int kvm,
			    const struct kvm_cap *caps, size_t count, struct error *err)
{
	if (cpu_template == NULL) {
		return kvm_check_caps(kvm, caps, count, err);
	}
	for (size_t i = 0; i < count; i++) {
		if (!is_waived(cpu_template, (uint32_t)caps[i].cap) &&
		    kvm_check_caps(kvm, &caps[i], 1, err) < 0) {
			return -1;
		}
	}
	for (size_t i = 0; i < cpu_template->capability_count; i++) {
		const struct cpu_template_capability *asked = &cpu_template->capabilities[i];

		if (!asked->is_waived && kvm_check_extension(kvm, (int)asked->cap) == 0) {
			return error_set(err, ERR_NOT_SUPPORTED,
					 "The KVM of this host lacks capability %u, which the CPU "
					 "template asks for",
					 asked->cap);
		}
	}
	return 0;
}

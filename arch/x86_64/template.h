/* SPDX-License-Identifier: Apache-2.0 */
/* CPU templates of x86_64: what they do to CPUID and model-specific registers. */
#ifndef ARCH_X86_64_TEMPLATE_H
#define ARCH_X86_64_TEMPLATE_H

#include "cpuid.h"
#include "vmm/base/attr.h"
#include "vmm/base/cpu_template.h"
#include "vmm/base/error.h"

/*
 * The static template of that name. Fails where the processor that `read_host` describes is none
 * that it is for [compat].
 */
MUST_CHECK int template_find(const char *name, cpuid_read_fn read_host,
			     const struct cpu_template **cpu_template, struct error *err);

/*
 * Each leaf that the template changes is in `supported`, which is KVM's list. One of which it names
 * only what the machine makes, as dumps of all bits do, may be missing, and changes nothing.
 */
MUST_CHECK int template_check_leaves(const struct cpu_template *cpu_template,
				     const struct cpuid_table *supported, struct error *err);

/*
 * Changes the leaves of *table, which has no more than a guest may have without a template: a leaf
 * that is not among them is added, with the template's bits alone.
 */
MUST_CHECK int template_apply_leaves(const struct cpu_template *cpu_template,
				     struct cpuid_table *table, struct error *err);

/* The last leaves and the last subleaf of leaf 7, as the table itself names them. */
struct last_leaves {
	uint32_t basic;
	uint32_t extended;
	uint32_t of_features;
};

struct last_leaves template_last_leaves(const struct cpuid_table *table);

/*
 * Takes away the leaves and subleaves behind the last ones, where they are lower than `before`: so
 * a template hides what only some hosts have, which it can't name on the others.
 */
void template_cut_leaves(struct cpuid_table *table, const struct last_leaves *before);

/* Changes the registers of a vCPU whose CPUID is set. */
MUST_CHECK int template_set_msrs(const struct cpu_template *cpu_template, int vcpu,
				 struct error *err);

/* The guest can itself be a hypervisor, of which a state knows nothing. */
bool template_has_nested(const struct cpuid_table *table);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU templates that an architecture has built in, and what comes of templates. */
#ifndef ARCH_TEMPLATE_H
#define ARCH_TEMPLATE_H

#include "arch/arch.h"
#include "vmm/base/attr.h"
#include "vmm/base/cpu_template.h"
#include "vmm/base/error.h"

/* Their names, in the order of Firecracker's enum; NULL ends them [compat]. */
extern const char *const arch_cpu_templates[];

/*
 * The static CPU template of that name, one of arch_cpu_templates but "None". Fails where the
 * host's processor is none that it is for [compat]. Any thread.
 */
MUST_CHECK int arch_find_template(const char *name, const struct cpu_template **cpu_template,
				  struct error *err);

/*
 * What the guest finds its processor to be, on a vCPU that has not run: a template, the caller's,
 * that names all bits. Without what differs from one such vCPU to the next, or tells of nothing
 * that guests have: clocks, performance counters, machine checks, the program counter [compat].
 * CPUID by leaf, registers by id. VMM thread.
 */
MUST_CHECK int arch_dump_cpu(const struct arch_vcpu *vcpu, struct cpu_template_block **dump,
			     struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bits of a processor's registers mean: the one table of names, of each architecture, by
 * which refusals of snapshots and templates and cpu-template-helper speak of features. Pure
 * functions, any thread.
 */
#ifndef ARCH_FIELD_H
#define ARCH_FIELD_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/cpu_template.h"
#include "vmm/base/text.h"

/* A register of a leaf of CPUID, a model-specific register, or one of aarch64 by KVM's id. */
struct arch_register {
	bool is_cpuid;
	unsigned reg; /* of a leaf: 0 to 3, EAX to EDX */
	uint32_t leaf;
	uint32_t subleaf;
	uint64_t id; /* of those that are no leaf's */
};

/* What processors that differ in a field have in common. */
enum arch_rule {
	ARCH_RULE_AND,	      /* features: what all have */
	ARCH_RULE_OR,	      /* faults, and what is missing: what any one has */
	ARCH_RULE_MIN,	      /* numbers, of which more is better */
	ARCH_RULE_LIMIT,      /* the same; no guest with more loads on a host with less */
	ARCH_RULE_SIGNED_MIN, /* numbers of two's complement: below 0 is "not implemented" */
	ARCH_RULE_MAX,	      /* numbers, of which less is better */
	ARCH_RULE_FIRST,      /* names: one must be chosen */
	ARCH_RULE_LEFT,	   /* facts of the host, or unknown: nothing, no template should set it */
	ARCH_RULE_MACHINE, /* the same, which squib or the guest sets, whatever a host has */
};

/* Bits of a register that belong together. */
struct arch_field {
	unsigned shift;
	unsigned width;	  /* at least 1 */
	const char *name; /* NULL: none is known */
	enum arch_rule rule;
};

/* The field that has bit `bit`, which is one of the register. */
struct arch_field arch_field_at(const struct arch_register *reg, unsigned bit);

/* Appends "CPUID 0x7.0 EBX", "IA32_XSS (MSR 0xda0)", "ID_AA64PFR0_EL1". */
void arch_register_add_name(struct text *text, const struct arch_register *reg);

/* Appends "AVX512F (CPUID 0x7.0 EBX bit 16)", "SVE (ID_AA64PFR0_EL1 bits 35:32)". */
void arch_field_add_name(struct text *text, const struct arch_register *reg,
			 const struct arch_field *field);

/*
 * Appends who made the processor that a dump is of: "GenuineIntel", "implementer 0x41"; "unknown"
 * where the dump has nothing of it.
 */
void arch_vendor_add_name(struct text *text, const struct cpu_template *dump);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the bits of CPUID mean, with their names. */
#ifndef ARCH_X86_64_CPUID_FEATURES_H
#define ARCH_X86_64_CPUID_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/field.h"

enum cpuid_reg {
	CPUID_EAX,
	CPUID_EBX,
	CPUID_ECX,
	CPUID_EDX
};

/* Names stand in their tables: pointers to them would be memory of each process. */
enum {
	CPUID_NAME_LEN = 24,
	CPUID_FIELD_NAME_LEN = 56
};

/* A register of CPUID whose bits are features. */
struct cpuid_features {
	uint32_t leaf;
	uint32_t subleaf;
	enum cpuid_reg reg;
	/*
	 * Bits that KVM does not list among what it supports, or not on each kernel, though a guest
	 * may have them on any host: squib sets them (cpuid.c), or KVM does by the guest's own
	 * registers.
	 */
	uint32_t ignored;
	uint32_t inverted;		     /* bits that say that something is missing, or wrong */
	const char (*names)[CPUID_NAME_LEN]; /* of the 32 bits; empty: without one */
};

extern const struct cpuid_features cpuid_features[];
extern const size_t cpuid_feature_count;

enum {
	CPUID_ANY = 0xffff /* each subleaf, or each register, that no earlier row has */
};

/* Bits that are a number or a name. */
struct cpuid_field {
	uint32_t leaf;
	uint32_t subleaf;
	uint32_t reg; /* enum cpuid_reg */
	unsigned shift;
	unsigned width;
	enum arch_rule rule;
	char name[CPUID_FIELD_NAME_LEN];
};

extern const struct cpuid_field cpuid_fields[];
extern const size_t cpuid_field_count;

/* A name of 12 bytes, in three registers. What can't be printed is a question mark. */
struct cpuid_vendor {
	char name[13];
};

struct cpuid_vendor cpuid_vendor(uint32_t ebx, uint32_t edx, uint32_t ecx);

/* The leaf has subleaves, which its name tells. */
bool cpuid_has_subleaves(uint32_t leaf);

#endif

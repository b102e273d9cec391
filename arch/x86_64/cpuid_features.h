/* SPDX-License-Identifier: Apache-2.0 */
/* The bits of CPUID that tell features, with their names. */
#ifndef ARCH_X86_64_CPUID_FEATURES_H
#define ARCH_X86_64_CPUID_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cpuid_reg {
	CPUID_EAX,
	CPUID_EBX,
	CPUID_ECX,
	CPUID_EDX
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
	bool has_subleaves;
	const char *const *names; /* of the 32 bits; NULL: without one */
};

extern const struct cpuid_features cpuid_features[];
extern const size_t cpuid_feature_count;

#endif

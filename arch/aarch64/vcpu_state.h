/* SPDX-License-Identifier: Apache-2.0 */
/* The registers in a saved vCPU, one by one. */
#ifndef ARCH_AARCH64_VCPU_STATE_H
#define ARCH_AARCH64_VCPU_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch_state.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/text.h"

/* One register; its value, of `len` bytes, is in the state and not aligned. */
struct saved_reg {
	uint64_t id;
	uint32_t len;
	const uint8_t *value;
};

/* Goes on to the register at *at, which begins as 0. False at the end. */
bool saved_reg_next(const struct arch_vcpu_state *state, size_t *at, struct saved_reg *reg);

/* The first 8 bytes of the value, or as many as it has. */
uint64_t saved_reg_number(const struct saved_reg *reg);

/*
 * Sets a register of a vCPU. If KVM refuses it and only this host's KVM or CPU can be the reason,
 * appends what it is to `lacks`, adds how many things to *count, and returns 0. Else an error:
 * ERR_CORRUPT, no such vCPU can have it.
 */
MUST_CHECK int saved_reg_load(int vcpu, const struct saved_reg *reg, struct text *lacks,
			      unsigned *count, struct error *err);

/* As saved_reg_load, but only looks whether KVM knows the register. */
MUST_CHECK int saved_reg_find(int vcpu, const struct saved_reg *reg, struct text *lacks,
			      unsigned *count, struct error *err);

/* Appends the features of vCPUs in the state that squib gives to none, and returns how many. */
unsigned saved_features_explain(const struct arch_vcpu_state *state, const uint32_t *features,
				struct text *lacks);

#endif

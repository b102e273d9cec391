/* SPDX-License-Identifier: Apache-2.0 */
/* What KVM's ids of registers mean to a reader, and how two values of one register differ. */
#ifndef ARCH_AARCH64_REGS_H
#define ARCH_AARCH64_REGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/text.h"

enum {
	REG_NAME_LEN = 40
};

struct reg_name {
	char text[REG_NAME_LEN];
};

/* "X0", "ID_AA64PFR0_EL1"; "S3_0_C1_C0_0" for system registers without a name here. */
struct reg_name reg_name(uint64_t id);

/* How many bytes the value has, by the id: 1 to 32768. */
size_t reg_len(uint64_t id);

/* It shows what the host is, or what its KVM gives to guests; a guest can't change it. */
bool reg_is_of_host(uint64_t id);

/* It only identifies the kind of CPU: no feature depends on it. */
bool reg_is_of_make(uint64_t id);

/* The vCPU's value of the virtual, or of the physical, counter. */
bool reg_is_counter(uint64_t id);

/*
 * Appends what the host's value of a register lacks of the saved one, field by field: "SVE
 * (ID_AA64PFR0_EL1 bits 35:32: 1, this host has 0)". If it lacks nothing, all that differs.
 * Returns how many it appended. They are separated by ", ".
 */
unsigned reg_explain(uint64_t id, uint64_t saved, uint64_t host, struct text *text);

#endif

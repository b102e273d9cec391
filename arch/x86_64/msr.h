/* SPDX-License-Identifier: Apache-2.0 */
/* The model-specific registers of a vCPU: those set at boot, and those that are its state. */
#ifndef ARCH_X86_64_MSR_H
#define ARCH_X86_64_MSR_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>

#include "arch/field.h"
#include "arch_state.h"
#include "layout.h"
#include "vmm/base/attr.h"
#include "vmm/base/cpu_template.h"
#include "vmm/base/error.h"
#include "vmm/base/text.h"

/* Register numbers [intel-sdm vol. 4, table 2-2]. */
enum {
	MSR_IA32_TSC = 0x10,
	MSR_IA32_TSC_DEADLINE = 0x6e0,
};

/* The values that every vCPU starts with; at most KVM_MSRS_MAX of them. */
const struct kvm_msr_entry *msr_boot(size_t *count);

/*
 * The registers that are a vCPU's state on this host: msr_list.c says which, and those that a CPU
 * template (NULL: none) changes. It may not be possible to read each of them. `kvm` is /dev/kvm.
 */
MUST_CHECK int msr_list_to_save(int kvm, const struct cpu_template *cpu_template,
				struct msr_list *list, struct error *err);

/*
 * Reads those of the list that the vCPU has to msrs[0] to msrs[*count - 1], for which there is room
 * for all of the list.
 */
MUST_CHECK int msr_read(int vcpu, const struct msr_list *list, struct arch_msr *msrs,
			uint32_t *count, struct error *err);
bool msr_list_has(const struct msr_list *list, uint32_t index);

/* Appends the register's name and number, "IA32_XSS (MSR 0xda0)", or "MSR 0xc0010020". */
void msr_add_name(struct text *text, uint32_t index);

/* The part of the register that has bit `bit`, below 64. */
struct arch_field msr_field(uint32_t index, unsigned bit);

#endif

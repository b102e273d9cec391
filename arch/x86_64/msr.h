/* SPDX-License-Identifier: Apache-2.0 */
/* The model-specific registers of a vCPU at boot. */
#ifndef ARCH_X86_64_MSR_H
#define ARCH_X86_64_MSR_H

#include <linux/kvm.h>
#include <stddef.h>

/* The values that every vCPU starts with; at most KVM_MSRS_MAX of them. */
const struct kvm_msr_entry *msr_boot(size_t *count);

#endif

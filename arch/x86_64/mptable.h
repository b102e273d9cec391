/* SPDX-License-Identifier: Apache-2.0 */
/* The MultiProcessor table, for kernels without ACPI. */
#ifndef ARCH_X86_64_MPTABLE_H
#define ARCH_X86_64_MPTABLE_H

#include "sysmem.h"

/* Puts the floating pointer and the table of 1..ARCH_VCPUS_MAX processors into the pool. */
MUST_CHECK int mptable_write(struct sysmem *sys, unsigned vcpu_count, struct error *err);

#endif

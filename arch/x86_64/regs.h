/* SPDX-License-Identifier: Apache-2.0 */
/* The boot processor's registers, and the tables in guest memory that they point to. */
#ifndef ARCH_X86_64_REGS_H
#define ARCH_X86_64_REGS_H

#include "arch/boot.h"

/* Writes the GDT, the IDT and the page tables. Fails if they don't fit in RAM. */
MUST_CHECK int regs_write_tables(struct gmem *mem, enum boot_protocol protocol, struct error *err);

/* Changes what the protocol asks for in registers as KVM reset them. */
void regs_set_system(struct kvm_sregs *sregs, enum boot_protocol protocol);

/* General registers: entry point, flags, and the pointer to the boot information. */
struct kvm_regs regs_general(const struct boot_info *boot);

#endif

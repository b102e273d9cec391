/* SPDX-License-Identifier: Apache-2.0 */
/* The start info, which a PVH kernel reads first. */
#ifndef ARCH_X86_64_PVH_H
#define ARCH_X86_64_PVH_H

#include "arch/boot.h"

/* Writes hvm_start_info to LAYOUT_PVH_INFO, with its memory map and the initrd as a module. */
MUST_CHECK int pvh_write(struct gmem *mem, const struct boot_info *boot, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The zero page, which Linux's 64-bit entry reads. */
#ifndef ARCH_X86_64_ZEROPAGE_H
#define ARCH_X86_64_ZEROPAGE_H

#include "arch/boot.h"

/* Writes boot_params to LAYOUT_ZERO_PAGE. */
MUST_CHECK int zeropage_write(struct gmem *mem, const struct boot_info *boot, struct error *err);

#endif

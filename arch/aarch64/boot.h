/* SPDX-License-Identifier: Apache-2.0 */
/* Where the flattened device tree lies; the rest of booting is in arch/boot.h. */
#ifndef ARCH_AARCH64_BOOT_H
#define ARCH_AARCH64_BOOT_H

#include "arch/boot.h"

/* The guest-physical address that vCPU 0 finds in X0. Needs boot->ram. */
gpa_t boot_fdt_address(const struct boot_info *boot);

#endif

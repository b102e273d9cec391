/* SPDX-License-Identifier: Apache-2.0 */
/* Loads an uncompressed kernel: ELF for x86_64, entered by PVH or as Linux's 64-bit entry. */
#ifndef ARCH_X86_64_ELF_IMAGE_H
#define ARCH_X86_64_ELF_IMAGE_H

#include "arch/boot.h"
#include "kernel_file.h"

/* The magic is known to match. Sets protocol, entry and kernel_end of *boot. */
MUST_CHECK int elf_image_load(struct gmem *mem, const struct kernel_file *file,
			      struct boot_info *boot, struct error *err);

#endif

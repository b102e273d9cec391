/* SPDX-License-Identifier: Apache-2.0 */
/* Loads Linux's compressed kernel, the bzImage, for its 64-bit entry. */
#ifndef ARCH_X86_64_BZIMAGE_H
#define ARCH_X86_64_BZIMAGE_H

#include "arch/boot.h"
#include "kernel_file.h"

enum {
	BZIMAGE_HEADER = 0x1f1,	      /* offset of the setup header in file and zero page */
	BZIMAGE_MAGIC_OFFSET = 0x202, /* of "HdrS" */
};

/* The magic is known to match. Sets protocol, entry, kernel_end and setup_header of *boot. */
MUST_CHECK int bzimage_load(struct gmem *mem, const struct kernel_file *file,
			    struct boot_info *boot, struct error *err);

#endif

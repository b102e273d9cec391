/* SPDX-License-Identifier: Apache-2.0 */
/* What the loaders of the kernel formats share: the file, and where in RAM a kernel may be. */
#ifndef ARCH_X86_64_KERNEL_FILE_H
#define ARCH_X86_64_KERNEL_FILE_H

#include <stdint.h>

#include "arch/boot.h"

struct kernel_file {
	int fd;
	uint64_t len;
};

/* Reads the `len` bytes at `offset` of a header into our own memory. */
MUST_CHECK int kernel_file_read(const struct kernel_file *file, uint64_t offset, void *buf,
				size_t len, struct error *err);

/*
 * [base, base + len) is above 1 MiB and inside the first range of RAM: the only one that is always
 * there, and below 4 GiB. `what` names it.
 */
MUST_CHECK int kernel_place_check(const struct boot_info *boot, uint64_t base, uint64_t len,
				  const char *what, struct error *err);

#endif

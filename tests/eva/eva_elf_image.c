/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of any length and bytes, of which each read may find others.
 *
 * Options: -eva-precision 2 -eva-domains cvalue -eva-split-return full
 */
#include "tests/eva/kernel.h"

#include "arch/x86_64/kernel_file.c"

#include "arch/x86_64/elf_image.c"

void main(void)
{
	const struct kernel_file file = {3, any_u64()};
	static struct boot_info boot;
	struct error err = {0};

	make_boot(&boot);
	if (elf_image_load(NULL, &file, &boot, &err) == 0) {
		keep(boot.protocol);
		keep(boot.entry.v);
		keep(boot.kernel_end.v);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any place in a file of any length, and any place for it in memory of any length.
 *
 * Options: -eva-precision 3 -eva-split-return full
 */
#include "tests/eva/kernel.h"

#include "arch/x86_64/kernel_file.c"

void main(void)
{
	const struct kernel_file file = {3, any_u64()};
	struct boot_info boot;
	struct error err = {0};
	uint8_t bytes[64];

	make_boot(&boot);
	if (kernel_file_read(&file, any_u64(), bytes, sizeof(bytes), &err) == 0) {
		keep(bytes[sizeof(bytes) - 1]);
	}
	keep(kernel_place_check(&boot, any_u64(), any_u64(), "part", &err));
}

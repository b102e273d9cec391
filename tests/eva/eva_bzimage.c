/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of any length and bytes.
 *
 * Options: -eva-precision 6 -eva-split-return full
 */
#include "tests/eva/kernel.h"

#include "arch/x86_64/kernel_file.c"

#include "arch/x86_64/bzimage.c"

void main(void)
{
	const struct kernel_file file = {3, any_u64()};
	struct boot_info boot;
	struct error err = {0};

	make_boot(&boot);
	if (bzimage_load(NULL, &file, &boot, &err) == 0) {
		keep(boot.protocol);
		keep(boot.entry.v);
		keep(boot.kernel_end.v);
		/* What is told of the header is filled. */
		/*@ assert 17 <= boot.setup_header_len <= sizeof(boot.setup_header); */
		keep(boot.setup_header[16]);
	}
}

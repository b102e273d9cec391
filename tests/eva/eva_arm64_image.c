/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of any length and bytes, an initrd of any length, and any device.
 *
 * Options: -eva-precision 3 -eva-split-return full
 */
#include "tests/eva/eva.h"

#include "tests/eva/kernel.h"

#include "arch/aarch64/boot.c"

void main(void)
{
	struct boot_info boot;
	struct platform_dev dev;
	struct error err = {0};
	char text[64];

	make_boot(&boot);
	keep((uint64_t)boot_protocol_name(BOOT_ARM64_IMAGE)[0]);
	if (arch_load_kernel(NULL, 3, any_u64(), &boot, &err) == 0) {
		keep(boot.protocol);
		keep(boot.entry.v);
		if (arch_initrd_place(&boot, any_between(1, UINT64_MAX), &err) == 0) {
			keep(boot.initrd.v);
			keep(boot.initrd_len);
		}
	}
	fill(&dev, sizeof(dev));
	arch_platform_cmdline(&dev, text, sizeof(text));
	keep((unsigned char)text[0]);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel's file for EVA: any length and bytes, and a host that may fail to read them. */
#ifndef TESTS_EVA_KERNEL_H
#define TESTS_EVA_KERNEL_H

#include "arch/boot.h"
#include "tests/eva/error.h"
#include "tests/eva/eva.h"
#include "vmm/base/fd.h"

int pread_full(int fd, void *buf, size_t len, uint64_t offset, struct error *err)
{
	keep((uint64_t)fd + offset);
	if (any_bool()) {
		return error_sys(err, "");
	}
	if (len > 0) {
		fill(buf, len);
	}
	return 0;
}

int gmem_load_file(struct gmem *mem, gpa_t gpa, int fd, uint64_t offset, uint64_t len,
		   struct error *err)
{
	(void)mem;
	keep(gpa.v + (uint64_t)fd + offset + len);
	return any_bool() ? 0 : error_sys(err, "");
}

/* What is known before a kernel is loaded: the memory, of which the first range is there. */
static inline void make_boot(struct boot_info *boot)
{
	boot->ram[0].base.v = any_u64();
	boot->ram[0].len = any_u64();
	boot->ram_count = 1;
}

#endif

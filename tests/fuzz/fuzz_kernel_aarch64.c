/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the arm64 kernel loader: the input is the kernel file, and its last 8 bytes are also the
 * length of the initrd. Whatever loads must lie between system area and FDT without overlap;
 * whatever does not must come with a sentence.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/aarch64/boot.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	RAM_MIB = 8
};

static void boot(struct gmem *mem, int fd, const uint8_t *data, size_t len)
{
	const struct arch_vm vm = {.vcpu_count = 1, .gic = {.version = GIC_V3}};
	struct boot_info boot = {
		.ram = {{GPA(LAYOUT_RAM), RAM_MIB * MIB}},
		.ram_count = 1,
		.cmdline = "console=ttyS0",
	};
	struct error err = {0};
	uint64_t fdt = boot_fdt_address(&boot).v;

	if (arch_load_kernel(mem, fd, len, &boot, &err) < 0) {
		require_fault(&err);
		return;
	}
	require(boot.entry.v >= LAYOUT_RAM + LAYOUT_SYSTEM_LEN);
	require(boot.kernel_end.v >= boot.entry.v + len && boot.kernel_end.v <= fdt);

	/* An accepted Image is longer than its 64-byte header. */
	uint64_t initrd_len = max_u64(load_le64(data + len - 8), 1);

	if (arch_initrd_place(&boot, initrd_len, &err) < 0) {
		require_fault(&err);
		require(boot.initrd_len == 0);
	} else {
		require(boot.initrd.v >= boot.kernel_end.v && boot.initrd.v < fdt);
		require(initrd_len <= fdt - boot.initrd.v);
	}
	error_clear(&err);
	require(arch_write_boot_info(&vm, mem, &boot, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct gmem_range ram = {GPA(LAYOUT_RAM), RAM_MIB * MIB};
	AUTO_FD fd = memfd_create("kernel", MFD_CLOEXEC);
	struct gmem *mem = NULL;
	struct error err = {0};

	require(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	require(gmem_new(&ram, 1, GMEM_ANON, &mem, &err) == 0);
	boot(mem, fd, data, len);
	gmem_free(mem);
	return 0;
}

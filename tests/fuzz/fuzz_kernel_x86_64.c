/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the x86_64 kernel loaders: the input is the kernel file, and its last 8 bytes are also the
 * length of the initrd. Whatever loads must lie in the first range of RAM without overlap;
 * whatever does not must come with a sentence. The seeds are the images of
 * tests/unit/x86_64/images.c.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/boot.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	RAM_MIB = 64
};

static void place_initrd(struct boot_info *boot, uint64_t len)
{
	struct error err = {0};

	if (len == 0) {
		return;
	}
	if (arch_initrd_place(boot, len, &err) != 0) {
		require_fault(&err);
		require(boot->initrd_len == 0);
		return;
	}
	require(boot->initrd.v >= boot->kernel_end.v);
	require(boot->initrd.v + len <= RAM_MIB * MIB);
	require(is_aligned(boot->initrd.v, 4096));
}

static void boot_kernel(struct gmem *mem, int fd, const uint8_t *data, size_t len)
{
	const struct arch_vm vm = {.vcpu_count = 2};
	struct boot_info boot = {
		.ram = {{GPA(0), RAM_MIB * MIB}},
		.ram_count = 1,
		.cmdline = arch_cmdline_default,
		.devs = {{.kind = PLATFORM_VIRTIO_MMIO,
			  .base = LAYOUT_VIRTIO_MMIO,
			  .len = 0x1000,
			  .gsi = GSI_FIRST}},
		.dev_count = 1,
	};
	struct error err = {0};

	if (arch_load_kernel(mem, fd, len, &boot, &err) != 0) {
		require_fault(&err);
		return;
	}
	require(boot.entry.v >= LAYOUT_HIGH_RAM && boot.entry.v < boot.kernel_end.v);
	require(boot.kernel_end.v <= RAM_MIB * MIB);
	require(boot.setup_header_len <= sizeof(boot.setup_header));
	place_initrd(&boot, len >= 8 ? load_le64(data + len - 8) : 0);
	require(arch_write_boot_info(&vm, mem, &boot, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct gmem_range ram = {GPA(0), RAM_MIB * MIB};
	struct gmem *mem = NULL;
	struct error err = {0};
	AUTO_FD fd = memfd_create("kernel", MFD_CLOEXEC);

	require(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	require(gmem_new(&ram, 1, GMEM_ANON, &mem, &err) == 0);
	boot_kernel(mem, fd, data, len);
	gmem_free(mem);
	return 0;
}

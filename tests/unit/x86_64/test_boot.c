/* SPDX-License-Identifier: Apache-2.0 */
/* Recognising kernels, placing initrds, and writing all that a guest reads at start. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "images.h"
#include "vmm/base/bytes.h"

enum {
	GUEST_MIB = 64
};

static const struct {
	const char *what;
	size_t at;
	const char *magic;
	size_t len; /* of the magic */
	const char *sentence;
} foreign[] = {
	{"gzip", 0, "\x1f\x8b\x08", 3, "compressed with gzip"},
	{"xz", 0, "\xfd\x37\x7a\x58\x5a\x00", 6, "compressed with xz"},
	{"zstd", 0, "\x28\xb5\x2f\xfd", 4, "compressed with zstd"},
	{"lz4", 0, "\x02\x21\x4c\x18", 4, "compressed with lz4"},
	{"bzip2", 0, "BZh9", 4, "compressed with bzip2"},
	{"aarch64 Image", 56, "ARM\x64", 4, "aarch64 Image"},
	{"text", 0, "#!/bin/sh\n", 10, "neither an ELF (vmlinux) nor a bzImage"},
	{"zeroes", 0, "", 0, "neither an ELF (vmlinux) nor a bzImage"},
};

Test(boot, foreign_files_are_named_for_what_they_are)
{
	for (size_t i = 0; i < ARRAY_COUNT(foreign); i++) {
		struct image image = {.len = 1024};
		struct guest guest = guest_new(GUEST_MIB);
		struct error err = {0};

		memcpy(image.bytes + foreign[i].at, foreign[i].magic, foreign[i].len);
		cr_expect_eq(guest_load(&guest, &image, &err), -1, "%s", foreign[i].what);
		cr_expect_eq(err.kind, ERR_CORRUPT, "%s", foreign[i].what);
		cr_expect_neq(strstr(err.msg, foreign[i].sentence), NULL, "%s: %s", foreign[i].what,
			      err.msg);
		guest_free(&guest);
	}
}

Test(boot, an_empty_file_is_said_to_be_empty)
{
	const struct image image = {.len = 0};
	struct guest guest = guest_new(GUEST_MIB);
	struct error err = {0};

	cr_assert_eq(guest_load(&guest, &image, &err), -1);
	cr_assert_str_eq(err.msg, "The kernel file is empty");
	guest_free(&guest);
}

Test(boot, a_file_that_shrank_since_it_was_measured_is_an_error)
{
	struct guest guest = guest_new(GUEST_MIB);
	const struct image image = image_elf();
	struct error err = {0};
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	cr_assert_eq(write(fd, image.bytes, 100), 100);
	cr_assert_eq(arch_load_kernel(guest.mem, fd, image.len, &guest.boot, &err), -1);
	cr_assert_neq(err.kind, ERR_NONE);
	close(fd);
	guest_free(&guest);
}

static const struct {
	const char *what;
	uint64_t ram_mib;
	uint64_t kernel_end;
	uint64_t len;
	uint64_t base; /* 0: does not fit */
} initrds[] = {
	{"ends with RAM", 64, 32 * MIB, MIB, 63 * MIB},
	{"starts on a page", 64, 32 * MIB, MIB + 1, 63 * MIB - 4096},
	{"one byte", 64, 32 * MIB, 1, 64 * MIB - 4096},
	{"fills what is left", 64, 32 * MIB, 32 * MIB, 32 * MIB},
	{"one byte too many", 64, 32 * MIB, 32 * MIB + 1, 0},
	{"would start on the kernel's last page", 64, 32 * MIB + 1, 32 * MIB, 0},
	{"larger than RAM", 64, 32 * MIB, 65 * MIB, 0},
	{"of 2^64 - 1 bytes", 64, 32 * MIB, UINT64_MAX, 0},
	{"below the MMIO gap", 4096, 32 * MIB, MIB, 3072 * MIB - MIB},
};

Test(boot, an_initrd_goes_to_the_end_of_the_first_range)
{
	for (size_t i = 0; i < ARRAY_COUNT(initrds); i++) {
		struct boot_info boot = {.protocol = BOOT_PVH,
					 .kernel_end = GPA(initrds[i].kernel_end)};
		struct error err = {0};
		const bool fits = initrds[i].base != 0;

		boot.ram_count = arch_ram_ranges(initrds[i].ram_mib * MIB, boot.ram);
		cr_expect_eq(arch_initrd_place(&boot, initrds[i].len, &err), fits ? 0 : -1, "%s",
			     initrds[i].what);
		cr_expect_eq(boot.initrd.v, initrds[i].base, "%s: 0x%lx", initrds[i].what,
			     boot.initrd.v);
		cr_expect_eq(boot.initrd_len, fits ? initrds[i].len : 0, "%s", initrds[i].what);
		cr_expect_eq(err.kind, fits ? ERR_NONE : ERR_BAD_REQUEST, "%s", initrds[i].what);
	}
}

Test(boot, an_initrd_stays_where_the_bzimage_can_reach_it)
{
	struct image image = image_bzimage();
	struct guest guest = guest_new(3000);
	struct error err = {0};

	cr_assert_eq(guest_load(&guest, &image, &err), 0);
	cr_assert_eq(arch_initrd_place(&guest.boot, MIB, &err), 0);
	cr_assert_eq(guest.boot.initrd.v, 2048 * MIB - MIB);
	/* initrd_addr_max is the last byte, and may be all ones. */
	store_le32(image.bytes + 0x22c, UINT32_MAX);
	cr_assert_eq(guest_load(&guest, &image, &err), 0);
	cr_assert_eq(arch_initrd_place(&guest.boot, MIB, &err), 0);
	cr_assert_eq(guest.boot.initrd.v, 2999 * MIB);
	guest_free(&guest);
}

Test(boot, only_virtio_mmio_is_told_on_the_command_line)
{
	const struct platform_dev virtio = {.kind = PLATFORM_VIRTIO_MMIO,
					    .bus = BUS_MMIO,
					    .base = 0xc0013000,
					    .len = 0x1000,
					    .gsi = 23};
	const struct platform_dev serial = {
		.kind = PLATFORM_SERIAL, .bus = BUS_PIO, .base = 0x3f8, .len = 8, .gsi = 4};
	char text[64] = "unchanged";

	arch_platform_cmdline(&virtio, text, sizeof(text));
	cr_assert_str_eq(text, "virtio_mmio.device=4K@0xc0013000:23");
	arch_platform_cmdline(&serial, text, sizeof(text));
	cr_assert_str_eq(text, "");
	arch_platform_cmdline(&virtio, text, 8);
	cr_assert_str_eq(text, "virtio_");
}

Test(boot, each_protocol_has_the_name_that_the_log_shows)
{
	cr_expect_str_eq(boot_protocol_name(BOOT_PVH), "PVH boot protocol");
	cr_expect_str_eq(boot_protocol_name(BOOT_LINUX64_ELF), "Linux 64-bit boot protocol");
	cr_expect_str_eq(boot_protocol_name(BOOT_LINUX64_BZIMAGE),
			 "Linux 64-bit boot protocol (bzImage)");
}

static const struct arch_vm two_vcpus = {.vcpu_count = 2};

Test(boot, a_64_bit_kernel_finds_zero_page_tables_and_firmware)
{
	const struct image image = image_bzimage();
	struct guest guest = guest_new(GUEST_MIB);
	struct error err = {0};

	guest.boot.cmdline = "reboot=k panic=1";
	cr_assert_eq(guest_load(&guest, &image, &err), 0);
	cr_assert_eq(arch_write_boot_info(&two_vcpus, guest.mem, &guest.boot, &err), 0, "%s",
		     err.msg);
	cr_expect_eq(guest_u32(&guest, 0x20000), load_le32("rebo"));
	cr_expect_eq(guest_u32(&guest, 0x7202), load_le32("HdrS"));
	cr_expect_eq(guest_u64(&guest, 0x9000), 0xa003);
	cr_expect_eq(guest_u32(&guest, 0x9fc00), load_le32("_MP_"));
	cr_expect_eq(guest_u64(&guest, 0xe0000), load_le64("RSD PTR "));
	cr_expect_eq(guest_u32(&guest, 0x6000), 0);
	guest_free(&guest);
}

Test(boot, a_pvh_kernel_finds_start_info_and_firmware)
{
	const struct image image = image_pvh();
	struct guest guest = guest_new(GUEST_MIB);
	struct error err = {0};

	cr_assert_eq(guest_load(&guest, &image, &err), 0);
	cr_assert_eq(arch_write_boot_info(&two_vcpus, guest.mem, &guest.boot, &err), 0, "%s",
		     err.msg);
	cr_expect_eq(guest_u32(&guest, 0x6000), 0x336ec578);
	cr_expect_eq(guest_u32(&guest, 0x9fc00), load_le32("_MP_"));
	cr_expect_eq(guest_u64(&guest, 0xe0000), load_le64("RSD PTR "));
	cr_expect_eq(guest_u64(&guest, 0x9000), 0);
	guest_free(&guest);
}

Test(boot, the_longest_command_line_fits_and_no_longer_one)
{
	char cmdline[ARCH_CMDLINE_MAX + 1];
	const struct image image = image_pvh();
	struct guest guest = guest_new(GUEST_MIB);
	struct error err = {0};

	memset(cmdline, 'x', sizeof(cmdline));
	cmdline[ARCH_CMDLINE_MAX - 1] = '\0';
	guest.boot.cmdline = cmdline;
	cr_assert_eq(guest_load(&guest, &image, &err), 0);
	cr_assert_eq(arch_write_boot_info(&two_vcpus, guest.mem, &guest.boot, &err), 0);
	cmdline[ARCH_CMDLINE_MAX - 1] = 'x';
	cmdline[ARCH_CMDLINE_MAX] = '\0';
	cr_assert_eq(arch_write_boot_info(&two_vcpus, guest.mem, &guest.boot, &err), -1);
	cr_assert_eq(err.kind, ERR_TOO_LARGE);
	guest_free(&guest);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The zero page, by the offsets of Linux's Documentation/arch/x86/zero-page.rst. */
#include "zeropage.h"

#include <criterion/criterion.h>

#include "images.h"
#include "vmm/base/bytes.h"

enum {
	PAGE = 0x7000,
	ACPI_RSDP = PAGE + 0x70,
	EXT_RAMDISK_IMAGE = PAGE + 0xc0,
	EXT_RAMDISK_SIZE = PAGE + 0xc4,
	E820_ENTRIES = PAGE + 0x1e8,
	SENTINEL = PAGE + 0x1ef,
	BOOT_FLAG = PAGE + 0x1fe,
	HEADER = PAGE + 0x202,
	VERSION = PAGE + 0x206,
	TYPE_OF_LOADER = PAGE + 0x210,
	RAMDISK_IMAGE = PAGE + 0x218,
	RAMDISK_SIZE = PAGE + 0x21c,
	CMD_LINE_PTR = PAGE + 0x228,
	KERNEL_ALIGNMENT = PAGE + 0x230,
	CMDLINE_SIZE = PAGE + 0x238,
	E820_TABLE = PAGE + 0x2d0,
	E820_ENTRY = 20,
};

static void expect_e820(const struct guest *guest, unsigned index, uint64_t base, uint64_t len,
			uint32_t type)
{
	const uint64_t at = E820_TABLE + index * E820_ENTRY;

	cr_expect_eq(guest_u64(guest, at), base, "entry %u", index);
	cr_expect_eq(guest_u64(guest, at + 8), len, "entry %u", index);
	cr_expect_eq(guest_u32(guest, at + 16), type, "entry %u", index);
}

Test(zeropage, an_elf_kernel_gets_the_fields_that_its_file_does_not_have)
{
	struct guest guest = guest_new(64);
	struct error err = {0};

	guest.boot.protocol = BOOT_LINUX64_ELF;
	guest.boot.cmdline = "quiet";
	cr_assert_eq(zeropage_write(guest.mem, &guest.boot, &err), 0);
	cr_expect_eq(guest_u16(&guest, BOOT_FLAG), 0xaa55);
	cr_expect_eq(guest_u32(&guest, HEADER), 0x53726448);
	cr_expect_eq(guest_u16(&guest, TYPE_OF_LOADER) & 0xff, 0xff);
	cr_expect_eq(guest_u32(&guest, KERNEL_ALIGNMENT), 0x1000000);
	cr_expect_eq(guest_u32(&guest, CMD_LINE_PTR), 0x20000);
	cr_expect_eq(guest_u32(&guest, CMDLINE_SIZE), 6);
	cr_expect_eq(guest_u64(&guest, ACPI_RSDP), 0xe0000);
	cr_expect_eq(guest_u32(&guest, RAMDISK_SIZE), 0);
	/* A page with another sentinel would be taken for a broken loader's and cleared. */
	cr_expect_eq(guest_u16(&guest, SENTINEL) & 0xff, 0);
	guest_free(&guest);
}

Test(zeropage, a_bzimage_keeps_the_header_of_its_file)
{
	const struct image image = image_bzimage();
	struct guest guest = guest_new(64);
	struct error err = {0};

	cr_assert_eq(guest_load(&guest, &image, &err), 0);
	cr_assert_eq(zeropage_write(guest.mem, &guest.boot, &err), 0);
	cr_expect_eq(guest_u16(&guest, VERSION), 0x020f);
	cr_expect_eq(guest_u32(&guest, KERNEL_ALIGNMENT), 0x200000);
	cr_expect_eq(guest_u16(&guest, TYPE_OF_LOADER) & 0xff, 0xff);
	cr_expect_eq(guest_u32(&guest, CMD_LINE_PTR), 0x20000);
	guest_free(&guest);
}

Test(zeropage, an_initrd_is_told_with_all_64_bits)
{
	struct guest guest = guest_new(64);
	struct error err = {0};

	guest.boot.protocol = BOOT_LINUX64_ELF;
	guest.boot.initrd = GPA(0x123456000);
	guest.boot.initrd_len = 0x2abcdef01;
	cr_assert_eq(zeropage_write(guest.mem, &guest.boot, &err), 0);
	cr_expect_eq(guest_u32(&guest, RAMDISK_IMAGE), 0x23456000);
	cr_expect_eq(guest_u32(&guest, EXT_RAMDISK_IMAGE), 1);
	cr_expect_eq(guest_u32(&guest, RAMDISK_SIZE), 0xabcdef01);
	cr_expect_eq(guest_u32(&guest, EXT_RAMDISK_SIZE), 2);
	guest_free(&guest);
}

Test(zeropage, the_e820_table_is_the_memory_map)
{
	struct guest guest = guest_new(4096);
	struct error err = {0};

	guest.boot.protocol = BOOT_LINUX64_ELF;
	cr_assert_eq(zeropage_write(guest.mem, &guest.boot, &err), 0);
	cr_assert_eq(guest_u16(&guest, E820_ENTRIES) & 0xff, 5);
	expect_e820(&guest, 0, 0, 0x9fc00, 1);
	expect_e820(&guest, 1, 0x9fc00, 0xe0000 - 0x9fc00, 2);
	expect_e820(&guest, 2, 0xeec00000, 256 * MIB, 2);
	expect_e820(&guest, 3, MIB, 3 * GIB - MIB, 1);
	expect_e820(&guest, 4, 4 * GIB, GIB, 1);
	guest_free(&guest);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* arch/aarch64/boot.c: real files, damaged files, and what fits where. */
#include "arch/aarch64/boot.h"

#include <criterion/criterion.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	PE_AT = 64,
	PE_OPTIONAL = 32,
	SECTIONS_AT = PE_AT + 24 + PE_OPTIONAL,
	CODE_AT = 1024,
	FILE_LEN = 8192,
};

static const uint64_t ram_base = UINT64_C(0x80000000);
static const uint64_t kernel_base = UINT64_C(0x80200000);

struct machine {
	struct gmem *mem;
	struct boot_info boot;
	uint8_t file[FILE_LEN];
};

/* A machine with `mib` MiB, and in `file` an Image with an EFI stub: two sections fill it. */
static void machine_init(struct machine *m, uint64_t mib)
{
	struct error err = {0};

	*m = (struct machine){0};
	m->boot.ram_count = arch_ram_ranges(mib * MIB, m->boot.ram);
	cr_assert_eq(gmem_new(m->boot.ram, m->boot.ram_count, GMEM_ANON, &m->mem, &err), 0);

	for (size_t i = CODE_AT; i < sizeof(m->file); i++) {
		m->file[i] = (uint8_t)(i * 7);
	}
	memcpy(m->file, "MZ", 2);
	store_le64(m->file + 16, 0x10000);
	store_le64(m->file + 24, 0xa);
	memcpy(m->file + 56, "ARM\x64", 4);
	store_le32(m->file + 60, PE_AT);
	memcpy(m->file + PE_AT, "PE\0", 4);
	store_le16(m->file + PE_AT + 6, 2);
	store_le16(m->file + PE_AT + 20, PE_OPTIONAL);
	for (uint32_t i = 0; i < 2; i++) {
		store_le32(m->file + SECTIONS_AT + 40 * i + 16, (FILE_LEN - CODE_AT) / 2);
		store_le32(m->file + SECTIONS_AT + 40 * i + 20,
			   CODE_AT + i * (FILE_LEN - CODE_AT) / 2);
	}
}

static int load(struct machine *m, uint64_t file_len, struct error *err)
{
	AUTO_FD fd = memfd_create("kernel", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, m->file, sizeof(m->file)), (ssize_t)sizeof(m->file));
	cr_assert_eq(ftruncate(fd, (off_t)file_len), 0);
	return arch_load_kernel(m->mem, fd, file_len, &m->boot, err);
}

/* One change to the good file: `len` bytes at `at`. */
struct change {
	size_t at;
	const char *bytes;
	size_t len;
};

#define CHANGE(at, text) (at), (text), sizeof(text) - 1

Test(boot, an_image_is_loaded_above_the_system_area)
{
	struct machine m;
	struct error err = {0};
	uint8_t loaded[FILE_LEN];

	machine_init(&m, 64);
	cr_assert_eq(load(&m, FILE_LEN, &err), 0, "%s", err.msg);
	cr_assert_eq(m.boot.protocol, BOOT_ARM64_IMAGE);
	cr_assert_eq(m.boot.entry.v, kernel_base);
	cr_assert_eq(m.boot.kernel_end.v, kernel_base + 0x10000);
	cr_assert_eq(gmem_read(m.mem, m.boot.entry, loaded, sizeof(loaded)), 0);
	cr_assert_eq(memcmp(loaded, m.file, sizeof(loaded)), 0);
	cr_assert_str_eq(boot_protocol_name(m.boot.protocol), "Linux 64-bit boot protocol");
	gmem_free(m.mem);
}

Test(boot, the_header_decides_where_an_image_goes)
{
	static const struct {
		const char *name;
		struct change change;
		uint64_t load_offset;
		uint64_t end_offset;
	} cases[] = {
		{"text_offset", {CHANGE(8, "\0\0\x08")}, 0x80000, 0x90000},
		{"no image_size: text_offset is not to be trusted either",
		 {CHANGE(8, "\1\1\1\0\0\0\0\0\0\0\0")},
		 0x80000,
		 0x80000 + FILE_LEN},
		{"image_size shorter than the file", {CHANGE(16, "\1\0\0")}, 0, FILE_LEN},
		{"64 KiB pages", {CHANGE(24, "\x0e")}, 0, 0x10000},
		{"no PE header", {CHANGE(60, "\0")}, 0, 0x10000},
		{"a PE offset beyond the file", {CHANGE(60, "\xff\xff\xff\xff")}, 0, 0x10000},
		{"no PE signature, so its other fields mean nothing",
		 {CHANGE(PE_AT, "NE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff")},
		 0,
		 0x10000},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct machine m;
		struct error err = {0};

		machine_init(&m, 64);
		memcpy(m.file + cases[i].change.at, cases[i].change.bytes, cases[i].change.len);
		cr_expect_eq(load(&m, FILE_LEN, &err), 0, "%s: %s", cases[i].name, err.msg);
		cr_expect_eq(m.boot.entry.v, kernel_base + cases[i].load_offset, "%s",
			     cases[i].name);
		cr_expect_eq(m.boot.kernel_end.v, kernel_base + cases[i].end_offset, "%s",
			     cases[i].name);
		gmem_free(m.mem);
	}
}

Test(boot, what_is_no_image_is_refused_by_name)
{
	static const struct {
		const char *name;
		struct change change;
		const char *sentence;
	} cases[] = {
		{"gzip", {CHANGE(0, "\x1f\x8b")}, "gunzip"},
		{"zstd", {CHANGE(0, "\x28\xb5\x2f\xfd")}, "unzstd"},
		{"xz", {CHANGE(0, "\3757zXZ\0")}, "unxz"},
		{"lz4", {CHANGE(0, "\x02\x21\x4c\x18")}, "unlz4"},
		{"bzip2", {CHANGE(0, "BZh9")}, "bunzip2"},
		{"zboot", {CHANGE(0, "MZ\0\0zimg")}, "zboot"},
		{"vmlinux", {CHANGE(0, "\177ELF")}, "vmlinux"},
		{"bzImage", {CHANGE(0x202, "HdrS")}, "x86 bzImage"},
		{"anything", {CHANGE(0, "\0\0")}, "not an arm64 Image"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct machine m;
		struct error err = {0};

		machine_init(&m, 64);
		memset(m.file, 0, CODE_AT);
		memcpy(m.file + cases[i].change.at, cases[i].change.bytes, cases[i].change.len);
		cr_expect_eq(load(&m, FILE_LEN, &err), -1, "%s", cases[i].name);
		cr_expect_eq(err.kind, ERR_CORRUPT, "%s", cases[i].name);
		cr_expect_not_null(strstr(err.msg, cases[i].sentence), "%s: %s", cases[i].name,
				   err.msg);
		gmem_free(m.mem);
	}
}

Test(boot, a_damaged_image_is_refused)
{
	static const struct {
		const char *name;
		struct change change;
		enum error_kind kind;
		const char *sentence;
	} cases[] = {
		{"big-endian", {CHANGE(24, "\x0b")}, ERR_CORRUPT, "big-endian"},
		{"odd text_offset", {CHANGE(8, "\2")}, ERR_CORRUPT, "text_offset of 0x2"},
		{"huge text_offset",
		 {CHANGE(8, "\0\0\0\0\0\0\0\x80")},
		 ERR_BAD_REQUEST,
		 "offset of 0x8000000000000000"},
		{"text_offset that wraps around",
		 {CHANGE(8, "\0\0\xf0\xff\xff\xff\xff\xff")},
		 ERR_BAD_REQUEST,
		 "do not fit"},
		{"huge image_size",
		 {CHANGE(16, "\xff\xff\xff\xff\xff\xff\xff\xff")},
		 ERR_BAD_REQUEST,
		 "18446744073709551615 bytes"},
		{"image_size of all the memory",
		 {CHANGE(16, "\0\0\0\4")},
		 ERR_BAD_REQUEST,
		 "memory of 64 MiB; raise mem_size_mib"},
		{"section table beyond the end",
		 {CHANGE(PE_AT + 20, "\xff\xff")},
		 ERR_CORRUPT,
		 "cut off"},
		{"section with a huge length",
		 {CHANGE(SECTIONS_AT + 16, "\xff\xff\xff\xff")},
		 ERR_CORRUPT,
		 "at least 4294968319 bytes, but the file has 8192"},
		{"section with a huge offset",
		 {CHANGE(SECTIONS_AT + 60, "\xff\xff\xff\xff")},
		 ERR_CORRUPT,
		 "cut off"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct machine m;
		struct error err = {0};

		machine_init(&m, 64);
		memcpy(m.file + cases[i].change.at, cases[i].change.bytes, cases[i].change.len);
		cr_expect_eq(load(&m, FILE_LEN, &err), -1, "%s", cases[i].name);
		cr_expect_eq(err.kind, cases[i].kind, "%s", cases[i].name);
		cr_expect_not_null(strstr(err.msg, cases[i].sentence), "%s: %s", cases[i].name,
				   err.msg);
		gmem_free(m.mem);
	}
}

Test(boot, a_truncated_image_is_refused_at_any_length)
{
	static const struct {
		uint64_t len;
		const char *sentence;
	} cases[] = {
		{0, "is empty"},
		{1, "has 1 bytes, too few"},
		{63, "has 63 bytes, too few"},
		/* long enough for what the PE header says of itself */
		{PE_AT + 24, "cut off"},
		{SECTIONS_AT, "cut off"},
		{SECTIONS_AT + 80, "cut off"},
		{4096, "at least 8192 bytes, but the file has 4096"},
		{FILE_LEN - 1, "cut off"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct machine m;
		struct error err = {0};

		machine_init(&m, 64);
		cr_expect_eq(load(&m, cases[i].len, &err), -1, "%zu", i);
		cr_expect_eq(err.kind, ERR_CORRUPT, "%zu", i);
		cr_expect_not_null(strstr(err.msg, cases[i].sentence), "%zu: %s", i, err.msg);
		gmem_free(m.mem);
	}
}

Test(boot, a_file_that_shrinks_while_it_is_read_is_refused)
{
	struct machine m;
	struct error err = {0};
	AUTO_FD fd = memfd_create("kernel", MFD_CLOEXEC);

	machine_init(&m, 64);
	cr_assert_eq(write(fd, m.file, FILE_LEN), FILE_LEN);
	cr_assert_eq(arch_load_kernel(m.mem, fd, FILE_LEN + 4096, &m.boot, &err), -1);
	cr_assert_eq(err.kind, ERR_CORRUPT);
	cr_assert_not_null(strstr(err.msg, "ends too early"), "%s", err.msg);
	gmem_free(m.mem);
}

Test(boot, a_kernel_fits_exactly_or_not_at_all)
{
	/* 64 MiB less system area and FDT */
	static const uint64_t room = 60 * MIB;

	for (uint64_t excess = 0; excess <= 1; excess++) {
		struct machine m;
		struct error err = {0};

		machine_init(&m, 64);
		store_le64(m.file + 16, room + excess);
		cr_expect_eq(load(&m, FILE_LEN, &err), excess == 0 ? 0 : -1);
		gmem_free(m.mem);
	}
}

Test(boot, a_machine_too_small_for_any_kernel_is_an_error)
{
	for (uint64_t mib = 1; mib <= 4; mib++) {
		struct machine m;
		struct error err = {0};

		machine_init(&m, mib);
		cr_expect_eq(load(&m, FILE_LEN, &err), -1, "%d MiB", (int)mib);
		cr_expect_eq(err.kind, ERR_BAD_REQUEST);
		gmem_free(m.mem);
	}
}

Test(boot, an_initrd_ends_right_below_the_fdt)
{
	static const struct {
		uint64_t ram_len;
		uint64_t len;
		uint64_t address;
	} cases[] = {
		{64 * MIB, 4096, 0x83dff000},
		{64 * MIB, 4095, 0x83dff000},
		{64 * MIB, 4097, 0x83dfe000},
		{64 * MIB, 1, 0x83dff000},
		/* the kernel looks no further than 32 GiB */
		{33 * GIB, 4096, 0x87ffff000},
		{300 * GIB, 4096, 0x87ffff000},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct boot_info boot = {.kernel_end = GPA(0x80300000)};
		struct error err = {0};

		boot.ram_count = arch_ram_ranges(cases[i].ram_len, boot.ram);
		cr_expect_eq(arch_initrd_place(&boot, cases[i].len, &err), 0, "%zu", i);
		cr_expect_eq(boot.initrd.v, cases[i].address, "%zu: %llx", i,
			     (unsigned long long)boot.initrd.v);
		cr_expect_eq(boot.initrd_len, cases[i].len);
	}
}

Test(boot, an_initrd_never_reaches_into_the_kernel)
{
	static const struct {
		uint64_t kernel_end;
		uint64_t len;
		int result;
	} cases[] = {
		{0x83dfe000, 8192, 0},
		{0x83dfe000, 4097, 0},
		{0x83dfe000, 8193, -1},
		{0x83dfe001, 8191, -1}, /* fits, but not on a page */
		{0x83e00000, 1, -1},
		{0x83e00001, 1, -1},
		{0x83e00001, UINT64_MAX - 4095, -1}, /* wraps around twice */
		{0x80200000, UINT64_MAX, -1},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct boot_info boot = {.kernel_end = GPA(cases[i].kernel_end)};
		struct error err = {0};

		boot.ram_count = arch_ram_ranges(64 * MIB, boot.ram);
		cr_expect_eq(arch_initrd_place(&boot, cases[i].len, &err), cases[i].result, "%zu",
			     i);
		cr_expect_eq(err.kind, cases[i].result == 0 ? ERR_NONE : ERR_BAD_REQUEST);
		cr_expect_eq(boot.initrd_len, cases[i].result == 0 ? cases[i].len : 0);
	}
}

Test(boot, the_fdt_has_the_last_2_mib_of_the_first_range)
{
	struct boot_info boot = {0};

	boot.ram_count = arch_ram_ranges(128 * MIB, boot.ram);
	cr_assert_eq(boot_fdt_address(&boot).v, ram_base + 126 * MIB);
	boot.ram_count = arch_ram_ranges(300 * GIB, boot.ram);
	cr_assert_eq(boot_fdt_address(&boot).v, 256 * GIB - 2 * MIB);
}

Test(boot, only_the_serial_port_is_on_the_command_line)
{
	size_t count;
	const struct platform_dev *slots = arch_platform_slots(&count);

	for (size_t i = 0; i < count; i++) {
		char buf[64] = "x";
		char small[9] = "x";

		arch_platform_cmdline(&slots[i], buf, sizeof(buf));
		cr_expect_str_eq(buf, slots[i].kind == PLATFORM_SERIAL
					      ? "earlycon=uart,mmio,0x40002000"
					      : "");
		arch_platform_cmdline(&slots[i], small, sizeof(small));
		cr_expect_str_eq(small, slots[i].kind == PLATFORM_SERIAL ? "earlycon" : "");
	}
}

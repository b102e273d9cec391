/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads an arm64 Image and chooses the places of kernel, initrd and FDT.
 *
 * Theory of operation. An Image is a flat binary with a 64-byte header [linux-arm64-boot 4]: it
 * goes to text_offset above a 2 MiB boundary and is entered at its first byte. image_size is what
 * it uses from there on, its zeroed data included, which the file does not contain.
 *
 *	RAM: | system 2 MiB | text_offset | Image | zeroed | ...  | initrd | FDT 2 MiB |
 *
 * Nothing in the header says how long the file is. Images built with the EFI stub (all that
 * distributions ship) are PE files as well, whose section table does; that is how a file whose end
 * is missing is told from a whole one.
 */
#include "arch/aarch64/boot.h"

#include <stdio.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	HEAD_LEN = 1024, /* enough for every signature below */

	/* The header's fields, all little-endian. */
	IMAGE_TEXT_OFFSET = 8,
	IMAGE_SIZE = 16,
	IMAGE_FLAGS = 24,
	IMAGE_MAGIC = 56,
	IMAGE_PE_OFFSET = 60,
	IMAGE_HEADER_LEN = 64,

	/* Bit 0. The page size and the placement in the other bits are the kernel's own affair. */
	IMAGE_FLAG_BIG_ENDIAN = 1,

	/* Kernels before 3.17 have no image_size, and this text_offset whatever they say. */
	TEXT_OFFSET_OLD = 0x80000,
	INSTRUCTION_LEN = 4,

	INITRD_ALIGN = 4096,
};

/* PE files [pe-coff 2, 3]. */
enum {
	PE_HEADER_LEN = 24, /* signature and file header */
	PE_SECTION_COUNT = 6,
	PE_OPTIONAL_LEN = 20,
	PE_SECTION_LEN = 40,
	PE_SECTION_RAW_LEN = 16,
	PE_SECTION_RAW_OFFSET = 20,
	PE_SECTIONS_MAX = 16, /* a kernel has two to four */
};

/* Files that users take for an Image. */
static const struct {
	uint32_t offset;
	uint32_t len;
	const char *bytes;
	const char *advice;
} foreign[] = {
	{4, 4, "zimg", "is a compressed EFI image (zboot); give the Image inside it"},
	{0x202, 4, "HdrS", "is an x86 bzImage; give a kernel built for arm64"},
	{0, 4, "\177ELF", "is an ELF file (vmlinux); give arch/arm64/boot/Image of its build"},
	{0, 2, "\x1f\x8b", "is compressed with gzip; unpack it with gunzip"},
	{0, 4, "\x28\xb5\x2f\xfd", "is compressed with zstd; unpack it with unzstd"},
	{0, 6, "\3757zXZ", "is compressed with xz; unpack it with unxz"},
	{0, 4, "\x02\x21\x4c\x18", "is compressed with lz4; unpack it with unlz4"},
	{0, 3, "BZh", "is compressed with bzip2; unpack it with bunzip2"},
};

struct image {
	uint64_t text_offset;
	uint64_t memory_len; /* from the load address: the file and what the kernel zeroes */
};

const char *boot_protocol_name(enum boot_protocol protocol)
{
	(void)protocol;
	return "Linux 64-bit boot protocol"; /* [compat] also here, where there is only one */
}

/* Where in the file a section ends. */
static uint64_t section_end(const uint8_t section[PE_SECTION_LEN])
{
	return (uint64_t)load_le32(section + PE_SECTION_RAW_OFFSET) +
	       load_le32(section + PE_SECTION_RAW_LEN);
}

/* Fails if a section of the PE file would lie beyond its end. No PE header is fine. */
static int check_pe(int fd, uint64_t len, uint32_t pe_offset, struct error *err)
{
	uint8_t header[PE_HEADER_LEN];
	uint8_t sections[PE_SECTIONS_MAX * PE_SECTION_LEN] = {0};

	if (pe_offset == 0 || (uint64_t)pe_offset + PE_HEADER_LEN > len) {
		return 0;
	}
	if (pread_full(fd, header, sizeof(header), pe_offset, err) < 0) {
		return -1;
	}
	if (memcmp(header, "PE\0", 4) != 0) {
		return 0;
	}
	uint64_t table = (uint64_t)pe_offset + PE_HEADER_LEN + load_le16(header + PE_OPTIONAL_LEN);
	uint64_t count = min_u64(load_le16(header + PE_SECTION_COUNT), PE_SECTIONS_MAX);
	uint64_t needed = table + count * PE_SECTION_LEN;

	if (needed <= len) {
		if (pread_full(fd, sections, (size_t)count * PE_SECTION_LEN, table, err) < 0) {
			return -1;
		}
		for (size_t i = 0; i < count; i++) {
			needed = max_u64(needed, section_end(sections + i * PE_SECTION_LEN));
		}
	}
	if (needed > len) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel image is cut off: by its own section table it has at "
				 "least %llu bytes, but the file has %llu; copy it again",
				 (unsigned long long)needed, (unsigned long long)len);
	}
	return 0;
}

/* Says what a file without the magic number is, as far as that can be told. */
static int refuse_foreign(const uint8_t head[HEAD_LEN], uint64_t len, struct error *err)
{
	for (size_t i = 0; i < ARRAY_COUNT(foreign); i++) {
		if (memcmp(head + foreign[i].offset, foreign[i].bytes, foreign[i].len) == 0) {
			return error_set(err, ERR_CORRUPT, "The kernel image %s",
					 foreign[i].advice);
		}
	}
	if (len < IMAGE_HEADER_LEN) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel image has %llu bytes, too few for the header of an "
				 "arm64 Image; copy it again",
				 (unsigned long long)len);
	}
	return error_set(err, ERR_CORRUPT,
			 "The kernel image is not an arm64 Image: its magic number is missing; "
			 "give arch/arm64/boot/Image of a kernel build");
}

static int parse_header(const uint8_t head[HEAD_LEN], uint64_t len, struct image *image,
			struct error *err)
{
	if (len < IMAGE_HEADER_LEN || memcmp(head + IMAGE_MAGIC, "ARM\x64", 4) != 0) {
		return refuse_foreign(head, len, err);
	}
	if ((load_le64(head + IMAGE_FLAGS) & IMAGE_FLAG_BIG_ENDIAN) != 0) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel image is built for big-endian mode, which squib's "
				 "devices do not speak; build it without CONFIG_CPU_BIG_ENDIAN");
	}
	uint64_t image_size = load_le64(head + IMAGE_SIZE);

	image->text_offset =
		image_size == 0 ? TEXT_OFFSET_OLD : load_le64(head + IMAGE_TEXT_OFFSET);
	image->memory_len = max_u64(image_size, len);
	if (!is_aligned(image->text_offset, INSTRUCTION_LEN)) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel image's text_offset of %#llx is no instruction's "
				 "address; the file is damaged",
				 (unsigned long long)image->text_offset);
	}
	return 0;
}

gpa_t boot_fdt_address(const struct boot_info *boot)
{
	return GPA(boot->ram[0].base.v + boot->ram[0].len - LAYOUT_FDT_LEN_MAX);
}

/* Sets the kernel's place in *boot, or says that there is none. */
static int place_image(const struct image *image, struct boot_info *boot, struct error *err)
{
	uint64_t base = align_up(boot->ram[0].base.v + LAYOUT_SYSTEM_LEN, LAYOUT_KERNEL_ALIGN);
	uint64_t load = 0;
	uint64_t end = 0;

	if (!add_u64(base, image->text_offset, &load) || !add_u64(load, image->memory_len, &end) ||
	    end > boot_fdt_address(boot).v) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The kernel needs %llu bytes at an offset of %#llx, which do not "
				 "fit into the guest's memory of %llu MiB; raise mem_size_mib",
				 (unsigned long long)image->memory_len,
				 (unsigned long long)image->text_offset,
				 (unsigned long long)(boot->ram[0].len / MIB));
	}
	boot->protocol = BOOT_ARM64_IMAGE;
	boot->entry = GPA(load);
	boot->kernel_end = GPA(end);
	return 0;
}

int arch_load_kernel(struct gmem *mem, int fd, uint64_t len, struct boot_info *boot,
		     struct error *err)
{
	uint8_t head[HEAD_LEN] = {0};
	struct image image = {0};

	if (len == 0) {
		return error_set(err, ERR_CORRUPT, "The kernel image is empty");
	}
	if (pread_full(fd, head, (size_t)min_u64(len, sizeof(head)), 0, err) < 0) {
		return error_wrap(err, "Cannot read the kernel image");
	}
	if (parse_header(head, len, &image, err) < 0 ||
	    check_pe(fd, len, load_le32(head + IMAGE_PE_OFFSET), err) < 0 ||
	    place_image(&image, boot, err) < 0) {
		return -1;
	}
	if (gmem_load_file(mem, boot->entry, fd, 0, len, err) < 0) {
		return error_wrap(err, "Cannot load the kernel image");
	}
	return 0;
}

int arch_initrd_place(struct boot_info *boot, uint64_t len, struct error *err)
{
	uint64_t end = min_u64(boot_fdt_address(boot).v, LAYOUT_INITRD_END_MAX);

	if (boot->kernel_end.v > end || len > end - boot->kernel_end.v ||
	    align_down(end - len, INITRD_ALIGN) < boot->kernel_end.v) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The initrd of %llu bytes does not fit between the kernel and the "
				 "device tree; raise mem_size_mib",
				 (unsigned long long)len);
	}
	boot->initrd = GPA(align_down(end - len, INITRD_ALIGN));
	boot->initrd_len = len;
	return 0;
}

void arch_platform_cmdline(const struct platform_dev *dev, char *buf, size_t len)
{
	if (len > 0) {
		buf[0] = '\0';
	}
	if (dev->kind == PLATFORM_SERIAL) {
		snprintf(buf, len, "earlycon=uart,mmio,0x%08llx", (unsigned long long)dev->base);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* From a kernel file to a guest that can start: recognise, load, place the initrd, tell it all. */
#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "acpi.h"
#include "arch/boot.h"
#include "bzimage.h"
#include "elf_image.h"
#include "mptable.h"
#include "pvh.h"
#include "regs.h"
#include "sysmem.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"
#include "zeropage.h"

enum {
	HEAD_LEN = BZIMAGE_MAGIC_OFFSET + 4, /* all magics are in here */
	PAGE = 4096,
};

typedef int (*load_fn)(struct gmem *mem, const struct kernel_file *file, struct boot_info *boot,
		       struct error *err);

/* What the file may be, by the bytes at a fixed offset: the first row that matches decides. */
static const struct format {
	uint32_t offset;
	uint32_t len;
	const char *magic;
	load_fn load;	     /* NULL: known, but not to be booted */
	const char *refusal; /* what the file is and what to do */
} formats[] = {
	{0, SELFMAG, ELFMAG, elf_image_load, NULL},
	{BZIMAGE_MAGIC_OFFSET, 4, "HdrS", bzimage_load, NULL},
	{56, 4, "ARM\x64", NULL, "an aarch64 Image, but this is an x86_64 host"},
	{0, 2, "\x1f\x8b", NULL, "compressed with gzip; unpack it first"},
	{0, 6,
	 "\xfd"
	 "7zXZ",
	 NULL, "compressed with xz; unpack it first"},
	{0, 4, "\x28\xb5\x2f\xfd", NULL, "compressed with zstd; unpack it first"},
	{0, 4, "\x02\x21\x4c\x18", NULL, "compressed with lz4; unpack it first"},
	{0, 3, "BZh", NULL, "compressed with bzip2; unpack it first"},
};

static const struct format *find_format(const uint8_t *head, size_t len)
{
	for (size_t i = 0; i < ARRAY_COUNT(formats); i++) {
		const struct format *format = &formats[i];

		if (len >= format->offset + format->len &&
		    memcmp(head + format->offset, format->magic, format->len) == 0) {
			return format;
		}
	}
	return NULL;
}

int arch_load_kernel(struct gmem *mem, int fd, uint64_t len, struct boot_info *boot,
		     struct error *err)
{
	const struct kernel_file file = {fd, len};
	uint8_t head[HEAD_LEN];
	const size_t head_len = min_u64(len, sizeof(head));

	if (len == 0) {
		return error_set(err, ERR_CORRUPT, "The kernel file is empty");
	}
	if (kernel_file_read(&file, 0, head, head_len, err) != 0) {
		return -1;
	}

	const struct format *format = find_format(head, head_len);

	if (format == NULL) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is neither an ELF (vmlinux) nor a bzImage");
	}
	if (format->load == NULL) {
		return error_set(err, ERR_CORRUPT, "The kernel file is %s", format->refusal);
	}
	return format->load(mem, &file, boot, err);
}

const char *boot_protocol_name(enum boot_protocol protocol)
{
	switch (protocol) {
	case BOOT_PVH:
		return "PVH boot protocol";
	case BOOT_LINUX64_ELF:
		return "Linux 64-bit boot protocol";
	case BOOT_LINUX64_BZIMAGE:
		return "Linux 64-bit boot protocol (bzImage)";
	case BOOT_ARM64_IMAGE:
		return "arm64 Image boot protocol";
	}
	return "unknown boot protocol";
}

/* First byte that an initrd may not use: of RAM, and of what a bzImage says it can reach. */
static uint64_t initrd_limit(const struct boot_info *boot)
{
	enum {
		INITRD_ADDR_MAX = 0x22c - BZIMAGE_HEADER
	};
	const uint64_t ram_end = boot->ram[0].base.v + boot->ram[0].len;

	if (boot->protocol != BOOT_LINUX64_BZIMAGE ||
	    boot->setup_header_len < INITRD_ADDR_MAX + sizeof(uint32_t)) {
		return ram_end;
	}
	return min_u64(ram_end, load_le32(boot->setup_header + INITRD_ADDR_MAX) + UINT64_C(1));
}

int arch_initrd_place(struct boot_info *boot, uint64_t len, struct error *err)
{
	const uint64_t limit = initrd_limit(boot);
	const uint64_t base = len <= limit ? align_down(limit - len, PAGE) : 0;

	if (base < boot->kernel_end.v) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The initrd of %" PRIu64 " bytes does not fit between the end of "
				 "the kernel at 0x%" PRIx64 " and 0x%" PRIx64
				 "; give the guest more memory",
				 len, boot->kernel_end.v, limit);
	}
	boot->initrd = GPA(base);
	boot->initrd_len = len;
	return 0;
}

void arch_platform_cmdline(const struct platform_dev *dev, char *buf, size_t len)
{
	if (dev->kind == PLATFORM_VIRTIO_MMIO) {
		(void)snprintf(buf, len, "virtio_mmio.device=4K@0x%" PRIx64 ":%d", dev->base,
			       dev->gsi);
	} else {
		buf[0] = '\0';
	}
}

static int write_cmdline(struct gmem *mem, const char *cmdline, struct error *err)
{
	const size_t len = strlen(cmdline) + 1;

	if (len > ARCH_CMDLINE_MAX) {
		return error_set(err, ERR_TOO_LARGE,
				 "The kernel command line has %zu bytes, but at most %d are "
				 "possible",
				 len - 1, ARCH_CMDLINE_MAX - 1);
	}
	if (gmem_write(mem, GPA(LAYOUT_CMDLINE), cmdline, len) != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The guest has too little memory for the kernel command line");
	}
	return 0;
}

static bool has_word(const char *text, const char *word)
{
	const size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)) != NULL; at += len) {
		if ((at == text || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0')) {
			return true;
		}
	}
	return false;
}

/* The ACPI tables tell of no interrupt controller but the IOAPIC. */
static void warn_of_noapic(const char *cmdline)
{
	if (has_word(cmdline, "noapic") && !has_word(cmdline, "acpi=off")) {
		log_warn("boot_args has noapic without acpi=off: Linux then gives its devices no "
			 "interrupts. Leave noapic out.");
	}
}

int arch_write_boot_info(const struct arch_vm *vm, struct gmem *mem, const struct boot_info *boot,
			 struct error *err)
{
	struct sysmem sys = sysmem_init(mem);

	if (write_cmdline(mem, boot->cmdline, err) != 0) {
		return -1;
	}
	warn_of_noapic(boot->cmdline);
	/* First in the pool, where kernels search for it. */
	if (mptable_write(&sys, vm->vcpu_count, err) != 0) {
		return -1;
	}
	if (acpi_write(&sys, vm->vcpu_count, boot, err) != 0) {
		return -1;
	}
	if (regs_write_tables(mem, boot->protocol, err) != 0) {
		return -1;
	}
	return boot->protocol == BOOT_PVH ? pvh_write(mem, boot, err)
					  : zeropage_write(mem, boot, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The zero page, which Linux's 64-bit entry reads [linux-x86-boot 1.3, linux-zero-page]. */
#include "zeropage.h"

#include <asm/bootparam.h>
#include <string.h>

#include "memmap.h"

enum {
	BOOT_FLAG = 0xaa55,
	HEADER_MAGIC = 0x53726448, /* "HdrS" */
	LOADER_UNDEFINED = 0xff,   /* a boot loader without a number of its own */
	/* What x86_64 kernels are built with; an ELF has no header to tell. [compat] */
	ALIGNMENT_DEFAULT = 0x1000000,
};

static void fill_header(const struct boot_info *boot, struct boot_params *params)
{
	struct setup_header *hdr = &params->hdr;

	if (boot->protocol == BOOT_LINUX64_BZIMAGE) {
		memcpy(hdr, boot->setup_header, boot->setup_header_len);
	} else {
		hdr->kernel_alignment = ALIGNMENT_DEFAULT;
	}
	hdr->boot_flag = BOOT_FLAG;
	hdr->header = HEADER_MAGIC;
	hdr->type_of_loader = LOADER_UNDEFINED;
	hdr->cmd_line_ptr = LAYOUT_CMDLINE;
	hdr->cmdline_size = (uint32_t)strlen(boot->cmdline) + 1;
	/* The initrd is in the first range of RAM, but the fields have their high halves. */
	hdr->ramdisk_image = (uint32_t)boot->initrd.v;
	hdr->ramdisk_size = (uint32_t)boot->initrd_len;
	params->ext_ramdisk_image = (uint32_t)(boot->initrd.v >> 32);
	params->ext_ramdisk_size = (uint32_t)(boot->initrd_len >> 32);
}

int zeropage_write(struct gmem *mem, const struct boot_info *boot, struct error *err)
{
	struct boot_params params = {.acpi_rsdp_addr = LAYOUT_RSDP};
	struct memmap_entry map[MEMMAP_MAX];
	const size_t map_count = memmap_fill(boot, map);

	fill_header(boot, &params);
	for (size_t i = 0; i < map_count; i++) {
		params.e820_table[i] = (struct boot_e820_entry){
			.addr = map[i].base,
			.size = map[i].len,
			.type = map[i].type,
		};
	}
	params.e820_entries = (uint8_t)map_count;
	if (gmem_write(mem, GPA(LAYOUT_ZERO_PAGE), &params, sizeof(params)) != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The guest has too little memory for Linux's zero page");
	}
	return 0;
}

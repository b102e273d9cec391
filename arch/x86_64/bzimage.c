/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads Linux's compressed kernel.
 *
 * Theory of operation: a bzImage is a real-mode part of setup_sects + 1 sectors, whose header
 * describes the rest: a 64-bit program that unpacks the kernel [linux-x86-boot 1.3]. That program
 * goes to pref_address. A relocatable one would run elsewhere too, but never unpacks to below
 * pref_address, so no other place needs less memory. It works within init_size bytes from there,
 * on the page tables that we give it, which map the first GiB.
 */
#include "bzimage.h"

#include <asm/bootparam.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/base/bytes.h"

enum {
	SECTOR = 512,
	PARAGRAPH = 16, /* the unit of syssize */
	BOOT_FLAG = 0xaa55,
	PROTOCOL_MIN = 0x020c, /* 2.12, the first with xloadflags */
	SETUP_SECTS_DEFAULT = 4,
	ENTRY_64 = 0x200, /* from the start of the loaded part [linux-x86-boot 1.15] */
	JUMP_END = 0x202, /* the jump at 0x200 is short, so the header ends that far from here */
};

_Static_assert(sizeof(struct setup_header) <= BOOT_SETUP_HEADER_MAX, "boot_info holds it");

static int check_header(const struct setup_header *hdr, struct error *err)
{
	if (hdr->boot_flag != BOOT_FLAG) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file looks like a bzImage, but its boot flag is 0x%x, "
				 "not 0x%x",
				 hdr->boot_flag, BOOT_FLAG);
	}
	if (hdr->version < PROTOCOL_MIN) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is a bzImage of boot protocol %u.%02u, but squib "
				 "needs 2.12 (Linux 3.8) or newer",
				 hdr->version >> 8, hdr->version & 0xff);
	}
	if ((hdr->loadflags & LOADED_HIGH) == 0) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is a zImage for low memory, not a bzImage");
	}
	if ((hdr->xloadflags & XLF_KERNEL_64) == 0) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is a bzImage without a 64-bit entry, so it is a "
				 "32-bit kernel");
	}
	return 0;
}

/* The loaded part of the file, checked against what the header says of it. */
static int find_payload(const struct kernel_file *file, const struct setup_header *hdr,
			uint64_t *offset, uint64_t *len, struct error *err)
{
	const unsigned sects = hdr->setup_sects == 0 ? SETUP_SECTS_DEFAULT : hdr->setup_sects;
	/* syssize is rounded up, the file need not be. */
	const uint64_t paragraphs = max_u64(hdr->syssize, 1);
	const uint64_t needed = max_u64((paragraphs - 1) * PARAGRAPH + 1, ENTRY_64 + 1);

	*offset = (uint64_t)(sects + 1) * SECTOR;
	if (*offset > file->len || needed > file->len - *offset) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is truncated: a bzImage with %u setup sectors "
				 "and 0x%" PRIx64 " bytes of kernel has more than its %" PRIu64
				 " bytes",
				 sects, needed, file->len);
	}
	*len = file->len - *offset;
	return 0;
}

int bzimage_load(struct gmem *mem, const struct kernel_file *file, struct boot_info *boot,
		 struct error *err)
{
	struct setup_header hdr = {0};
	uint64_t offset = 0;
	uint64_t len = 0;

	if (kernel_file_read(file, BZIMAGE_HEADER, &hdr, sizeof(hdr), err) != 0) {
		return -1;
	}
	if (check_header(&hdr, err) != 0) {
		return -1;
	}
	if (find_payload(file, &hdr, &offset, &len, err) != 0) {
		return -1;
	}
	if (len > hdr.init_size) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is a bzImage whose kernel (0x%" PRIx64 " bytes) "
				 "is larger than the memory that it asks for (0x%x bytes)",
				 len, hdr.init_size);
	}
	if (kernel_place_check(boot, hdr.pref_address, hdr.init_size, "bzImage", err) != 0) {
		return -1;
	}

	const uint64_t end = hdr.pref_address + hdr.init_size;

	if (end > LAYOUT_BOOT_MAPPED_END) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is a bzImage that unpacks up to 0x%" PRIx64
				 ", above the first GiB, which is all that is mapped at boot",
				 end);
	}
	if (gmem_load_file(mem, GPA(hdr.pref_address), file->fd, offset, len, err) != 0) {
		return -1;
	}
	boot->protocol = BOOT_LINUX64_BZIMAGE;
	boot->entry = GPA(hdr.pref_address + ENTRY_64);
	boot->kernel_end = GPA(end);
	/* Bytes beyond the target of the jump are code, not header. */
	boot->setup_header_len = min_u64(JUMP_END + (hdr.jump >> 8) - BZIMAGE_HEADER, sizeof(hdr));
	memcpy(boot->setup_header, &hdr, boot->setup_header_len);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest kernel images that load, for tests to damage, and a guest to load them into. */
#ifndef TESTS_UNIT_X86_64_IMAGES_H
#define TESTS_UNIT_X86_64_IMAGES_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/boot.h"

enum {
	IMAGE_MAX = 4096,
	IMAGE_CODE_LEN = 64, /* bytes of "code" in the ELF images: 0xc0, 0xc1, ... */

	/* Offsets in the ELF images. */
	IMAGE_PHDR_LOAD = sizeof(Elf64_Ehdr),
	IMAGE_PHDR_NOTE = IMAGE_PHDR_LOAD + sizeof(Elf64_Phdr),
	IMAGE_CODE = IMAGE_PHDR_NOTE + sizeof(Elf64_Phdr),
	IMAGE_NOTES = IMAGE_CODE + IMAGE_CODE_LEN,

	/* In the bzImage: where its header and its loaded part are. */
	IMAGE_SETUP_HEADER = 0x1f1,
	IMAGE_PAYLOAD = 2 * 512,
	IMAGE_PAYLOAD_LEN = 0x400,
};

#define IMAGE_ELF_BASE UINT64_C(0x200000)
#define IMAGE_ELF_MEMSZ UINT64_C(0x3000)
#define IMAGE_PVH_ENTRY (IMAGE_ELF_BASE + 0x10)
#define IMAGE_PREF_ADDRESS UINT64_C(0x1000000)
#define IMAGE_INIT_SIZE UINT32_C(0x8000)

struct image {
	uint8_t bytes[IMAGE_MAX];
	size_t len;
};

/* One PT_LOAD at IMAGE_ELF_BASE, entered at its start. Its second program header is PT_NULL. */
struct image image_elf(void);

/* The same with a PT_NOTE of two notes, the second of which is the PVH entry. */
struct image image_pvh(void);

/* Protocol 2.15, one setup sector, relocatable. */
struct image image_bzimage(void);

/* A guest of `mib` MiB with nothing loaded; the caller frees both. */
struct guest {
	struct gmem *mem;
	struct boot_info boot;
};

struct guest guest_new(uint64_t mib);
void guest_free(struct guest *guest);

/* arch_load_kernel of the image through a real file. */
int guest_load(struct guest *guest, const struct image *image, struct error *err);

/* Little-endian numbers in guest memory; the test fails where there is none. */
uint16_t guest_u16(const struct guest *guest, uint64_t gpa);
uint32_t guest_u32(const struct guest *guest, uint64_t gpa);
uint64_t guest_u64(const struct guest *guest, uint64_t gpa);

/* Sum of the bytes of [gpa, gpa + len), which is 0 over a table with a right checksum. */
uint8_t guest_sum(const struct guest *guest, uint64_t gpa, size_t len);

#endif

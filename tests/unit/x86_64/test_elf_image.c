/* SPDX-License-Identifier: Apache-2.0 */
/* The ELF loader: what loads, and every way in which a file may be damaged. */
#include <criterion/criterion.h>
#include <string.h>

#include "images.h"
#include "vmm/base/bytes.h"

enum {
	GUEST_MIB = 64,
	NOTE_2 = IMAGE_NOTES + sizeof(Elf64_Nhdr) + 8 + 4, /* the PVH note after the other one */
};

Test(elf_image, loads_a_segment_and_enters_at_e_entry_without_a_note)
{
	const struct image image = image_elf();
	struct guest guest = guest_new(GUEST_MIB);
	struct error err = {0};

	cr_assert_eq(guest_load(&guest, &image, &err), 0, "%s", err.msg);
	cr_assert_eq(guest.boot.protocol, BOOT_LINUX64_ELF);
	cr_assert_eq(guest.boot.entry.v, IMAGE_ELF_BASE);
	cr_assert_eq(guest.boot.kernel_end.v, IMAGE_ELF_BASE + IMAGE_ELF_MEMSZ);
	cr_assert_eq(guest_u32(&guest, IMAGE_ELF_BASE), 0xc3c2c1c0);
	cr_assert_eq(guest_u32(&guest, IMAGE_ELF_BASE + IMAGE_CODE_LEN), 0);
	cr_assert_eq(guest.boot.setup_header_len, 0);
	guest_free(&guest);
}

Test(elf_image, a_xen_note_makes_it_pvh_with_its_entry)
{
	const struct image image = image_pvh();
	struct guest guest = guest_new(GUEST_MIB);
	struct error err = {0};

	cr_assert_eq(guest_load(&guest, &image, &err), 0, "%s", err.msg);
	cr_assert_eq(guest.boot.protocol, BOOT_PVH);
	cr_assert_eq(guest.boot.entry.v, IMAGE_PVH_ENTRY);
	cr_assert_eq(guest.boot.kernel_end.v, IMAGE_ELF_BASE + IMAGE_ELF_MEMSZ);
	guest_free(&guest);
}

/* A number of `size` bytes written over a good image. */
struct patch {
	size_t at;
	uint64_t value;
	unsigned size;
};

static void apply(struct image *image, const struct patch *patch)
{
	memcpy(image->bytes + patch->at, &patch->value, patch->size);
}

#define AT_EHDR(field) .at = offsetof(Elf64_Ehdr, field), .size = sizeof(((Elf64_Ehdr *)0)->field)
#define AT_LOAD(field)                                                                             \
	.at = IMAGE_PHDR_LOAD + offsetof(Elf64_Phdr, field),                                       \
	.size = sizeof(((Elf64_Phdr *)0)->field)
#define AT_NOTE(field)                                                                             \
	.at = IMAGE_PHDR_NOTE + offsetof(Elf64_Phdr, field),                                       \
	.size = sizeof(((Elf64_Phdr *)0)->field)
#define AT_NHDR(base, field)                                                                       \
	.at = (base) + offsetof(Elf64_Nhdr, field), .size = sizeof(((Elf64_Nhdr *)0)->field)

static const struct damage {
	const char *what;
	struct patch patch[2]; /* the second is for the few that need two */
	const char *sentence;  /* part of it */
} damages[] = {
	{"class 32", {{.at = EI_CLASS, .size = 1, .value = ELFCLASS32}}, "64-bit"},
	{"big-endian", {{.at = EI_DATA, .size = 1, .value = ELFDATA2MSB}}, "little-endian"},
	{"aarch64", {{AT_EHDR(e_machine), .value = EM_AARCH64}}, "aarch64"},
	{"riscv", {{AT_EHDR(e_machine), .value = EM_RISCV}}, "another processor"},
	{"object file", {{AT_EHDR(e_type), .value = ET_REL}}, "executable"},
	{"core dump", {{AT_EHDR(e_type), .value = ET_CORE}}, "executable"},
	{"phentsize 0", {{AT_EHDR(e_phentsize), .value = 0}}, "program headers are of 0 bytes"},
	{"phentsize 57", {{AT_EHDR(e_phentsize), .value = 57}}, "program headers are of 57"},
	{"phnum 0", {{AT_EHDR(e_phnum), .value = 0}}, "0 ELF program headers"},
	{"phnum 65", {{AT_EHDR(e_phnum), .value = 65}}, "must have 1 to 64"},
	{"phnum beyond the file", {{AT_EHDR(e_phnum), .value = 64}}, "truncated"},
	{"phoff at the end", {{AT_EHDR(e_phoff), .value = 0x7000}}, "truncated"},
	{"phoff overflows", {{AT_EHDR(e_phoff), .value = UINT64_MAX - 8}}, "truncated"},
	{"offset beyond the file", {{AT_LOAD(p_offset), .value = 0x7000}}, "truncated"},
	{"offset overflows", {{AT_LOAD(p_offset), .value = UINT64_MAX - 8}}, "truncated"},
	{"filesz beyond the file", {{AT_LOAD(p_filesz), .value = 0x2000}}, "truncated"},
	{"filesz overflows", {{AT_LOAD(p_filesz), .value = UINT64_MAX}}, "truncated"},
	{"memsz below filesz", {{AT_LOAD(p_memsz), .value = 63}}, "more bytes in the file"},
	{"memsz beyond RAM", {{AT_LOAD(p_memsz), .value = 64 * MIB}}, "memory there ends"},
	{"memsz overflows", {{AT_LOAD(p_memsz), .value = UINT64_MAX}}, "memory there ends"},
	{"paddr 0", {{AT_LOAD(p_paddr), .value = 0}}, "below 1 MiB"},
	{"paddr just low", {{AT_LOAD(p_paddr), .value = MIB - 1}}, "below 1 MiB"},
	{"paddr at the end of RAM", {{AT_LOAD(p_paddr), .value = 64 * MIB}}, "memory there ends"},
	{"paddr virtual",
	 {{AT_LOAD(p_paddr), .value = UINT64_C(0xffffffff81000000)}},
	 "there ends"},
	{"paddr overflows", {{AT_LOAD(p_paddr), .value = UINT64_MAX - 15}}, "memory there ends"},
	{"nothing to load", {{AT_LOAD(p_type), .value = PT_NULL}}, "without a segment"},
	{"only an empty segment",
	 {{AT_LOAD(p_filesz), .value = 0}, {AT_LOAD(p_memsz), .value = 0}},
	 "without a segment"},
	{"note entry low",
	 {{.at = NOTE_2 + 16, .size = 8, .value = 0xfffff}},
	 "entry point 0xfffff is outside"},
	{"note entry at the end",
	 {{.at = NOTE_2 + 16, .size = 8, .value = IMAGE_ELF_BASE + IMAGE_ELF_MEMSZ}},
	 "outside the kernel"},
	{"note entry virtual",
	 {{.at = NOTE_2 + 16, .size = 8, .value = UINT64_C(0xffffffff81000000)}},
	 "outside the kernel"},
	{"note of 0 bytes", {{AT_NHDR(NOTE_2, n_descsz), .value = 0}}, "must have 4 or 8"},
	{"note of 5 bytes", {{AT_NHDR(NOTE_2, n_descsz), .value = 5}}, "must have 4 or 8"},
	{"note larger than its segment",
	 {{AT_NHDR(NOTE_2, n_descsz), .value = 9}},
	 "larger than its segment"},
	{"note of 4 GiB", {{AT_NHDR(IMAGE_NOTES, n_descsz), .value = UINT32_MAX}}, "larger than"},
	{"name of 4 GiB", {{AT_NHDR(IMAGE_NOTES, n_namesz), .value = UINT32_MAX}}, "larger than"},
	{"both of 4 GiB",
	 {{AT_NHDR(IMAGE_NOTES, n_namesz), .value = UINT32_MAX},
	  {AT_NHDR(IMAGE_NOTES, n_descsz), .value = UINT32_MAX}},
	 "larger than"},
	{"notes beyond the file", {{AT_NOTE(p_filesz), .value = 0x1000}}, "truncated"},
	{"notes overflow", {{AT_NOTE(p_offset), .value = UINT64_MAX - 15}}, "truncated"},
};

Test(elf_image, each_damage_is_one_sentence_that_names_it)
{
	for (size_t i = 0; i < ARRAY_COUNT(damages); i++) {
		const struct damage *damage = &damages[i];
		struct image image = image_pvh();
		struct guest guest = guest_new(GUEST_MIB);
		struct error err = {0};

		apply(&image, &damage->patch[0]);
		apply(&image, &damage->patch[1]);
		cr_expect_eq(guest_load(&guest, &image, &err), -1, "%s", damage->what);
		cr_expect_eq(err.kind, ERR_CORRUPT, "%s", damage->what);
		cr_expect_neq(strstr(err.msg, damage->sentence), NULL, "%s: %s", damage->what,
			      err.msg);
		guest_free(&guest);
	}
}

static const struct {
	const char *what;
	struct patch patch;
	enum boot_protocol protocol;
	uint64_t entry;
} variants[] = {
	{"position-independent", {AT_EHDR(e_type), .value = ET_DYN}, BOOT_PVH, IMAGE_PVH_ENTRY},
	{"an entry of 4 bytes", {AT_NHDR(NOTE_2, n_descsz), .value = 4}, BOOT_PVH, IMAGE_PVH_ENTRY},
	{"a note of another type",
	 {AT_NHDR(NOTE_2, n_type), .value = 17},
	 BOOT_LINUX64_ELF,
	 IMAGE_ELF_BASE},
	{"a note of another owner",
	 {.at = NOTE_2 + sizeof(Elf64_Nhdr), .size = 1, .value = 'Y'},
	 BOOT_LINUX64_ELF,
	 IMAGE_ELF_BASE},
	{"notes cut before the second",
	 {AT_NOTE(p_filesz), .value = NOTE_2 - IMAGE_NOTES},
	 BOOT_LINUX64_ELF,
	 IMAGE_ELF_BASE},
	{"a rest too small for a note",
	 {AT_NOTE(p_filesz), .value = NOTE_2 - IMAGE_NOTES + 11},
	 BOOT_LINUX64_ELF,
	 IMAGE_ELF_BASE},
	{"no notes at all", {AT_NOTE(p_filesz), .value = 0}, BOOT_LINUX64_ELF, IMAGE_ELF_BASE},
};

Test(elf_image, unusual_but_sound_files_load)
{
	for (size_t i = 0; i < ARRAY_COUNT(variants); i++) {
		struct image image = image_pvh();
		struct guest guest = guest_new(GUEST_MIB);
		struct error err = {0};

		apply(&image, &variants[i].patch);
		cr_expect_eq(guest_load(&guest, &image, &err), 0, "%s: %s", variants[i].what,
			     err.msg);
		cr_expect_eq(guest.boot.protocol, variants[i].protocol, "%s", variants[i].what);
		cr_expect_eq(guest.boot.entry.v, variants[i].entry, "%s", variants[i].what);
		guest_free(&guest);
	}
}

Test(elf_image, notes_aligned_to_8_bytes_are_walked_by_8)
{
	/* A GNU property note as ld writes it, then the PVH entry. */
	static const uint8_t notes[] = {
		4, 0, 0, 0, 4, 0, 0, 0, 5,  0, 0, 0, 'G', 'N', 'U', 0, 1,    2, 3,    4,
		0, 0, 0, 0, /* 4 bytes, padded to 8 */
		4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0, 'X', 'e', 'n', 0, 0x20, 0, 0x20, 0,
	};
	const Elf64_Phdr phdr = {.p_type = PT_NOTE,
				 .p_offset = IMAGE_NOTES,
				 .p_filesz = sizeof(notes),
				 .p_align = 8};
	struct image image = image_elf();
	struct guest guest = guest_new(GUEST_MIB);
	struct error err = {0};

	memcpy(image.bytes + IMAGE_PHDR_NOTE, &phdr, sizeof(phdr));
	memcpy(image.bytes + IMAGE_NOTES, notes, sizeof(notes));
	image.len = IMAGE_NOTES + sizeof(notes);
	cr_assert_eq(guest_load(&guest, &image, &err), 0, "%s", err.msg);
	cr_assert_eq(guest.boot.protocol, BOOT_PVH);
	cr_assert_eq(guest.boot.entry.v, 0x200020);
	guest_free(&guest);
}

Test(elf_image, a_file_cut_at_any_byte_is_corrupt)
{
	const struct image whole = image_pvh();

	for (size_t len = 0; len < whole.len; len++) {
		struct image image = whole;
		struct guest guest = guest_new(GUEST_MIB);
		struct error err = {0};

		image.len = len;
		cr_expect_eq(guest_load(&guest, &image, &err), -1, "cut at %zu", len);
		cr_expect_eq(err.kind, ERR_CORRUPT, "cut at %zu: %s", len, err.msg);
		guest_free(&guest);
	}
}

Test(elf_image, segments_can_not_multiply_the_file)
{
	struct image image = image_elf();
	struct guest guest = guest_new(GUEST_MIB);
	struct error err = {0};
	Elf64_Phdr *phdr = (Elf64_Phdr *)(void *)(image.bytes + IMAGE_PHDR_LOAD);

	/* Twice all of the file. */
	phdr[0].p_offset = 0;
	phdr[0].p_filesz = image.len;
	phdr[1] = phdr[0];
	cr_assert_eq(guest_load(&guest, &image, &err), -1);
	cr_assert_eq(err.kind, ERR_CORRUPT);
	cr_assert_neq(strstr(err.msg, "overlap"), NULL, "%s", err.msg);
	guest_free(&guest);
}

Test(elf_image, a_64_bit_entry_above_the_mapped_gib_is_refused)
{
	struct image image = image_elf();
	struct guest guest = guest_new(2048);
	struct error err = {0};
	const struct patch patches[] = {
		{AT_LOAD(p_paddr), .value = GIB},
		{AT_EHDR(e_entry), .value = GIB},
	};

	apply(&image, &patches[0]);
	apply(&image, &patches[1]);
	cr_assert_eq(guest_load(&guest, &image, &err), -1);
	cr_assert_neq(strstr(err.msg, "above the first GiB"), NULL, "%s", err.msg);
	guest_free(&guest);
}

Test(elf_image, a_segment_may_fill_ram_to_its_last_byte)
{
	static const struct {
		uint64_t memsz;
		int result;
	} cases[] = {
		{GUEST_MIB * MIB - IMAGE_ELF_BASE, 0},
		{GUEST_MIB * MIB - IMAGE_ELF_BASE + 1, -1},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct patch patch = {AT_LOAD(p_memsz), .value = cases[i].memsz};
		struct image image = image_elf();
		struct guest guest = guest_new(GUEST_MIB);
		struct error err = {0};

		apply(&image, &patch);
		cr_expect_eq(guest_load(&guest, &image, &err), cases[i].result, "%s", err.msg);
		guest_free(&guest);
	}
}

Test(elf_image, a_segment_in_the_second_range_of_ram_is_refused)
{
	struct image image = image_elf();
	struct guest guest = guest_new(4096);
	struct error err = {0};
	const struct patch patch = {AT_LOAD(p_paddr), .value = 4 * GIB};

	apply(&image, &patch);
	cr_assert_eq(guest_load(&guest, &image, &err), -1);
	cr_assert_neq(strstr(err.msg, "ends at 0xc0000000"), NULL, "%s", err.msg);
	guest_free(&guest);
}

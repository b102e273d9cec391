/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads an uncompressed ELF kernel.
 *
 * Theory of operation: each PT_LOAD segment goes from the file straight to its physical address;
 * what p_memsz has beyond p_filesz is zero already, as guest memory is fresh. A Xen note with the
 * physical address of a 32-bit entry point makes it a PVH kernel [pvh]; without one, e_entry is
 * Linux's startup_64 [linux-x86-boot 1.15]. Work is bounded whatever the file says: by PHDRS_MAX,
 * NOTES_MAX, and file bytes that are loaded at most once.
 */
#include "elf_image.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/base/bytes.h"

enum {
	PHDRS_MAX = 64,	 /* a Linux kernel has about 5 */
	NOTES_MAX = 256, /* a Linux kernel has about 15 */
	XEN_ELFNOTE_PHYS32_ENTRY = 18,
};

static const char note_xen[4] = "Xen";

static int check_header(const Elf64_Ehdr *ehdr, struct error *err)
{
	if (ehdr->e_ident[EI_CLASS] != ELFCLASS64) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is an ELF of class %u, but an x86_64 kernel is a "
				 "64-bit one (2)",
				 ehdr->e_ident[EI_CLASS]);
	}
	if (ehdr->e_ident[EI_DATA] != ELFDATA2LSB) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is an ELF that is not little-endian");
	}
	if (ehdr->e_machine != EM_X86_64) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is an ELF for %s (machine %u), but this is an "
				 "x86_64 host",
				 ehdr->e_machine == EM_AARCH64 ? "aarch64" : "another processor",
				 ehdr->e_machine);
	}
	if (ehdr->e_type != ET_EXEC && ehdr->e_type != ET_DYN) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is an ELF of type %u, but not an executable one",
				 ehdr->e_type);
	}
	if (ehdr->e_phentsize != sizeof(Elf64_Phdr)) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file's ELF program headers are of %u bytes, not %zu",
				 ehdr->e_phentsize, sizeof(Elf64_Phdr));
	}
	if (ehdr->e_phnum == 0 || ehdr->e_phnum > PHDRS_MAX) {
		return error_set(
			err, ERR_CORRUPT,
			"The kernel file has %u ELF program headers, but must have 1 to %d",
			ehdr->e_phnum, PHDRS_MAX);
	}
	return 0;
}

/* The bytes of a segment are in the file. */
static int check_extent(const struct kernel_file *file, const Elf64_Phdr *phdr, struct error *err)
{
	uint64_t end;

	if (!add_u64(phdr->p_offset, phdr->p_filesz, &end) || end > file->len) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is truncated: an ELF segment would be 0x%" PRIx64
				 " bytes from 0x%" PRIx64 ", but the file has 0x%" PRIx64,
				 phdr->p_filesz, phdr->p_offset, file->len);
	}
	return 0;
}

static int load_segment(struct gmem *mem, const struct kernel_file *file, const Elf64_Phdr *phdr,
			struct boot_info *boot, struct error *err)
{
	if (phdr->p_memsz < phdr->p_filesz) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file has an ELF segment with more bytes in the file "
				 "(0x%" PRIx64 ") than in memory (0x%" PRIx64 ")",
				 phdr->p_filesz, phdr->p_memsz);
	}
	if (phdr->p_memsz == 0) {
		return 0;
	}
	if (kernel_place_check(boot, phdr->p_paddr, phdr->p_memsz, "ELF segment", err) != 0) {
		return -1;
	}
	boot->kernel_end.v = max_u64(boot->kernel_end.v, phdr->p_paddr + phdr->p_memsz);
	if (phdr->p_filesz == 0) {
		return 0;
	}
	return gmem_load_file(mem, GPA(phdr->p_paddr), file->fd, phdr->p_offset, phdr->p_filesz,
			      err);
}

static int read_entry_note(const struct kernel_file *file, uint64_t desc, uint32_t desc_len,
			   struct boot_info *boot, struct error *err)
{
	uint8_t entry[8] = {0};

	/* Linux writes it with the width of a pointer, others as the 32-bit number that it is. */
	if (desc_len != 4 && desc_len != 8) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file's PVH entry note has %u bytes, but must have 4 "
				 "or 8",
				 desc_len);
	}
	if (kernel_file_read(file, desc, entry, desc_len, err) != 0) {
		return -1;
	}
	boot->protocol = BOOT_PVH;
	boot->entry = GPA(load_le64(entry));
	return 0;
}

/*
 * Walks the notes of a PT_NOTE segment. Sizes are 32 bits each and the segment is inside the file,
 * so no sum overflows.
 */
static int read_notes(const struct kernel_file *file, const Elf64_Phdr *phdr,
		      struct boot_info *boot, struct error *err)
{
	const uint64_t align = phdr->p_align == 8 ? 8 : 4;
	const uint64_t end = phdr->p_filesz; /* offsets are relative to the segment */
	uint64_t at = 0;

	for (unsigned i = 0; i < NOTES_MAX && end - at >= sizeof(Elf64_Nhdr); i++) {
		Elf64_Nhdr note = {0};
		char name[sizeof(note_xen)] = {0};

		if (kernel_file_read(file, phdr->p_offset + at, &note, sizeof(note), err) != 0) {
			return -1;
		}

		const uint64_t desc = align_up(at + sizeof(note) + note.n_namesz, align);

		if (desc > end || note.n_descsz > end - desc) {
			return error_set(err, ERR_CORRUPT,
					 "The kernel file has an ELF note that is larger than its "
					 "segment");
		}
		if (note.n_type == XEN_ELFNOTE_PHYS32_ENTRY && note.n_namesz == sizeof(name)) {
			if (kernel_file_read(file, phdr->p_offset + at + sizeof(note), name,
					     sizeof(name), err) != 0) {
				return -1;
			}
			if (memcmp(name, note_xen, sizeof(name)) == 0) {
				return read_entry_note(file, phdr->p_offset + desc, note.n_descsz,
						       boot, err);
			}
		}
		at = min_u64(align_up(desc + note.n_descsz, align), end);
	}
	return 0;
}

static int check_entry(const struct boot_info *boot, struct error *err)
{
	if (boot->kernel_end.v == 0) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is an ELF without a segment to load");
	}
	if (boot->entry.v < LAYOUT_HIGH_RAM || boot->entry.v >= boot->kernel_end.v) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel's entry point 0x%" PRIx64 " is outside the kernel, "
				 "which ends at 0x%" PRIx64,
				 boot->entry.v, boot->kernel_end.v);
	}
	if (boot->protocol == BOOT_LINUX64_ELF && boot->entry.v >= LAYOUT_BOOT_MAPPED_END) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel's entry point 0x%" PRIx64 " is above the first GiB, "
				 "which is all that is mapped at boot",
				 boot->entry.v);
	}
	return 0;
}

int elf_image_load(struct gmem *mem, const struct kernel_file *file, struct boot_info *boot,
		   struct error *err)
{
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdrs[PHDRS_MAX] = {0};
	uint64_t budget = file->len; /* segments don't share bytes, so this much is enough */

	if (kernel_file_read(file, 0, &ehdr, sizeof(ehdr), err) != 0) {
		return -1;
	}
	if (check_header(&ehdr, err) != 0) {
		return -1;
	}
	if (kernel_file_read(file, ehdr.e_phoff, phdrs, ehdr.e_phnum * sizeof(phdrs[0]), err) !=
	    0) {
		return -1;
	}
	boot->protocol = BOOT_LINUX64_ELF;
	boot->entry = GPA(ehdr.e_entry);
	boot->kernel_end = GPA(0);
	for (unsigned i = 0; i < ehdr.e_phnum; i++) {
		const Elf64_Phdr *phdr = &phdrs[i];

		if (phdr->p_type != PT_LOAD && phdr->p_type != PT_NOTE) {
			continue;
		}
		if (check_extent(file, phdr, err) != 0) {
			return -1;
		}
		if (phdr->p_type == PT_NOTE) {
			if (read_notes(file, phdr, boot, err) != 0) {
				return -1;
			}
			continue;
		}
		if (phdr->p_filesz > budget) {
			return error_set(err, ERR_CORRUPT,
					 "The kernel file has ELF segments that overlap: together "
					 "they are larger than the file");
		}
		budget -= phdr->p_filesz;
		if (load_segment(mem, file, phdr, boot, err) != 0) {
			return -1;
		}
	}
	return check_entry(boot, err);
}

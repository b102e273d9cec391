/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest kernel images that load, and a guest to load them into. */
#include "images.h"

#include <asm/bootparam.h>
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

struct image image_elf(void)
{
	struct image image = {.len = IMAGE_NOTES};
	const Elf64_Ehdr ehdr = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			    EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = IMAGE_ELF_BASE,
		.e_phoff = IMAGE_PHDR_LOAD,
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
	};
	const Elf64_Phdr load = {
		.p_type = PT_LOAD,
		.p_flags = PF_R | PF_X,
		.p_offset = IMAGE_CODE,
		.p_vaddr = IMAGE_ELF_BASE,
		.p_paddr = IMAGE_ELF_BASE,
		.p_filesz = IMAGE_CODE_LEN,
		.p_memsz = IMAGE_ELF_MEMSZ,
		.p_align = 0x1000,
	};

	memcpy(image.bytes, &ehdr, sizeof(ehdr));
	memcpy(image.bytes + IMAGE_PHDR_LOAD, &load, sizeof(load));
	for (unsigned i = 0; i < IMAGE_CODE_LEN; i++) {
		image.bytes[IMAGE_CODE + i] = (uint8_t)(0xc0 + i);
	}
	return image;
}

struct image image_pvh(void)
{
	struct {
		Elf64_Nhdr header;
		char name[8];
		uint8_t desc[4];
	} other = {{5, 3, 18}, "Other", {1, 2, 3}};
	struct {
		Elf64_Nhdr header;
		char name[4];
		uint8_t desc[8];
	} xen = {{4, 8, 18}, "Xen", {0}};
	const Elf64_Phdr note = {
		.p_type = PT_NOTE,
		.p_offset = IMAGE_NOTES,
		.p_filesz = sizeof(other) + sizeof(xen),
		.p_memsz = sizeof(other) + sizeof(xen),
		.p_align = 4,
	};
	struct image image = image_elf();

	store_le64(xen.desc, IMAGE_PVH_ENTRY);
	memcpy(image.bytes + IMAGE_PHDR_NOTE, &note, sizeof(note));
	memcpy(image.bytes + IMAGE_NOTES, &other, sizeof(other));
	memcpy(image.bytes + IMAGE_NOTES + sizeof(other), &xen, sizeof(xen));
	image.len = IMAGE_NOTES + sizeof(other) + sizeof(xen);
	return image;
}

struct image image_bzimage(void)
{
	struct image image = {.len = IMAGE_PAYLOAD + IMAGE_PAYLOAD_LEN};
	const struct setup_header hdr = {
		.setup_sects = 1,
		.syssize = IMAGE_PAYLOAD_LEN / 16,
		.boot_flag = 0xaa55,
		.jump = 0x6aeb, /* over 0x6a bytes of header: all that the structure has */
		.header = 0x53726448,
		.version = 0x020f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.pref_address = IMAGE_PREF_ADDRESS,
		.init_size = IMAGE_INIT_SIZE,
	};

	memcpy(image.bytes + IMAGE_SETUP_HEADER, &hdr, sizeof(hdr));
	memset(image.bytes + IMAGE_PAYLOAD, 0xcc, IMAGE_PAYLOAD_LEN);
	return image;
}

struct guest guest_new(uint64_t mib)
{
	struct guest guest = {.boot = {.cmdline = ""}};
	struct error err = {0};

	guest.boot.ram_count = arch_ram_ranges(mib * MIB, guest.boot.ram);
	cr_assert_gt(guest.boot.ram_count, 0);
	cr_assert_eq(gmem_new(guest.boot.ram, guest.boot.ram_count, GMEM_ANON, &guest.mem, &err),
		     0);
	return guest;
}

void guest_free(struct guest *guest)
{
	gmem_free(guest->mem);
	guest->mem = NULL;
}

int guest_load(struct guest *guest, const struct image *image, struct error *err)
{
	AUTO_FD fd = memfd_create("kernel", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, image->bytes, image->len), (ssize_t)image->len);
	return arch_load_kernel(guest->mem, fd, image->len, &guest->boot, err);
}

uint16_t guest_u16(const struct guest *guest, uint64_t gpa)
{
	uint16_t value = 0;

	cr_assert_eq(gmem_read(guest->mem, GPA(gpa), &value, sizeof(value)), 0);
	return value;
}

uint32_t guest_u32(const struct guest *guest, uint64_t gpa)
{
	uint32_t value = 0;

	cr_assert_eq(gmem_read(guest->mem, GPA(gpa), &value, sizeof(value)), 0);
	return value;
}

uint64_t guest_u64(const struct guest *guest, uint64_t gpa)
{
	uint64_t value = 0;

	cr_assert_eq(gmem_read(guest->mem, GPA(gpa), &value, sizeof(value)), 0);
	return value;
}

uint8_t guest_sum(const struct guest *guest, uint64_t gpa, size_t len)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t byte = 0;

		cr_assert_eq(gmem_read(guest->mem, GPA(gpa + i), &byte, 1), 0);
		sum = (uint8_t)(sum + byte);
	}
	return sum;
}

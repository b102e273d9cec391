/* SPDX-License-Identifier: Apache-2.0 */
/* Boot registers, and that they agree with the tables in guest memory. */
#include "regs.h"

#include <criterion/criterion.h>

#include "images.h"
#include "vmm/base/bytes.h"

Test(regs, a_64_bit_kernel_starts_in_long_mode)
{
	struct kvm_sregs sregs = {.cr0 = 0x60000010, .apic_base = 0xfee00900};

	regs_set_system(&sregs, BOOT_LINUX64_ELF);
	cr_expect_eq(sregs.cr0, UINT64_C(0x80000011));
	cr_expect_eq(sregs.cr3, 0x9000);
	cr_expect_eq(sregs.cr4, 0x20);
	cr_expect_eq(sregs.efer, 0x500);
	cr_expect_eq(sregs.cs.selector, 8);
	cr_expect_eq(sregs.cs.l, 1);
	cr_expect_eq(sregs.cs.db, 0, "L and D together are reserved");
	cr_expect_eq(sregs.cs.type, 0xb);
	cr_expect_eq(sregs.cs.s, 1);
	cr_expect_eq(sregs.cs.present, 1);
	cr_expect_eq(sregs.ss.selector, 16);
	cr_expect_eq(sregs.ss.type, 3);
	cr_expect_eq(sregs.ss.db, 1);
	cr_expect_eq(sregs.ss.limit, UINT32_MAX);
	cr_expect_eq(sregs.tr.selector, 24);
	cr_expect_eq(sregs.tr.type, 0xb);
	cr_expect_eq(sregs.tr.s, 0);
	cr_expect_eq(sregs.gdt.base, 0x500);
	cr_expect_eq(sregs.gdt.limit, 31);
	cr_expect_eq(sregs.idt.base, 0x520);
	cr_expect_eq(sregs.idt.limit, 7);
	cr_expect_eq(sregs.apic_base, 0xfee00900, "what boot does not ask for stays");
}

Test(regs, a_pvh_kernel_starts_in_protected_mode_without_paging)
{
	struct kvm_sregs sregs = {.cr0 = 0x60000010, .cr4 = 1, .efer = 1};

	regs_set_system(&sregs, BOOT_PVH);
	cr_expect_eq(sregs.cr0, 0x11);
	cr_expect_eq(sregs.cr4, 0);
	cr_expect_eq(sregs.efer, 0);
	cr_expect_eq(sregs.cs.l, 0);
	cr_expect_eq(sregs.cs.db, 1);
	cr_expect_eq(sregs.cs.g, 1);
	cr_expect_eq(sregs.cs.limit, UINT32_MAX);
	cr_expect_eq(sregs.ds.limit, UINT32_MAX);
	cr_expect_eq(sregs.tr.limit, 0x67);
	cr_expect_eq(sregs.tr.g, 0);
	cr_expect_eq(sregs.tr.type, 0xb);
}

Test(regs, general_registers_point_to_what_the_protocol_tells)
{
	struct boot_info boot = {.protocol = BOOT_LINUX64_BZIMAGE, .entry = GPA(0x1000200)};
	struct kvm_regs regs = regs_general(&boot);

	cr_expect_eq(regs.rip, 0x1000200);
	cr_expect_eq(regs.rsi, 0x7000);
	cr_expect_eq(regs.rsp, 0x8ff0);
	cr_expect_eq(regs.rbp, 0x8ff0);
	cr_expect_eq(regs.rbx, 0);
	cr_expect_eq(regs.rflags, 2);
	boot.protocol = BOOT_PVH;
	regs = regs_general(&boot);
	cr_expect_eq(regs.rip, 0x1000200);
	cr_expect_eq(regs.rbx, 0x6000);
	cr_expect_eq(regs.rsi, 0);
	cr_expect_eq(regs.rflags, 2);
}

/* A GDT descriptor, taken apart as the processor does [intel-sdm vol. 3, 3.4.5]. */
static void expect_descriptor(uint64_t descriptor, const struct kvm_segment *segment)
{
	uint32_t limit = (uint32_t)((descriptor & 0xffff) | (descriptor >> 32 & 0xf0000));

	if ((descriptor >> 55 & 1) != 0) {
		limit = limit << 12 | 0xfff;
	}
	cr_expect_eq(limit, segment->limit);
	cr_expect_eq((descriptor >> 16 & 0xffffff) | (descriptor >> 32 & 0xff000000),
		     segment->base);
	cr_expect_eq(descriptor >> 40 & 0xf, segment->type);
	cr_expect_eq(descriptor >> 47 & 1, segment->present);
	cr_expect_eq(descriptor >> 53 & 1, segment->l);
	cr_expect_eq(descriptor >> 54 & 1, segment->db);
	cr_expect_eq(descriptor >> 55 & 1, segment->g);
}

Test(regs, the_gdt_in_memory_says_what_the_registers_say)
{
	static const enum boot_protocol protocols[] = {BOOT_PVH, BOOT_LINUX64_ELF,
						       BOOT_LINUX64_BZIMAGE};

	for (size_t i = 0; i < ARRAY_COUNT(protocols); i++) {
		struct guest guest = guest_new(64);
		struct kvm_sregs sregs = {.cr0 = 0};
		struct error err = {0};

		cr_assert_eq(regs_write_tables(guest.mem, protocols[i], &err), 0);
		regs_set_system(&sregs, protocols[i]);
		cr_expect_eq(guest_u64(&guest, 0x500), 0);
		expect_descriptor(guest_u64(&guest, 0x500 + sregs.cs.selector), &sregs.cs);
		expect_descriptor(guest_u64(&guest, 0x500 + sregs.ds.selector), &sregs.ds);
		expect_descriptor(guest_u64(&guest, 0x500 + sregs.tr.selector), &sregs.tr);
		cr_expect_eq(guest_u64(&guest, 0x520), 0, "an empty IDT");
		guest_free(&guest);
	}
}

Test(regs, descriptors_are_the_well_known_ones)
{
	struct guest guest = guest_new(64);
	struct error err = {0};

	cr_assert_eq(regs_write_tables(guest.mem, BOOT_LINUX64_ELF, &err), 0);
	cr_expect_eq(guest_u64(&guest, 0x508), UINT64_C(0x00af9b000000ffff));
	cr_expect_eq(guest_u64(&guest, 0x510), UINT64_C(0x00cf93000000ffff));
	cr_expect_eq(guest_u64(&guest, 0x518), UINT64_C(0x008f8b000000ffff));
	cr_assert_eq(regs_write_tables(guest.mem, BOOT_PVH, &err), 0);
	cr_expect_eq(guest_u64(&guest, 0x508), UINT64_C(0x00cf9b000000ffff));
	cr_expect_eq(guest_u64(&guest, 0x510), UINT64_C(0x00cf93000000ffff));
	cr_expect_eq(guest_u64(&guest, 0x518), UINT64_C(0x00008b0000000067));
	guest_free(&guest);
}

Test(regs, page_tables_map_the_first_gib_to_itself)
{
	struct guest guest = guest_new(64);
	struct error err = {0};

	cr_assert_eq(regs_write_tables(guest.mem, BOOT_LINUX64_ELF, &err), 0);
	cr_expect_eq(guest_u64(&guest, 0x9000), 0xa003);
	cr_expect_eq(guest_u64(&guest, 0x9008), 0);
	cr_expect_eq(guest_u64(&guest, 0xa000), 0xb003);
	cr_expect_eq(guest_u64(&guest, 0xa008), 0);
	for (uint64_t i = 0; i < 512; i++) {
		cr_expect_eq(guest_u64(&guest, 0xb000 + i * 8), i * 2 * MIB | 0x83);
	}
	cr_expect_eq(guest_u64(&guest, 0xc000), 0);
	guest_free(&guest);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The MPTable, read as a kernel reads it. */
#include "mptable.h"

#include <criterion/criterion.h>

#include "images.h"
#include "vmm/base/bytes.h"

enum {
	FLOATING = 0x9fc00,
	HEADER = FLOATING + 16,
	ENTRIES = HEADER + 44,
};

static struct guest with_table(unsigned vcpu_count)
{
	struct guest guest = guest_new(64);
	struct sysmem sys = sysmem_init(guest.mem);
	struct error err = {0};

	cr_assert_eq(mptable_write(&sys, vcpu_count, &err), 0);
	return guest;
}

static uint8_t u8(const struct guest *guest, uint64_t gpa)
{
	return (uint8_t)guest_u16(guest, gpa);
}

Test(mptable, the_floating_pointer_leads_to_the_table)
{
	struct guest guest = with_table(1);

	cr_expect_eq(guest_u32(&guest, FLOATING), load_le32("_MP_"));
	cr_expect_eq(guest_u32(&guest, FLOATING + 4), HEADER);
	cr_expect_eq(u8(&guest, FLOATING + 8), 1);
	cr_expect_eq(u8(&guest, FLOATING + 9), 4);
	cr_expect_eq(guest_sum(&guest, FLOATING, 16), 0);
	cr_expect_eq(guest_u32(&guest, HEADER), load_le32("PCMP"));
	cr_expect_eq(guest_u64(&guest, HEADER + 8), load_le64("FC      "));
	cr_expect_eq(guest_u32(&guest, HEADER + 36), 0xfee00000);
	guest_free(&guest);
}

Test(mptable, entries_are_as_many_as_the_header_says_for_any_number_of_processors)
{
	static const uint8_t sizes[] = {20, 8, 8, 8, 8}; /* by entry type */

	for (unsigned vcpu_count = 1; vcpu_count <= ARCH_VCPUS_MAX; vcpu_count++) {
		struct guest guest = with_table(vcpu_count);
		const uint16_t len = guest_u16(&guest, HEADER + 4);
		unsigned found[ARRAY_COUNT(sizes)] = {0};
		uint64_t at = ENTRIES;

		cr_expect_eq(guest_sum(&guest, HEADER, len), 0);
		for (unsigned i = 0; i < guest_u16(&guest, HEADER + 34); i++) {
			const uint8_t type = u8(&guest, at);

			cr_assert_lt(type, ARRAY_COUNT(sizes));
			found[type]++;
			at += sizes[type];
		}
		cr_expect_eq(at, HEADER + len);
		cr_expect_leq(at, FLOATING + 1024, "the KiB that kernels search");
		cr_expect_eq(found[0], vcpu_count);
		cr_expect_eq(found[1], 1, "one bus");
		cr_expect_eq(found[2], 1, "one IOAPIC");
		cr_expect_eq(found[3], 24, "one interrupt for each pin");
		cr_expect_eq(found[4], 2, "LINT0 and LINT1");
		guest_free(&guest);
	}
}

Test(mptable, the_first_processor_boots_and_all_are_enabled)
{
	struct guest guest = with_table(3);

	for (uint64_t i = 0; i < 3; i++) {
		cr_expect_eq(u8(&guest, ENTRIES + 20 * i + 1), i);
		cr_expect_eq(u8(&guest, ENTRIES + 20 * i + 2), 0x14);
		cr_expect_eq(u8(&guest, ENTRIES + 20 * i + 3), i == 0 ? 3 : 1);
	}
	guest_free(&guest);
}

Test(mptable, interrupts_go_to_the_ioapic_pin_of_their_number)
{
	struct guest guest = with_table(2);
	const uint64_t bus = ENTRIES + 2 * 20;
	const uint64_t ioapic = bus + 8;
	const uint64_t interrupts = ioapic + 8;

	cr_expect_eq(guest_u32(&guest, bus + 2), load_le32("ISA "));
	cr_expect_eq(u8(&guest, ioapic + 1), 3, "vCPUs + 1");
	cr_expect_eq(guest_u32(&guest, ioapic + 4), 0xfec00000);
	for (uint64_t pin = 0; pin < 24; pin++) {
		cr_expect_eq(u8(&guest, interrupts + pin * 8 + 5), pin);
		cr_expect_eq(u8(&guest, interrupts + pin * 8 + 6), 3);
		cr_expect_eq(u8(&guest, interrupts + pin * 8 + 7), pin);
	}
	/* local: ExtINT at LINT0, NMI at LINT1 of all */
	cr_expect_eq(guest_u64(&guest, interrupts + 24 * sizeof(uint64_t)),
		     UINT64_C(0x0000000000000304));
	cr_expect_eq(guest_u64(&guest, interrupts + 25 * sizeof(uint64_t)),
		     UINT64_C(0x01ff000000000104));
	guest_free(&guest);
}

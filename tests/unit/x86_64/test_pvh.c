/* SPDX-License-Identifier: Apache-2.0 */
/* The PVH start info, by the offsets of Xen's public/arch-x86/hvm/start_info.h. */
#include "pvh.h"

#include <criterion/criterion.h>

#include "images.h"
#include "vmm/base/bytes.h"

enum {
	INFO = 0x6000,
	MAP = 0x7000,
	MAP_ENTRY = 24,
	MODULE = 0x6040,
};

static void expect_map(const struct guest *guest, unsigned index, uint64_t base, uint64_t len,
		       uint32_t type)
{
	const uint64_t at = MAP + index * MAP_ENTRY;

	cr_expect_eq(guest_u64(guest, at), base, "entry %u", index);
	cr_expect_eq(guest_u64(guest, at + 8), len, "entry %u", index);
	cr_expect_eq(guest_u32(guest, at + 16), type, "entry %u", index);
	cr_expect_eq(guest_u32(guest, at + 20), 0, "entry %u", index);
}

Test(pvh, the_start_info_points_to_everything)
{
	struct guest guest = guest_new(64);
	struct error err = {0};

	cr_assert_eq(pvh_write(guest.mem, &guest.boot, &err), 0);
	cr_expect_eq(guest_u32(&guest, INFO), 0x336ec578);
	cr_expect_eq(guest_u32(&guest, INFO + 4), 1);
	cr_expect_eq(guest_u32(&guest, INFO + 8), 0);
	cr_expect_eq(guest_u32(&guest, INFO + 12), 0, "no module");
	cr_expect_eq(guest_u64(&guest, INFO + 16), 0, "no module list");
	cr_expect_eq(guest_u64(&guest, INFO + 24), 0x20000);
	cr_expect_eq(guest_u64(&guest, INFO + 32), 0xe0000);
	cr_expect_eq(guest_u64(&guest, INFO + 40), MAP);
	cr_expect_eq(guest_u32(&guest, INFO + 48), 4);
	expect_map(&guest, 0, 0, 0x9fc00, 1);
	expect_map(&guest, 1, 0x9fc00, 0xe0000 - 0x9fc00, 2);
	expect_map(&guest, 2, 0xeec00000, 256 * MIB, 2);
	expect_map(&guest, 3, MIB, 63 * MIB, 1);
	guest_free(&guest);
}

Test(pvh, an_initrd_is_the_only_module)
{
	struct guest guest = guest_new(64);
	struct error err = {0};

	guest.boot.initrd = GPA(0x3f00000);
	guest.boot.initrd_len = 12345;
	cr_assert_eq(pvh_write(guest.mem, &guest.boot, &err), 0);
	cr_expect_eq(guest_u32(&guest, INFO + 12), 1);
	cr_expect_eq(guest_u64(&guest, INFO + 16), MODULE);
	cr_expect_eq(guest_u64(&guest, MODULE), 0x3f00000);
	cr_expect_eq(guest_u64(&guest, MODULE + 8), 12345);
	cr_expect_eq(guest_u64(&guest, MODULE + 16), 0);
	guest_free(&guest);
}

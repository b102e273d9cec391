/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of firmware tables below 1 MiB. */
#include "sysmem.h"

#include <criterion/criterion.h>

#include "images.h"

Test(sysmem, tables_follow_each_other_aligned_to_16)
{
	struct guest guest = guest_new(64);
	struct sysmem sys = sysmem_init(guest.mem);
	struct error err = {0};
	uint64_t at = 0;

	cr_assert_eq(sysmem_put(&sys, "12345678901234567", 17, &at, &err), 0);
	cr_expect_eq(at, 0x9fc00);
	cr_assert_eq(sysmem_put(&sys, "abcd", 4, &at, &err), 0);
	cr_expect_eq(at, 0x9fc20);
	cr_expect_eq(guest_u32(&guest, 0x9fc20), 0x64636261);
	guest_free(&guest);
}

Test(sysmem, the_pool_can_be_filled_to_the_clock_page_and_not_beyond)
{
	static uint8_t bytes[0xde000 - 0x9fc00];
	struct guest guest = guest_new(64);
	struct sysmem sys = sysmem_init(guest.mem);
	struct error err = {0};

	cr_assert_eq(sysmem_put(&sys, bytes, sizeof(bytes) - 1, NULL, &err), 0);
	cr_assert_eq(sysmem_put(&sys, bytes, 1, NULL, &err), -1);
	cr_assert_str_eq(err.msg,
			 "The guest has no room for a firmware table of 1 bytes below 1 MiB");
	guest_free(&guest);
}

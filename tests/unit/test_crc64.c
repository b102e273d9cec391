/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/crc64.c. */
#include <criterion/criterion.h>

#include "vmm/base/crc64.h"

Test(crc64, it_is_that_of_jones)
{
	cr_assert(crc64("123456789", 9) == UINT64_C(0xe9c6d914c4b8d9ca));
	cr_assert(crc64("", 0) == 0);
	cr_assert(crc64("\0", 1) == 0);
	cr_assert(crc64("\xff\x80", 2) != crc64("\x7f\x80", 2));
}

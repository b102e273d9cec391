/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: a guest is loaded, entered, can write to the serial port and end by a reset.
 * Output: "hello from the guest"; exit status 0.
 */
#include "tests/guests/payload/guest.h"

void guest_main(void)
{
	print("hello from the guest\n");
}

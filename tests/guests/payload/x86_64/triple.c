/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: a triple fault ends the VM with an error that says so.
 * Output: "triple: faulting", then the monitor's report; exit status 1.
 */
#include "tests/guests/payload/guest.h"

void guest_main(void)
{
	static const uint8_t no_idt[10];

	print("triple: faulting\n");
	__asm__ volatile("lidt %0; ud2" : : "m"(no_idt));
}

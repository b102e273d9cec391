/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: an instruction that KVM can't emulate ends the VM with an error that names it. An x87
 * store to a device is such a one on any KVM; an interpreting KVM lacks it everywhere.
 * Output: "badinsn: storing", then the monitor's report with the bytes df 38; exit status 1.
 */
#include "tests/guests/payload/guest.h"

void guest_main(void)
{
	print("badinsn: storing\n");
	__asm__ volatile("fninit; fistpll (%0)" : : "a"(UINT64_C(0xd0000000)) : "memory");
	print("badinsn: wrong, it was emulated\n");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: SYSTEM_OFF ends the VM as a reset does.
 * Output: "off: now"; exit status 0.
 */
#include "tests/guests/payload/aarch64/psci.h"
#include "tests/guests/payload/guest.h"

void guest_main(void)
{
	print("off: now\n");
	psci(PSCI_SYSTEM_OFF, 0, 0, 0);
	print("off: wrong, it returned\n");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: a guest that has nothing to do costs the host nothing, and bears being paused.
 * Output: "idle: ready"; it never ends.
 */
#include "tests/guests/payload/guest.h"

void guest_main(void)
{
	print("idle: ready\n");
	for (;;) {
		cpu_idle();
	}
}

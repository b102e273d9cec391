/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: a debugger can stop it in tick(), watch debug_count and step; undisturbed it counts
 * to 5.
 * Output: "counted to 5"; exit status 0.
 */
#include "tests/guests/payload/guest.h"

void tick(unsigned by);

volatile unsigned debug_count;

__attribute__((noinline)) void tick(unsigned by)
{
	debug_count += by;
}

void guest_main(void)
{
	for (int i = 0; i < 5; i++) {
		tick(1);
	}
	print("counted to ");
	print_number(debug_count);
	print("\n");
}

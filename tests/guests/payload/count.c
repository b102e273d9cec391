/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: a guest goes on while others do what they like with the monitor.
 * Output: "count: 1", "count: 2" and so on; it never ends.
 */
#include "tests/guests/payload/guest.h"

enum {
	TURNS = 2000 /* between two lines: about a millisecond on an interpreting KVM */
};

void guest_main(void)
{
	for (uint64_t count = 1;; count++) {
		print("count: ");
		print_number(count);
		print("\n");
		for (volatile unsigned turn = 0; turn < TURNS; turn++) {
		}
	}
}

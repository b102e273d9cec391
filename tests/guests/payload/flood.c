/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: much output at once neither blocks the guest nor grows the monitor.
 * Output: 256 lines of 64 bytes, numbered, then "flood: done"; exit status 0.
 */
#include "tests/guests/payload/guest.h"

enum {
	LINES = 256,
	NUMBER_AT = 10 /* its last digit */
};

void guest_main(void)
{
	static char line[] = "flood 00000 the quick brown fox jumps over the lazy dog, again.\n";

	for (unsigned i = 0; i < LINES; i++) {
		serial_write(line, sizeof(line) - 1);
		for (char *digit = &line[NUMBER_AT]; ++*digit > '9'; digit--) {
			*digit = '0';
		}
	}
	print("flood: done\n");
}

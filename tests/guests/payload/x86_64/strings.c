/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: string instructions, one exit with many elements, move each element.
 * Output: "strings: out", then "strings: in ok"; exit status 0.
 */
#include "tests/guests/payload/guest.h"

enum {
	SERIAL = 0x3f8,
	REG_LSR = 5,
	LSR_IDLE = 0x60,
};

void guest_main(void)
{
	static const char text[] = "strings: out\n";
	uint8_t line_status[16];
	uint8_t *to = line_status;
	size_t left = sizeof(line_status);
	bool is_ok = true;

	serial_write(text, sizeof(text) - 1);
	__asm__ volatile("rep insb" : "+D"(to), "+c"(left) : "d"(SERIAL + REG_LSR) : "memory");
	for (size_t i = 0; i < sizeof(line_status); i++) {
		is_ok = is_ok && (line_status[i] & LSR_IDLE) == LSR_IDLE;
	}
	print(is_ok ? "strings: in ok\n" : "strings: in wrong\n");
}

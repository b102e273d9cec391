/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: input reaches the guest whole and in order, however fast it comes.
 * Output: "echo: ready", then what it reads, until and including a 'q'; exit status 0.
 */
#include "tests/guests/payload/guest.h"

enum {
	REG_DATA = 0,
	REG_LSR = 5,
	LSR_DATA_READY = 0x01
};

void guest_main(void)
{
	uint8_t byte = 0;

	print("echo: ready\n");
	while (byte != 'q') {
		if (serial_in(REG_LSR) & LSR_DATA_READY) {
			byte = serial_in(REG_DATA);
			serial_out(REG_DATA, byte);
		}
	}
}

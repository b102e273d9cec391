/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: the keys that the API presses reach a guest which polls the keyboard controller.
 * Output: "keys: ready", then "keys: 0x14 0x11 0xe0 0x71"; exit status 0.
 */
#include "tests/guests/payload/guest.h"
#include "tests/guests/payload/x86_64/io.h"

enum {
	PORT_DATA = 0x60,
	PORT_STATUS = 0x64,
	STATUS_OUTPUT_FULL = 0x01,
	KEYS = 4,      /* codes of Ctrl, Alt and Del */
	TURNS = 200000 /* before the end: some clients take a guest that ends at once for lost */
};

void guest_main(void)
{
	unsigned codes[KEYS];

	print("keys: ready\n");
	for (unsigned i = 0; i < KEYS; i++) {
		while ((inb(PORT_STATUS) & STATUS_OUTPUT_FULL) == 0) {
		}
		codes[i] = inb(PORT_DATA);
	}
	print("keys:");
	for (unsigned i = 0; i < KEYS; i++) {
		print(" ");
		print_hex(codes[i]);
	}
	print("\n");
	for (volatile unsigned turn = 0; turn < TURNS; turn++) {
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: a guest that is asked for what is behind its first hot-plug port, by the port's button,
 * keeps it until somebody types a key. Output: "ports: ready" once there is something, "ports:
 * asked", "ports: given" after the key; then again. With a 'q' it ends and keeps the device.
 */
#include "tests/guests/payload/ports.h"

enum {
	REG_DATA = 0,
	REG_LSR = 5,
	LSR_DATA_READY = 0x01,
	BUTTON = 0x01,
	PRESENT = 0x40,
};

static void await_status(uint64_t bits, bool is_set)
{
	while (((memory_read(port_space(0) + PORT_SLOT_STATUS, 2) & bits) != 0) != is_set) {
	}
}

void guest_main(void)
{
	for (;;) {
		await_status(PRESENT, true);
		memory_write(port_space(0) + PORT_SLOT_STATUS, 2, 0xffff);
		memory_write(port_space(0) + PORT_SLOT_CONTROL, 2, PORT_ENABLED);
		print("ports: ready\n");
		await_status(BUTTON, true);
		print("ports: asked\n");
		while ((serial_in(REG_LSR) & LSR_DATA_READY) == 0) {
		}
		if (serial_in(REG_DATA) == 'q') {
			return;
		}
		memory_write(port_space(0) + PORT_SLOT_CONTROL, 2, PORT_ENABLED | PORT_POWER_OFF);
		print("ports: given\n");
		await_status(PRESENT, false);
	}
}

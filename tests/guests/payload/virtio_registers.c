/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: every register of every virtio device bears every width and value in every state of the
 * device, and the disk works in the end.
 * Output: a line per device, then "virtio_registers: ok"; exit status 0.
 */
#include "tests/guests/payload/virtio.h"

enum {
	REGISTERS_END = REG_CONFIG + 0x20,
};

/* What is written to the status register, one after the other, before the registers are tried. */
static const uint8_t states[][4] = {
	{0},
	{STATUS_ACKNOWLEDGE},
	{STATUS_ACKNOWLEDGE, 3},
	{STATUS_ACKNOWLEDGE, 3, 11},
	{STATUS_ACKNOWLEDGE, 3, 11, 15},
	{STATUS_DRIVER_OK},
	{STATUS_ACKNOWLEDGE, 3, 7, 15},
	{STATUS_ACKNOWLEDGE, 3, STATUS_FAILED},
	{STATUS_NEEDS_RESET, 0xff},
};

static const uint64_t values[] = {0, UINT64_C(0x5a5a5a5a00000001), UINT64_MAX};

static void enter(const struct device *device, const uint8_t *state)
{
	device_write(device, REG_STATUS, 0);
	device_write(device, REG_DRIVER_FEATURES_SEL, 1);
	for (unsigned i = 0; i < COUNT_OF(states[0]) && state[i] != 0; i++) {
		if (state[i] == 11) {
			device_write(device, REG_DRIVER_FEATURES_SEL, 1);
			device_write(device, REG_DRIVER_FEATURES, 1);
		}
		device_write(device, REG_STATUS, state[i]);
	}
}

static void try_register(const struct device *device, unsigned reg, uint64_t value)
{
	/* Odd places for odd widths; a device's memory bears aligned accesses only, on aarch64. */
	static const struct {
		unsigned offset;
		unsigned width;
	} tries[] = {{1, 1}, {2, 2}, {0, 4}, {0, 8}};

	for (unsigned i = 0; i < COUNT_OF(tries); i++) {
		unsigned at = reg + tries[i].offset;

		if (at % tries[i].width == 0) {
			memory_write(device->base + at, tries[i].width, value);
			(void)memory_read(device->base + at, tries[i].width);
		}
	}
}

static void try_device(const struct device *device)
{
	for (unsigned i = 0; i < COUNT_OF(states); i++) {
		for (unsigned j = 0; j < COUNT_OF(values); j++) {
			for (unsigned reg = 0; reg < REGISTERS_END; reg += 4) {
				/* The state is to last. */
				if (reg == 0 || reg == REG_STATUS + 4) {
					enter(device, states[i]);
				}
				try_register(device, reg, values[j]);
			}
		}
	}
	/* The window's end, and the last register that a bus knows to be there. */
	for (unsigned at = WINDOW_LEN - 16; at < WINDOW_LEN; at += 8) {
		memory_write(device->base + at, 8, UINT64_MAX);
		(void)memory_read(device->base + at, 8);
	}
	device_write(device, REG_STATUS, 0);
}

void guest_main(void)
{
	bool is_ok = devices_find();

	for (unsigned i = 0; is_ok && i < DEVICES; i++) {
		try_device(&devices[i]);
		device_start(&devices[DEV_BLOCK]);
		device_start(&devices[DEV_ENTROPY]);
		is_ok = disk_works(i) && entropy_works();
		print(device_names[i]);
		print(is_ok ? ": bears it\n" : ": does not\n");
	}
	print(is_ok ? "virtio_registers: ok\n" : "virtio_registers: wrong\n");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: every register of every PCI function (configuration space, common configuration, MSI-X)
 * bears every width and value in every state, from two vCPUs at once, and the disk works in the
 * end. Base addresses stay. An entry of MSI-X bears being rewritten thousands of times while
 * it is open.
 * Output: a line per device, then "virtio_pci: ok"; exit status 0.
 */
#include "tests/guests/payload/virtio.h"

enum {
	SPACE_LEN = 0x110, /* of a configuration space, and the first bytes behind it */
	COMMON_LEN = 0x40,
	ENTRY_LEN = 16,
	ENTRIES = 8, /* more than any of these devices has */
	CONTROL_MASKED = 1,
	REWRITES = 3000,
	PATIENCE = 4000000,
	MSIX_ENABLE = 0x8000,
	MSIX_MASK = 0x4000,
	COMMAND = 4,
	COMMAND_MEMORY = 6, /* and bus master */
	BAR = 0x10,
	CAPABILITIES = 0x34,
	CAP_MSIX = 0x11,
};

/* As in virtio_registers.c. */
static const uint8_t states[][4] = {
	{0}, {1}, {1, 3}, {1, 3, 11}, {1, 3, 11, 15}, {1, 3, 11, 15}, {1, 3, STATUS_FAILED},
};

static const uint64_t values[] = {0, UINT64_C(0x5a5a5a5a00000001), UINT64_MAX};

/* What the second vCPU spoils; 0: nothing. */
static volatile uint64_t target;
static volatile uint64_t target_space;
static volatile bool is_idle;

static void try_widths(uint64_t at, uint64_t value)
{
	static const unsigned widths[] = {1, 2, 4, 8};

	for (unsigned i = 0; i < COUNT_OF(widths); i++) {
		uint64_t place = at + widths[i] % 8 % 4; /* odd places for odd widths */

		if (place % widths[i] == 0) {
			memory_write(place, widths[i], value);
			(void)memory_read(place, widths[i]);
		}
	}
}

/* Of MSI-X, in the configuration space; 0: there is none. */
static uint64_t find_msix(uint64_t space)
{
	unsigned at = (unsigned)memory_read(space + CAPABILITIES, 1);

	while (at != 0 && memory_read(space + at, 1) != CAP_MSIX) {
		at = (unsigned)memory_read(space + at + 1, 1);
	}
	return at != 0 ? space + at : 0;
}

static void set_msix(uint64_t space, uint16_t control)
{
	memory_write(find_msix(space) + 2, 2, control);
}

/*
 * Messages that nobody waits for: interrupts are off. On a PC no number may make one of a kind that
 * can't be held off (NMI, INIT).
 */
static void set_entry(const struct device *device, unsigned vector, uint64_t address, uint32_t data,
		      uint32_t control)
{
	uint64_t entry = device->base + PCI_TABLE + (uint64_t)vector * ENTRY_LEN;

	memory_write(entry, 4, (uint32_t)address);
	memory_write(entry + 4, 4, address >> 32);
	memory_write(entry + 8, 4, data & ~UINT32_C(0x700));
	memory_write(entry + 12, 4, control);
}

static void enter(const struct device *device, const uint8_t *state)
{
	device_write(device, REG_STATUS, 0);
	for (unsigned i = 0; i < COUNT_OF(states[0]) && state[i] != 0; i++) {
		if (state[i] == 11) {
			device_write(device, REG_DRIVER_FEATURES_SEL, 1);
			device_write(device, REG_DRIVER_FEATURES, 1);
		}
		device_write(device, REG_STATUS, state[i]);
	}
}

/* The registers at which writes of anything end what the test needs are left to their own tests. */
static bool is_spared(unsigned offset)
{
	return offset == COMMAND;
}

static bool try_space(uint64_t space)
{
	uint64_t window = memory_read(space + BAR, 8);

	for (unsigned i = 0; i < COUNT_OF(values); i++) {
		for (unsigned at = 0; at < SPACE_LEN; at += 4) {
			if (!is_spared(at) && space + at != find_msix(space)) {
				try_widths(space + at, values[i]);
			}
		}
		memory_write(space + COMMAND, 2, values[i]);
		(void)memory_read(space + COMMAND, 4);
		memory_write(space + COMMAND, 2, COMMAND_MEMORY);
		/* It was asked for its size; another write ends that. */
		memory_write(space + BAR, 4, 0);
		memory_write(space + BAR + 4, 4, 0);
		if (memory_read(space + BAR, 8) != window) {
			print("a window has moved\n");
			return false;
		}
	}
	return true;
}

static void try_window(const struct device *device)
{
	for (unsigned i = 0; i < COUNT_OF(states); i++) {
		for (unsigned j = 0; j < COUNT_OF(values); j++) {
			enter(device, states[i]);
			for (unsigned at = 0; at < COMMON_LEN; at += 4) {
				/* The state is to last. */
				if (at != 0x14) {
					try_widths(device->base + at, values[j]);
				}
			}
			try_widths(device->base + 0x2000, values[j]);
			try_widths(device->base + 0x4000, values[j]);
			try_widths(device->base + 0x6000, values[j]);
		}
	}
	for (unsigned j = 0; j < COUNT_OF(values); j++) {
		for (uint64_t at = 0; at < PCI_WINDOW_LEN; at += 0x2000) {
			if (at >= PCI_PENDING || at == 0) {
				try_widths(device->base + at, values[j]);
			}
		}
		try_widths(device->base + PCI_WINDOW_LEN - 8, values[j]);
	}
	device_write(device, REG_STATUS, 0);
}

static void try_messages(const struct device *device, uint64_t space)
{
	static const uint64_t addresses[] = {0, UINT64_C(0xfee00000), UINT64_C(0xfeeff00c),
					     UINT64_C(0xffffffffee00000), UINT64_MAX};

	for (unsigned i = 0; i < ENTRIES + 1; i++) {
		for (unsigned j = 0; j < COUNT_OF(values); j++) {
			try_widths(device->base + PCI_TABLE + i * ENTRY_LEN, values[j]);
			try_widths(device->base + PCI_TABLE + i * ENTRY_LEN + 4, values[j]);
		}
	}
	for (unsigned i = 0; i < COUNT_OF(addresses); i++) {
		for (unsigned vector = 0; vector < ENTRIES; vector++) {
			set_entry(device, vector, addresses[i], (uint32_t)random_next(), 0);
		}
		set_msix(space, MSIX_ENABLE);
		set_msix(space, MSIX_ENABLE | MSIX_MASK);
		set_msix(space, 0);
	}
	set_msix(space, MSIX_ENABLE);
	for (unsigned i = 0; i < REWRITES; i++) {
		set_entry(device, 0, UINT64_C(0xfee00000), i & 0xff, 0);
	}
	for (unsigned vector = 0; vector < ENTRIES; vector++) {
		set_entry(device, vector, 0, 0, CONTROL_MASKED);
	}
	set_msix(space, 0);
}

/* Never returns. */
void guest_secondary(void)
{
	for (;;) {
		uint64_t window = target;
		uint64_t space = target_space;

		is_idle = window == 0;
		if (window != 0) {
			unsigned vector = (unsigned)(random_next() % ENTRIES);
			uint64_t entry = window + PCI_TABLE + (uint64_t)vector * ENTRY_LEN;

			memory_write(entry + 8, 4, random_next() & 0xff);
			memory_write(entry + 12, 4, random_next() & 1);
			memory_write(find_msix(space) + 2, 2, MSIX_ENABLE);
			memory_write(space + BAR, 4, random_next());
			(void)memory_read(window + (random_next() & 0x3e), 2);
			(void)memory_read(window + PCI_PENDING, 8);
		}
	}
}

static void stop_spoiling(void)
{
	target = 0;
	is_idle = false;
	memory_barrier();
	while (!is_idle) {
	}
}

static bool try_device(unsigned index)
{
	const struct device *device = &devices[index];
	uint64_t space = device_config_space(index);

	/* Alone, where the test looks at what has become of it; then beside another vCPU. */
	if (find_msix(space) == 0 || !try_space(space)) {
		return false;
	}
	target_space = space;
	target = device->base;
	try_window(device);
	try_messages(device, space);
	stop_spoiling();
	memory_write(space + COMMAND, 2, COMMAND_MEMORY);
	set_msix(space, 0);
	for (unsigned vector = 0; vector < ENTRIES; vector++) {
		set_entry(device, vector, 0, 0, CONTROL_MASKED);
	}
	device_write(device, REG_STATUS, 0);
	return true;
}

static bool start_second(void)
{
	unsigned cpus = cpus_start();

	for (unsigned i = 0; i < PATIENCE && !is_idle; i++) {
		memory_barrier();
	}
	return is_idle && cpus == 2;
}

void guest_main(void)
{
	bool is_ok = devices_find() && devices_are_on_pci() && start_second();

	for (unsigned i = 0; is_ok && i < DEVICES; i++) {
		is_ok = try_device(i);
		device_start(&devices[DEV_BLOCK]);
		device_start(&devices[DEV_ENTROPY]);
		is_ok = is_ok && disk_works(i) && entropy_works();
		print(device_names[i]);
		print(is_ok ? ": bears it\n" : ": does not\n");
	}
	print(is_ok ? "virtio_pci: ok\n" : "virtio_pci: wrong\n");
}

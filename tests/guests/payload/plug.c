/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: a guest whose two vCPUs use and spoil the functions of a PCI bus all the time, and
 * those behind hot-plug ports, whose power it turns on and off, bears that they come and go, and
 * the monitor bears the guest. Where nothing is, all reads are ones. Output: "plug: ready", then
 * "plug: used" once a device has answered a request, or "WRONG: ..."; it never ends.
 */
#include "tests/guests/payload/ports.h"

enum {
	SLOTS = 3, /* that the test plugs into */
	PORTS = 2,
	PLACES = SLOTS + PORTS,
	PORT_MSI = 0x40,
	BUS_LEN = 0x100000, /* of ECAM */
	PORT_WINDOW_LEN = 0x100000,
	PORT_WINDOWS = 0x1000000, /* behind those of all slots */
	COMMAND = 4,
	COMMAND_MEMORY = 6, /* and bus master */
	ISR = 0x2000,
	NOTIFY = 0x6000,
	CAPABILITIES = 0x34,
	CAP_MSIX = 0x11,
	MSIX_ENABLE = 0x8000,
	VECTORS = 2,
	ENTRY_LEN = 16,
	REQUEST_LEN = 16,
	LOOKS = 2000,
};

/* The common configuration. */
enum {
	FEATURES_SELECT = 0x08,
	FEATURES = 0x0c,
	STATUS = 0x14,
	QUEUE_SIZE_REG = 0x18,
	QUEUE_ENABLE = 0x1c,
	QUEUE_DESC = 0x20,
	QUEUE_AVAIL = 0x28,
	QUEUE_USED = 0x30,
};

static volatile struct rings rings __attribute__((aligned(0x1000)));
static volatile struct {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
	uint64_t words[SECTOR / 8];
	uint8_t status;
} request;

/* Slots, and what is behind ports if there are any. */
static volatile unsigned places = SLOTS;

/* Where slot 1's window is: the others follow. 0: not known yet. */
static volatile uint64_t windows_base;

/* Places are slots from 1 on, then what is behind each port. */
static uint64_t space_of(unsigned place)
{
	return place <= SLOTS ? pci_ecam + (uint64_t)place * PCI_SLOT_LEN
			      : pci_ecam + (uint64_t)(place - SLOTS) * BUS_LEN;
}

static uint64_t window_of(unsigned place)
{
	return place <= SLOTS ? windows_base + (uint64_t)(place - 1) * PCI_WINDOW_LEN
			      : windows_base + PORT_WINDOWS +
					(uint64_t)(place - SLOTS - 1) * PORT_WINDOW_LEN;
}

/* Power on, as if a driver had seen what has come. */
static void start_ports(void)
{
	for (unsigned port = 0; port < PORTS; port++) {
		uint64_t space = port_space(port);

		memory_write(space + PORT_MSI + 4, 4, UINT64_C(0xfee00000));
		memory_write(space + PORT_MSI + 2, 2, 1);
		memory_write(space + PORT_SLOT_STATUS, 2, 0xffff);
		memory_write(space + PORT_SLOT_CONTROL, 2, PORT_ENABLED);
	}
}

/* Whatever the button says. */
static void spoil_port(unsigned port)
{
	uint64_t space = port_space(port);

	memory_write(space + PORT_SLOT_CONTROL, 2,
		     (random_next() & 1) != 0 ? PORT_ENABLED : PORT_ENABLED | PORT_POWER_OFF);
	memory_write(space + PORT_SLOT_STATUS, 2, random_next());
	memory_write(space + PORT_MSI, 4, random_next());
	memory_write(space + 0x3e, 2, random_next());
}

/* 0: there is none, or the function has gone meanwhile. */
static uint64_t find_msix(uint64_t space)
{
	uint64_t at = memory_read(space + CAPABILITIES, 1);

	for (unsigned i = 0; i < 16 && at != 0 && at != 0xff; i++) {
		if (memory_read(space + at, 1) == CAP_MSIX) {
			return space + at;
		}
		at = memory_read(space + at + 1, 1);
	}
	return 0;
}

static void open_messages(uint64_t space, uint64_t window)
{
	uint64_t msix = find_msix(space);

	if (msix == 0) {
		return;
	}
	for (unsigned i = 0; i < VECTORS; i++) {
		uint64_t entry = window + PCI_TABLE + (uint64_t)i * ENTRY_LEN;

		memory_write(entry, 8, UINT64_C(0xfee00000));
		memory_write(entry + 8, 4, 0x40 + i);
		memory_write(entry + 12, 4, 0);
	}
	memory_write(msix + 2, 2, MSIX_ENABLE);
}

static void set_desc(unsigned index, volatile void *at, uint32_t len, uint16_t flags)
{
	rings.desc[index].addr = (uint64_t)at;
	rings.desc[index].len = len;
	rings.desc[index].flags = flags;
	rings.desc[index].next = (uint16_t)(index + 1);
}

static void set_up_rings(void)
{
	volatile uint64_t *words = (volatile uint64_t *)&rings;

	for (size_t i = 0; i < sizeof(rings) / sizeof(*words); i++) {
		words[i] = 0;
	}
	request.type = 0;
	request.sector = 1;
	request.status = 0xff;
	set_desc(0, &request, REQUEST_LEN, DESC_NEXT);
	set_desc(1, request.words, SECTOR, DESC_NEXT | DESC_WRITE);
	set_desc(2, &request.status, 1, DESC_WRITE);
}

static void start(uint64_t window)
{
	static const uint8_t states[] = {0, 1, 3};

	for (unsigned i = 0; i < COUNT_OF(states); i++) {
		memory_write(window + STATUS, 1, states[i]);
	}
	memory_write(window + FEATURES_SELECT, 4, 1);
	memory_write(window + FEATURES, 4, 1); /* VERSION_1 */
	memory_write(window + STATUS, 1, 11);
	memory_write(window + QUEUE_SIZE_REG, 2, QUEUE_SIZE);
	memory_write(window + QUEUE_DESC, 8, (uint64_t)&rings.desc);
	memory_write(window + QUEUE_AVAIL, 8, (uint64_t)&rings.avail);
	memory_write(window + QUEUE_USED, 8, (uint64_t)&rings.used);
	memory_write(window + QUEUE_ENABLE, 2, 1);
	memory_write(window + STATUS, 1, 15);
}

/* A request; the device may go at any moment, and the next one has the rings from its start on. */
static bool use(unsigned slot)
{
	uint64_t window = window_of(slot);

	set_up_rings();
	memory_write(space_of(slot) + COMMAND, 2, COMMAND_MEMORY);
	open_messages(space_of(slot), window);
	start(window);
	rings_offer(&rings, 0);
	memory_write(window + NOTIFY, 2, 0);
	for (unsigned i = 0; i < LOOKS && rings.used.idx == 0; i++) {
		memory_barrier();
	}
	(void)memory_read(window + ISR, 1);
	return request.status == 0 && request.words[0] == DISK_MARK + SECTOR;
}

/* What was read as gone must be gone in all its places, unless it came back meanwhile. */
static void look_at_nothing(unsigned slot)
{
	uint64_t value = memory_read(window_of(slot), 4);

	if (value != UINT32_MAX && memory_read(space_of(slot), 4) == UINT32_MAX &&
	    memory_read(window_of(slot), 4) != UINT32_MAX) {
		print("WRONG: the window of an empty slot reads ");
		print_hex(value);
		print("\n");
	}
}

/* Never returns. */
void guest_secondary(void)
{
	for (;;) {
		unsigned slot = 1 + (unsigned)(random_next() % places);
		uint64_t window = window_of(slot);

		if (windows_base == 0) {
			continue;
		}
		(void)memory_read(window + (random_next() & 0x3e), 2);
		memory_write(window + PCI_TABLE + 12, 4, random_next() & 1);
		memory_write(window + NOTIFY, 2, 0);
		memory_write(space_of(slot) + COMMAND, 2, COMMAND_MEMORY);
		(void)memory_read(window + PCI_PENDING, 8);
		if (random_next() % 64 == 0) {
			memory_write(window + STATUS, 1, 0);
		}
		if (places == PLACES && random_next() % 64 == 0) {
			spoil_port((unsigned)(random_next() % PORTS));
		}
	}
}

void guest_main(void)
{
	bool is_used = false;

	if (memory_read(port_space(0), 4) != UINT32_MAX) {
		places = PLACES;
	}
	(void)cpus_start();
	print("plug: ready\n");
	for (;;) {
		if (places == PLACES) {
			start_ports();
		}
		for (unsigned slot = 1; slot <= places; slot++) {
			uint64_t space = space_of(slot);
			uint64_t id = memory_read(space, 4);

			if (id == UINT32_MAX) {
				if (windows_base != 0) {
					look_at_nothing(slot);
				}
				continue;
			}
			if (windows_base == 0) {
				windows_base = (memory_read(space + 0x14, 4) << 32 |
						(memory_read(space + 0x10, 4) & ~15u)) -
					       window_of(slot);
			}
			if (use(slot) && !is_used) {
				is_used = true;
				print("plug: used\n");
			}
		}
	}
}

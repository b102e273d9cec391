/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hot-plug port with a guest that reads and writes its configuration space anywhere, by up to 8
 * bytes, devices that come and go, and any saved state. eva_pci_config.c shows the space itself,
 * which is included here.
 */
#define NDEBUG

#include "tests/eva/codec.h"

#include "devices/pci/config.c"

#include "devices/pci/port.c"

static struct pci_port port;

static unsigned change(void)
{
	struct pci_port_state state;
	uint8_t data[8];

	switch (any_between(0, 4)) {
	case 0:
		return pci_port_insert(&port);
	case 1:
		return pci_port_remove(&port);
	case 2:
		return pci_port_press(&port);
	case 3:
		fill(data, sizeof(data));
		return pci_port_write(&port, any_u64(), data, (uint32_t)any_between(0, 8));
	default:
		pci_port_save(&port, &state);
		pci_port_state_codec(NULL, &state);
		return pci_port_load(&port, &state);
	}
}

static void look(void)
{
	uint64_t address;
	uint32_t data;
	uint8_t bytes[8] = {0};

	pci_port_read(&port, any_u64(), bytes, (uint32_t)any_between(0, 8));
	keep(bytes[0]);
	keep(pci_port_is_linked(&port));
	pci_port_message(&port, &address, &data);
	keep(address + data);
}

void main(void)
{
	const struct pci_port_place place = {
		.number = (unsigned)any_between(1, 16),
		.window = UINT64_C(0x4001000000),
		.window_len = 0x100000,
	};

	pci_port_init(&port, &place);
	while (any_bool()) {
		keep(change());
		look();
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hot-plug port under a guest that writes anything, with a device that comes and goes meanwhile.
 * Input: steps of 8 bytes: what, width, offset (2), value (4).
 *
 * What holds: the link is up if and only if there is a device and power; no byte that is not the
 * guest's changes; a message is sent only while the guest wants one; and a port that is saved and
 * loaded is the same.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/pci/port.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/base/bytes.h"

enum {
	STEP_LEN = 8,
	LINK_STATUS = 0x12,
	SLOT_STATUS = 0x1a,
};

static void check(bool is_right)
{
	if (!is_right) {
		abort();
	}
}

/* The link's and the slot's status are the port's. */
static bool is_status(const struct pci_port *port, unsigned at)
{
	unsigned offset = at - port->express_cap;

	return offset == LINK_STATUS || offset == LINK_STATUS + 1 || offset == SLOT_STATUS ||
	       offset == SLOT_STATUS + 1;
}

static void look(const struct pci_port *port, const struct pci_port *fresh, bool is_there)
{
	check(pci_port_is_linked(port) == (is_there && pci_port_is_powered(port)));
	for (unsigned i = 0; i < PCI_CONFIG_LEN; i++) {
		uint8_t changed = port->config.bytes[i] ^ fresh->config.bytes[i];

		check((changed & ~port->config.writable[i]) == 0 || is_status(port, i));
	}
}

static void reload(struct pci_port *port, const struct pci_port *fresh, bool is_there)
{
	struct pci_port loaded = *fresh;
	struct pci_port_state state;

	pci_port_save(port, &state);
	if (is_there) {
		(void)pci_port_insert(&loaded);
	}
	(void)pci_port_load(&loaded, &state);
	check(memcmp(loaded.config.bytes, port->config.bytes, PCI_CONFIG_LEN) == 0);
	check(loaded.is_raised == port->is_raised);
	*port = loaded;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct pci_port_place place = {
		.number = 1, .window = UINT64_C(0x4001000000), .window_len = 0x100000};
	struct pci_port fresh;
	struct pci_port port;
	bool is_there = false;
	uint8_t buffer[8] = {0};

	pci_port_init(&fresh, &place);
	port = fresh;
	for (; size >= STEP_LEN; data += STEP_LEN, size -= STEP_LEN) {
		uint32_t len = 1u << data[1] % 4;
		uint16_t offset = load_le16(data + 2);

		memcpy(buffer, data + 4, 4);
		memcpy(buffer + 4, data + 4, 4);
		switch (data[0] % 8) {
		case 0:
			is_there = true;
			(void)pci_port_insert(&port);
			break;
		case 1:
			is_there = false;
			(void)pci_port_remove(&port);
			break;
		case 2:
			(void)pci_port_press(&port);
			break;
		case 3:
			reload(&port, &fresh, is_there);
			break;
		case 4:
			pci_port_read(&port, offset, buffer, len);
			break;
		default:
			(void)pci_port_write(&port, offset % 0x108, buffer, len);
			break;
		}
		look(&port, &fresh, is_there);
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hot-plug port.
 *
 * Theory of operation. All state is in the configuration space. Bits of the slot status are events,
 * which a guest clears by writing ones, or states. The port interrupts when an event that the slot
 * control enables becomes pending while none was [pcie-5.0 6.7.3.4]: guests clear all events before
 * they expect another message.
 *
 * A device that comes sets "presence detect changed" and presses the button, whose event is what
 * drivers enable where there is a button. Both at once are an order to start the slot and not the
 * wish to, which Linux would wait 5 s for. A device that is to go presses the button alone. Power
 * is the guest's: the link is up while there is a device that has it.
 */
#include "devices/pci/port.h"

#include <string.h>

#include "vmm/base/bytes.h"

enum {
	VENDOR = 0x1b36, /* a root port as others emulate it: no driver knows quirks of it */
	DEVICE = 0x000c,
	CLASS = 0x060400,

	/* Registers of a bridge [pci-bridge-1.2 3.2]. */
	HEADER_TYPE = 0x0e,
	HEADER_BRIDGE = 1,
	SECONDARY_BUS = 0x19,
	SUBORDINATE_BUS = 0x1a,
	MEMORY_BASE = 0x20,
	MEMORY_LIMIT = 0x22,
	PREFETCH_BASE = 0x24,
	PREFETCH_LIMIT = 0x26,
	PREFETCH_BASE_HIGH = 0x28,
	PREFETCH_LIMIT_HIGH = 0x2c,
	BRIDGE_CONTROL = 0x3e,
	BRIDGE_CONTROL_WRITABLE = 0x3, /* answers to errors, of which there are none */
	WINDOW_SHIFT = 16,	       /* of the bits of an address that a register has */
	WINDOW_MASK = 0xfff0,
	WINDOW_64 = 1,

	/* MSI [pci-3.0 6.8.1]: one message, 64 bits, not maskable. */
	MSI_CONTROL = 2,
	MSI_ENABLE = 1,
	MSI_64 = 0x80,
	MSI_ADDRESS = 4,
	MSI_DATA = 12,
	MSI_LEN = 14,
};

/* The PCI Express capability [pcie-5.0 7.5.3]. */
enum {
	EXPRESS_LEN = 0x3c,
	EXPRESS_CAPS = 2,
	EXPRESS_V2 = 2,
	EXPRESS_ROOT_PORT = 4 << 4,
	EXPRESS_SLOT = 1 << 8,
	DEVICE_CAPS = 4,
	DEVICE_ROLE_BASED = 1 << 15,
	DEVICE_CONTROL = 8,
	LINK_CAPS = 0x0c,
	LINK_STATUS = 0x12,
	LINK_X1_2_5 = 0x11,
	LINK_REPORTS = 1 << 20,
	LINK_ACTIVE = 1 << 13,
	LINK_PORT_SHIFT = 24,
	SLOT_CAPS = 0x14,
	SLOT_BUTTON = 1 << 0,
	SLOT_POWER_CONTROLLER = 1 << 1,
	SLOT_SURPRISE = 1 << 5,
	SLOT_HOT_PLUG = 1 << 6,
	SLOT_NO_COMPLETED = 1 << 18,
	SLOT_NUMBER_SHIFT = 19,
	SLOT_CONTROL = 0x18,
	SLOT_CONTROL_WRITABLE = 0x17ff,
	CONTROL_BUTTON = 1 << 0,
	CONTROL_PRESENCE = 1 << 3,
	CONTROL_INTERRUPT = 1 << 5,
	CONTROL_INDICATORS_OFF = 0xf << 6,
	CONTROL_POWER_OFF = 1 << 10,
	CONTROL_LINK = 1 << 12,
	SLOT_STATUS = 0x1a,
	STATUS_BUTTON = 1 << 0, /* events */
	STATUS_PRESENCE = 1 << 3,
	STATUS_LINK = 1 << 8,
	STATUS_EVENTS = STATUS_BUTTON | STATUS_PRESENCE | STATUS_LINK,
	STATUS_PRESENT = 1 << 6, /* a state */
	ROOT_CONTROL = 0x1c,
	LINK_CAPS_2 = 0x2c,
	LINK_SPEEDS_2_5 = 1 << 1,
	LINK_CONTROL_2 = 0x30,
};

static uint8_t *express(struct pci_port *port, unsigned offset)
{
	return port->config.bytes + port->express_cap + offset;
}

static uint16_t express_u16(const struct pci_port *port, unsigned offset)
{
	return pci_config_u16(&port->config, port->express_cap + offset);
}

/* --- What the port is --- */

/* The bits 20 to 31 of an address and those above are in registers of their own. */
static void set_window(struct pci_config *config, uint64_t base, uint64_t len)
{
	uint64_t last = base + len - 1;
	uint8_t *bytes = config->bytes;

	store_le16(bytes + PREFETCH_BASE, (base >> WINDOW_SHIFT & WINDOW_MASK) | WINDOW_64);
	store_le16(bytes + PREFETCH_LIMIT, (last >> WINDOW_SHIFT & WINDOW_MASK) | WINDOW_64);
	store_le32(bytes + PREFETCH_BASE_HIGH, (uint32_t)(base >> 32));
	store_le32(bytes + PREFETCH_LIMIT_HIGH, (uint32_t)(last >> 32));
	/* None below 4 GiB: a guest may write one, through which nothing is forwarded. */
	store_le16(bytes + MEMORY_BASE, WINDOW_MASK);
	store_le16(config->writable + MEMORY_BASE, WINDOW_MASK);
	store_le16(config->writable + MEMORY_LIMIT, WINDOW_MASK);
}

static void add_msi(struct pci_port *port)
{
	uint8_t body[MSI_LEN - 2] = {0};
	struct pci_config *config = &port->config;

	store_le16(body, MSI_64);
	port->msi_cap = pci_config_add_capability(config, PCI_CAP_MSI, body, sizeof(body));
	config->writable[port->msi_cap + MSI_CONTROL] = MSI_ENABLE;
	store_le64(config->writable + port->msi_cap + MSI_ADDRESS, ~UINT64_C(3));
	store_le16(config->writable + port->msi_cap + MSI_DATA, UINT16_MAX);
}

static void add_express(struct pci_port *port, unsigned number)
{
	uint8_t body[EXPRESS_LEN - 2] = {0};
	struct pci_config *config = &port->config;
	uint8_t *writable;

	port->express_cap = pci_config_add_capability(config, PCI_CAP_EXPRESS, body, sizeof(body));
	store_le16(express(port, EXPRESS_CAPS), EXPRESS_V2 | EXPRESS_ROOT_PORT | EXPRESS_SLOT);
	store_le32(express(port, DEVICE_CAPS), DEVICE_ROLE_BASED);
	store_le32(express(port, LINK_CAPS),
		   LINK_X1_2_5 | LINK_REPORTS | number << LINK_PORT_SHIFT);
	store_le16(express(port, LINK_STATUS), LINK_X1_2_5);
	store_le32(express(port, SLOT_CAPS), SLOT_BUTTON | SLOT_POWER_CONTROLLER | SLOT_SURPRISE |
						     SLOT_HOT_PLUG | SLOT_NO_COMPLETED |
						     number << SLOT_NUMBER_SHIFT);
	store_le16(express(port, SLOT_CONTROL), CONTROL_INDICATORS_OFF | CONTROL_POWER_OFF);
	store_le32(express(port, LINK_CAPS_2), LINK_SPEEDS_2_5);
	store_le16(express(port, LINK_CONTROL_2), 1);
	writable = config->writable + port->express_cap;
	store_le16(writable + DEVICE_CONTROL, UINT16_MAX);
	store_le16(writable + SLOT_CONTROL, SLOT_CONTROL_WRITABLE);
	store_le16(writable + ROOT_CONTROL, UINT16_MAX);
}

void pci_port_init(struct pci_port *port, const struct pci_port_place *place)
{
	static const struct pci_identity identity = {
		.vendor = VENDOR, .device = DEVICE, .class = CLASS};
	uint8_t *bytes = port->config.bytes;

	*port = (struct pci_port){0};
	pci_config_init(&port->config, &identity);
	bytes[HEADER_TYPE] = HEADER_BRIDGE;
	bytes[SECONDARY_BUS] = (uint8_t)place->number;
	bytes[SUBORDINATE_BUS] = (uint8_t)place->number;
	set_window(&port->config, place->window, place->window_len);
	port->config.writable[BRIDGE_CONTROL] = BRIDGE_CONTROL_WRITABLE;
	add_msi(port);
	add_express(port, place->number);
}

/* --- Events --- */

bool pci_port_is_powered(const struct pci_port *port)
{
	return (express_u16(port, SLOT_CONTROL) & CONTROL_POWER_OFF) == 0;
}

static bool is_present(const struct pci_port *port)
{
	return (express_u16(port, SLOT_STATUS) & STATUS_PRESENT) != 0;
}

bool pci_port_is_linked(const struct pci_port *port)
{
	return (express_u16(port, LINK_STATUS) & LINK_ACTIVE) != 0;
}

void pci_port_message(const struct pci_port *port, uint64_t *address, uint32_t *data)
{
	const uint8_t *msi = port->config.bytes + port->msi_cap;

	*address = load_le64(msi + MSI_ADDRESS);
	*data = load_le16(msi + MSI_DATA);
}

static bool is_pending(const struct pci_port *port)
{
	uint16_t control = express_u16(port, SLOT_CONTROL);
	uint16_t status = express_u16(port, SLOT_STATUS);
	uint16_t wanted = 0;

	wanted |= (control & CONTROL_BUTTON) != 0 ? STATUS_BUTTON : 0;
	wanted |= (control & CONTROL_PRESENCE) != 0 ? STATUS_PRESENCE : 0;
	wanted |= (control & CONTROL_LINK) != 0 ? STATUS_LINK : 0;
	return (control & CONTROL_INTERRUPT) != 0 && (status & wanted) != 0 &&
	       (port->config.bytes[port->msi_cap + MSI_CONTROL] & MSI_ENABLE) != 0;
}

static void add_events(struct pci_port *port, uint16_t events)
{
	store_le16(express(port, SLOT_STATUS), express_u16(port, SLOT_STATUS) | events);
}

/* What follows from the registers as they are now: the link, and an interrupt. */
static unsigned settle(struct pci_port *port)
{
	bool is_up = is_present(port) && pci_port_is_powered(port);
	bool was_raised = port->is_raised;
	unsigned effects = 0;

	if (is_up != pci_port_is_linked(port)) {
		store_le16(express(port, LINK_STATUS), LINK_X1_2_5 | (is_up ? LINK_ACTIVE : 0));
		add_events(port, STATUS_LINK);
		effects |= PCI_PORT_POWER;
	}
	port->is_raised = is_pending(port);
	if (port->is_raised && !was_raised) {
		effects |= PCI_PORT_INTERRUPT;
	}
	return effects;
}

static void set_present(struct pci_port *port, bool is_there)
{
	uint16_t status = express_u16(port, SLOT_STATUS);

	status = is_there ? status | STATUS_PRESENT : status & ~STATUS_PRESENT;
	store_le16(express(port, SLOT_STATUS), status | STATUS_PRESENCE);
}

unsigned pci_port_insert(struct pci_port *port)
{
	set_present(port, true);
	return pci_port_press(port);
}

unsigned pci_port_remove(struct pci_port *port)
{
	if (!is_present(port)) {
		return 0;
	}
	set_present(port, false);
	return settle(port);
}

unsigned pci_port_press(struct pci_port *port)
{
	add_events(port, STATUS_BUTTON);
	return settle(port);
}

/* --- The guest --- */

void pci_port_read(const struct pci_port *port, uint64_t offset, uint8_t *data, uint32_t len)
{
	pci_config_read(&port->config, offset, data, len);
}

/* Clears the events of which ones are written. */
static void clear_events(struct pci_port *port, uint64_t offset, const uint8_t *data, uint32_t len)
{
	uint8_t events[2];

	store_le16(events, STATUS_EVENTS);
	for (unsigned i = 0; i < sizeof(events); i++) {
		uint64_t at = port->express_cap + SLOT_STATUS + i;

		if (at >= offset && at - offset < len) {
			*express(port, SLOT_STATUS + i) &=
				(uint8_t) ~(data[at - offset] & events[i]);
		}
	}
}

unsigned pci_port_write(struct pci_port *port, uint64_t offset, const uint8_t *data, uint32_t len)
{
	bool is_msi = offset < (uint64_t)port->msi_cap + MSI_LEN && offset + len > port->msi_cap;

	pci_config_write(&port->config, offset, data, len);
	clear_events(port, offset, data, len);
	return settle(port) | (is_msi ? PCI_PORT_ROUTE : 0);
}

/* --- Saving and loading --- */

void pci_port_state_codec(struct codec *codec, struct pci_port_state *state)
{
	codec_bytes(codec, "config", state->bytes, sizeof(state->bytes));
}

void pci_port_save(const struct pci_port *port, struct pci_port_state *state)
{
	memcpy(state->bytes, port->config.bytes, sizeof(state->bytes));
}

unsigned pci_port_load(struct pci_port *port, const struct pci_port_state *state)
{
	const uint8_t *status = state->bytes + port->express_cap + SLOT_STATUS;
	uint16_t present = express_u16(port, SLOT_STATUS) & STATUS_PRESENT;

	pci_config_write(&port->config, 0, state->bytes, sizeof(state->bytes));
	/* The link's own change is no news: only what was pending is. */
	(void)settle(port);
	store_le16(express(port, SLOT_STATUS), (load_le16(status) & STATUS_EVENTS) | present);
	port->is_raised = false;
	return settle(port) | PCI_PORT_ROUTE | PCI_PORT_POWER;
}

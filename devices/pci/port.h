/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hot-plug port: a PCIe root port whose slot tells the guest that a device has come, and asks for
 * it back [pcie-5.0 6.7, 7.5.3]. Pure: the owner locks, sends messages and moves the device.
 *
 * The slot has an attention button and a power controller, and completes each command at once. The
 * guest reaches the device while the slot has power. Bus number and window are the machine's choice
 * and never change, as base addresses do not (config.h); the port has a message (MSI) and no pin.
 */
#ifndef DEVICES_PCI_PORT_H
#define DEVICES_PCI_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/pci/config.h"
#include "vmm/base/attr.h"
#include "vmm/base/codec.h"
#include "vmm/base/error.h"

/* What the owner has to do after a call. */
enum pci_port_effect {
	PCI_PORT_ROUTE = 1,	/* the message may be another one: pci_port_message */
	PCI_PORT_INTERRUPT = 2, /* send it, after that */
	PCI_PORT_POWER = 4,	/* the slot has gained or lost power: pci_port_is_linked */
};

struct pci_port_place {
	unsigned number; /* of the slot, from 1 on, and of the bus behind it */
	uint64_t window; /* what it forwards: a multiple of 1 MiB */
	uint64_t window_len;
};

struct pci_port {
	struct pci_config config;
	uint8_t msi_cap, express_cap; /* where these capabilities are */
	bool is_raised;		      /* an event is pending, and its message was sent */
};

/* An empty slot without power, as after a reset. */
void pci_port_init(struct pci_port *port, const struct pci_port_place *place);

/* Accesses of a guest to the configuration space, of any width at any offset. */
void pci_port_read(const struct pci_port *port, uint64_t offset, uint8_t *data, uint32_t len);
unsigned pci_port_write(struct pci_port *port, uint64_t offset, const uint8_t *data, uint32_t len);

/* A device is put into the slot, which tells the guest; or taken out, whatever the guest does. One
 * that is out stays out. */
unsigned pci_port_insert(struct pci_port *port);
unsigned pci_port_remove(struct pci_port *port);

/* Asks the guest to give the device back: it turns the power off when it has. */
unsigned pci_port_press(struct pci_port *port);

bool pci_port_is_powered(const struct pci_port *port);
/* There is a device, and it has power: the guest reaches it. */
bool pci_port_is_linked(const struct pci_port *port);

/* Where the port's message goes. */
void pci_port_message(const struct pci_port *port, uint64_t *address, uint32_t *data);

/* --- Saving and loading --- */

struct pci_port_state {
	uint8_t bytes[PCI_CONFIG_LEN]; /* of which those count that a guest or an event can change
					*/
};

/* Fields of the open section. */
void pci_port_state_codec(struct codec *codec, struct pci_port_state *state);
void pci_port_save(const struct pci_port *port, struct pci_port_state *state);

/*
 * Into a port that was just made, with its device inserted if it has one; returns effects. Whatever
 * the state is, the port is as some guest could have made it. An event that is pending interrupts
 * once more: its message may have been lost on the way.
 */
unsigned pci_port_load(struct pci_port *port, const struct pci_port_state *state);

#endif

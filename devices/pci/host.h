/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI bus: the host bridge, 31 places for functions, one more behind each hot-plug port, which
 * is a function itself, the two ways to their configuration
 * spaces, memory (ECAM) and, on a PC, ports [pci-3.0 3.2.2.3; pcie-5.0 7.2.2], and the windows of
 * their base addresses.
 */
#ifndef DEVICES_PCI_HOST_H
#define DEVICES_PCI_HOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/pci/config.h"

enum {
	PCI_SLOTS = 32,	   /* of the bus; the host bridge is in slot 0 */
	PCI_PORTS_LEN = 8, /* from 0xcf8 on */

	PCI_PORTS_MAX = 16, /* for hot-plug, with a bus of one slot each: buses 1 to 16 */
	PCI_PLACES = PCI_SLOTS + PCI_PORTS_MAX, /* first bus 0, then what is behind port 0... */

	PCI_WINDOW_LEN = 0x80000,	/* of one function [compat] */
	PCI_PORT_WINDOW_LEN = 0x100000, /* of a port, which begins with that of its function */
	PCI_PORT_WINDOWS = 0x1000000,	/* where the ports' begin, behind those of bus 0 */
	PCI_WINDOWS_LEN = PCI_PORT_WINDOWS + PCI_PORTS_MAX * PCI_PORT_WINDOW_LEN,
};

/* A function: its configuration space, and the window of its base address 0. */
struct pci_function {
	const struct bus_ops *config; /* NULL: the slot is empty */
	const struct bus_ops *window; /* NULL: it has none */
	void *device;		      /* of both */
};

struct pci_host {
	/* immutable while vCPUs run */
	struct pci_config bridge;
	struct pci_function functions[PCI_PLACES];
	/* shared */
	_Atomic bool is_linked[PCI_PORTS_MAX]; /* what is behind it can be reached */
	_Atomic uint32_t address;	       /* what the guest wrote to port 0xcf8 */
};

/* An empty bus with its host bridge. */
void pci_host_init(struct pci_host *host);

/*
 * Puts a function into place 1 to PCI_PLACES - 1, and takes it out (NULL). VMM thread, while no
 * vCPU runs: afterwards none is inside a function that was taken out.
 */
void pci_host_set(struct pci_host *host, unsigned place, const struct pci_function *function);

/* Whether the place behind a port, counted from 0, is reached. Any thread. */
void pci_host_link(struct pci_host *host, unsigned port, bool is_up);

/* Where a place is for the guest: the first function of a slot. */
struct pci_address {
	unsigned bus, slot;
};
struct pci_address pci_host_address(unsigned place);

/* Where the window of a place from 1 on begins, among all windows. */
uint64_t pci_host_window(unsigned place);

/*
 * The ways to configuration spaces, whose `device` is the struct pci_host. Slots without a function
 * read as ones, all functions but the first of a slot do as well, and so do buses without a port.
 */
extern const struct bus_ops pci_ecam_bus_ops;
extern const struct bus_ops pci_ports_bus_ops;

/*
 * PCI_WINDOWS_LEN bytes, with the same `device`: the windows of all places from 1 on. Those without
 * a function read as ones.
 */
extern const struct bus_ops pci_windows_bus_ops;

#endif

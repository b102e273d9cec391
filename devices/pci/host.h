/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI bus: the host bridge, 31 places for functions, the two ways to their configuration
 * spaces, memory (ECAM) and, on a PC, ports [pci-3.0 3.2.2.3; pcie-5.0 7.2.2], and the windows of
 * their base addresses.
 */
#ifndef DEVICES_PCI_HOST_H
#define DEVICES_PCI_HOST_H

#include <stdatomic.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/pci/config.h"

enum {
	PCI_SLOTS = 32,	   /* of the bus; the host bridge is in slot 0 */
	PCI_PORTS_LEN = 8, /* from 0xcf8 on */

	PCI_WINDOW_LEN = 0x80000, /* of one function [compat] */
	PCI_WINDOWS_LEN = (PCI_SLOTS - 1) * PCI_WINDOW_LEN,
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
	struct pci_function functions[PCI_SLOTS];
	/* shared */
	_Atomic uint32_t address; /* what the guest wrote to port 0xcf8 */
};

/* An empty bus with its host bridge. */
void pci_host_init(struct pci_host *host);

/*
 * Puts a function into slot 1 to 31, and takes it out (NULL). VMM thread, while no vCPU runs:
 * afterwards none is inside a function that was taken out.
 */
void pci_host_set(struct pci_host *host, unsigned slot, const struct pci_function *function);

/*
 * The ways to configuration spaces, whose `device` is the struct pci_host. Slots without a function
 * read as ones, all functions but the first of a slot do as well, and so do other buses.
 */
extern const struct bus_ops pci_ecam_bus_ops;
extern const struct bus_ops pci_ports_bus_ops;

/*
 * PCI_WINDOWS_LEN bytes, with the same `device`: the windows of slots 1 to 31, PCI_WINDOW_LEN each.
 * Those without a function read as ones.
 */
extern const struct bus_ops pci_windows_bus_ops;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The hot-plug ports of a machine: each a function of bus 0 with a place for a device behind it. */
#ifndef VMM_MACHINE_PORTS_H
#define VMM_MACHINE_PORTS_H

#include <pthread.h>
#include <stdbool.h>

#include "devices/pci/host.h"
#include "devices/pci/port.h"
#include "devices/virtio/core/pci.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/machine/irq.h"

struct hotplug_port {
	bool is_made;
	/* immutable */
	unsigned number; /* from 0 on */
	struct pci_host *host;
	struct msi_group msi;
	int released; /* eventfd, readable once the guest has turned the power off */
	/* changed while no vCPU runs */
	struct virtio_pci *device; /* the function behind it; NULL: none */
	/* under the lock, which no device is waited for with */
	pthread_mutex_t lock;
	bool is_asked; /* for the device: power that goes off gives it back */
	struct pci_port regs;
};

/*
 * Makes port `number` (below PCI_PORTS_MAX), with nothing behind it, in its slot of the host: from
 * the highest one downwards, so that devices have theirs as on a bus without ports. `window` is
 * where all windows begin. VMM thread, before any vCPU runs.
 */
MUST_CHECK int hotplug_port_init(struct hotplug_port *port, unsigned number, struct pci_host *host,
				 struct msi_routes *routes, uint64_t window, struct error *err);
void hotplug_port_destroy(struct hotplug_port *port); /* a zeroed one is fine */

/* While no vCPU runs: the device that is in the place behind the port, or NULL. VMM thread. */
void hotplug_port_set(struct hotplug_port *port, struct virtio_pci *device);

/* Then, with or without vCPUs: tells the guest what became of the place. VMM thread. */
void hotplug_port_announce(struct hotplug_port *port, bool is_there);

/*
 * Asks the guest to give the device back: `released` is readable when it has, by turning the power
 * off, and then there is no way back. The guest may take as long as it likes, and need not answer.
 * False: it is not asked, as the slot has no power, and from now on never gets any. VMM thread.
 */
bool hotplug_port_ask_back(struct hotplug_port *port);

/* Whether the guest has given it back, or never had it; else it is not asked any more. Any thread.
 */
bool hotplug_port_take_back(struct hotplug_port *port);

/* Whether the guest uses the device: it has given the slot power. Any thread. */
bool hotplug_port_is_in_use(struct hotplug_port *port);

/* While no vCPU runs. Loading comes after the device is set. VMM thread. */
void hotplug_port_save(const struct hotplug_port *port, struct pci_port_state *state);
void hotplug_port_load(struct hotplug_port *port, const struct pci_port_state *state);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts into the guest. Each is an eventfd that KVM turns into an edge on a GSI, which is a
 * pin of the interrupt controller, or a message (MSI) by a table of routes.
 */
#ifndef VMM_MACHINE_IRQ_H
#define VMM_MACHINE_IRQ_H

#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/irq_line.h"
#include "vmm/base/msi_port.h"

/* --- Lines --- */

struct gsi_line {
	int eventfd; /* -1: none */
};

/* Binds a fresh line to `gsi` of the VM; needs the in-kernel irqchip. */
MUST_CHECK int gsi_line_init(struct gsi_line *line, int vm_fd, uint32_t gsi, struct error *err);
void gsi_line_destroy(struct gsi_line *line); /* only a line that was initialised, or -1 */

/* The line as devices see it; `line` must outlive it. */
struct irq_line gsi_irq_line(struct gsi_line *line);

/* --- Messages --- */

enum {
	MSI_GROUPS = 47, /* one for each place of a PCI function: PCI_PLACES but the bridge */
	MSI_GROUP_VECTORS = 33, /* of a group at most: its GSIs are its own, used or not */
};

/*
 * The table of routes of a VM: what the interrupt controller's pins are, and a message for each GSI
 * above them that has one. KVM is given the whole table with each change.
 */
struct msi_routes;

/* The vectors of one PCI function. */
struct msi_group {
	struct msi_routes *routes;
	uint32_t first; /* of MSI_GSIS */
	uint32_t device_id;
	unsigned count; /* 0: the group is not made */
	int eventfds[MSI_GROUP_VECTORS];
};

/* Without messages. VMM thread. */
MUST_CHECK int msi_routes_new(int vm_fd, struct msi_routes **routes, struct error *err);
void msi_routes_free(struct msi_routes *routes); /* NULL is fine */

/*
 * Makes `count` vectors of the function in `place` (1 to MSI_GROUPS, as of struct pci_host), bound
 * to GSIs that have no message yet. `routes` outlives the group. VMM thread.
 */
MUST_CHECK int msi_group_init(struct msi_group *group, struct msi_routes *routes, unsigned place,
			      unsigned count, struct error *err);
void msi_group_destroy(struct msi_group *group); /* a zeroed one is fine */

/*
 * Before msi_group_destroy, in a VM that goes on: KVM forgets the vectors. Their messages stay in
 * the table, where nobody sends them, until the next group of the slot has its own. VMM thread.
 */
void msi_group_unbind(const struct msi_group *group);

/*
 * The group as its device sees it; `group` must outlive it. Each change of a message is one
 * ioctl, whatever the guest writes, and a message that stays the same is none.
 */
struct msi_port msi_group_port(struct msi_group *group);

#endif

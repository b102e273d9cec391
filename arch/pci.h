/* SPDX-License-Identifier: Apache-2.0 */
/* What an architecture says of a PCI bus: where it is, and how its interrupts get to the vCPUs. */
#ifndef ARCH_PCI_H
#define ARCH_PCI_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ARCH_IRQCHIP_ROUTES_MAX = 128
};

/* Where the PCI bus is, in a machine that has one. Guest ABI. */
struct arch_pci {
	uint64_t ecam;	   /* configuration spaces by memory, from bus 0 on */
	uint64_t ecam_len; /* of one bus */
	uint64_t ports;	   /* the same by ports; 0: not on this architecture */
	uint64_t window;   /* for the base addresses of functions */
	uint64_t window_len;
	uint32_t msi_gsi; /* the first GSI that is no pin: messages are from here on */
};

extern const struct arch_pci arch_pci;

/*
 * The routes from GSIs to pins of the interrupt controller, as KVM has them in a new VM; returns
 * how many there are.
 */
size_t arch_irqchip_routes(struct kvm_irq_routing_entry out[ARCH_IRQCHIP_ROUTES_MAX]);

struct arch_vm;

/*
 * A frame of registers that turns messages into shared interrupts, for a controller that takes no
 * messages (GICv2m) [gic-v2m 5].
 */
struct arch_msi_frame {
	uint64_t base;
	uint64_t len;
	uint32_t first; /* interrupt, as the controller counts them */
	uint32_t count;
};

/* The frame of a finished VM with a PCI bus; false: it has none, KVM takes messages. */
bool arch_msi_frame(const struct arch_vm *vm, struct arch_msi_frame *frame);

/*
 * *route, that of a message, becomes one to the pin that the frame makes of it. Others stay: KVM
 * delivers them, or nobody does. For VMs whose messages need no device id.
 */
void arch_route_message(struct kvm_irq_routing_entry *route);

#endif

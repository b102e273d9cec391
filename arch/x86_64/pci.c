/* SPDX-License-Identifier: Apache-2.0 */
/* Where the PCI bus is, and which pins the interrupt controller has beside its messages. */
#include "arch/pci.h"

#include "layout.h"

const struct arch_pci arch_pci = {
	.ecam = LAYOUT_PCI_MMCONFIG,
	.ecam_len = LAYOUT_PCI_ECAM_LEN,
	.ports = LAYOUT_PCI_PORTS,
	.window = LAYOUT_MMIO64,
	.window_len = LAYOUT_MMIO64_END - LAYOUT_MMIO64,
	.msi_gsi = GSI_MSI_FIRST,
};

static struct kvm_irq_routing_entry pin(uint32_t gsi, uint32_t chip, uint32_t number)
{
	struct kvm_irq_routing_entry entry = {.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP};

	entry.u.irqchip.irqchip = chip;
	entry.u.irqchip.pin = number;
	return entry;
}

/* All pins of the IOAPIC, and of the first 16 GSIs those of the two PICs, 8 each. */
size_t arch_irqchip_routes(struct kvm_irq_routing_entry out[ARCH_IRQCHIP_ROUTES_MAX])
{
	enum {
		PIC_PINS = 8
	};
	size_t count = 0;

	for (uint32_t gsi = 0; gsi < GSI_MSI_FIRST; gsi++) {
		out[count++] = pin(gsi, KVM_IRQCHIP_IOAPIC, gsi);
		if (gsi < 2 * PIC_PINS) {
			out[count++] =
				pin(gsi,
				    gsi < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
				    gsi % PIC_PINS);
		}
	}
	return count;
}

/* KVM's local APICs take messages. */
bool arch_msi_frame(const struct arch_vm *vm, struct arch_msi_frame *frame)
{
	(void)vm;
	(void)frame;
	return false;
}

void arch_route_message(struct kvm_irq_routing_entry *route)
{
	(void)route;
}

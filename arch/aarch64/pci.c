/* SPDX-License-Identifier: Apache-2.0 */
/* Where the PCI bus is, and which pins the interrupt controller has beside its messages. */
#include "arch/pci.h"

#include "arch/aarch64/layout.h"

const struct arch_pci arch_pci = {
	.ecam = LAYOUT_PCI_ECAM,
	.ecam_len = LAYOUT_PCI_ECAM_LEN,
	.window = LAYOUT_RAM_LOW_END,
	.window_len = LAYOUT_RAM_HIGH - LAYOUT_RAM_LOW_END,
	.msi_gsi = LAYOUT_GSIS,
};

/* Each shared interrupt. */
size_t arch_irqchip_routes(struct kvm_irq_routing_entry out[ARCH_IRQCHIP_ROUTES_MAX])
{
	for (uint32_t gsi = 0; gsi < LAYOUT_GSIS; gsi++) {
		out[gsi] = (struct kvm_irq_routing_entry){
			.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip.pin = gsi};
	}
	return LAYOUT_GSIS;
}

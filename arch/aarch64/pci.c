/* SPDX-License-Identifier: Apache-2.0 */
/* Where the PCI bus is, and which pins the interrupt controller has beside its messages. */
#include "arch/pci.h"

#include "arch/aarch64/layout.h"

enum {
	V2M_SET_SPI = 0x40, /* where messages go, within the frame [gic-v2m 5.2] */
};

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

/* The interrupts that virtio-mmio devices have on a machine without a bus. */
bool arch_msi_frame(const struct arch_vm *vm, struct arch_msi_frame *frame)
{
	*frame = (struct arch_msi_frame){
		.base = LAYOUT_V2M,
		.len = LAYOUT_V2M_LEN,
		.first = LAYOUT_INTID_SPI,
		.count = LAYOUT_GSI_VIRTIO_COUNT,
	};
	return vm->gic.has_v2m;
}

/* An ITS has other addresses, and wants device ids. */
void arch_route_message(struct kvm_irq_routing_entry *route)
{
	uint32_t pin = route->u.msi.data - LAYOUT_INTID_SPI;
	bool is_to_frame =
		route->u.msi.address_hi == 0 && route->u.msi.address_lo == LAYOUT_V2M + V2M_SET_SPI;

	if (is_to_frame && pin < LAYOUT_GSI_VIRTIO_COUNT) {
		*route = (struct kvm_irq_routing_entry){
			.gsi = route->gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip.pin = pin};
	}
}

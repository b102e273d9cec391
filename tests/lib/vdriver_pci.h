/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver of vdriver.h on the PCI transport: behind vdriver_plug_pci all of vdriver.h reaches
 * the device by its window, with MSI-X: vector 0 for the configuration, and one for each queue.
 */
#ifndef TESTS_LIB_VDRIVER_PCI_H
#define TESTS_LIB_VDRIVER_PCI_H

#include <stdint.h>

#include "devices/virtio/core/pci.h"
#include "tests/lib/vdriver.h"

/* Makes *pci the device's transport. It stays where it is until vdriver_unplug_pci. */
void vdriver_plug_pci(struct vdriver *driver, struct virtio_dev *dev, struct virtio_pci *pci);

/* What a machine's firmware and a driver do before all else; a loss of power has undone it. */
void vdriver_enable_pci(struct virtio_pci *pci);

/* After the device was freed, or before. Also of a driver that has none. */
void vdriver_unplug_pci(struct vdriver *driver);

/* What vdriver.c does to a register of virtio-mmio, by its offset there. */
uint32_t vdriver_pci_read(struct virtio_pci *pci, uint64_t reg);
void vdriver_pci_write(struct virtio_pci *pci, uint64_t reg, uint32_t value);

enum {
	VDRIVER_PCI_CONFIG = 0x4000, /* in the window: the device's configuration */
};

#endif

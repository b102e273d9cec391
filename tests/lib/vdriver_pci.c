/* SPDX-License-Identifier: Apache-2.0 */
/* The driver of vdriver.h on the PCI transport. */
#include "tests/lib/vdriver_pci.h"

#include <stdatomic.h>
#include <stddef.h>

#include "devices/pci/msix.h"
#include "devices/virtio/core/virtio_internal.h"
#include "vmm/base/bytes.h"

enum {
	MMIO_STATUS = 0x70,
	MMIO_QUEUE_READY = 0x44,
	MMIO_INTERRUPT_STATUS = 0x60,
	MMIO_INTERRUPT_ACK = 0x64,

	COMMAND = 0x04,
	COMMAND_MEMORY_AND_MASTER = 6,
	CONFIG_VECTOR = 0x10,
	QUEUE_SELECT = 0x16,
	QUEUE_VECTOR = 0x1a,
	ISR = 0x2000,
	TABLE = 0x8000,
	ENTRY_LEN = 16,
	CAP_CONTROL = 2, /* in the capability of MSI-X */
};

#define MESSAGE_ADDRESS UINT64_C(0xfee00000)

/* Where virtio-pci has the registers of virtio-mmio [virtio-1.2 §4.1.4.3, §4.2.2]. */
static const struct {
	uint16_t mmio, pci;
	uint8_t len;
} registers[] = {
	{0x10, 0x04, 4}, {0x14, 0x00, 4}, {0x20, 0x0c, 4}, {0x24, 0x08, 4},
	{0x30, 0x16, 2}, {0x34, 0x18, 2}, {0x38, 0x18, 2}, {0x44, 0x1c, 2},
	{0x70, 0x14, 1}, {0x80, 0x20, 4}, {0x84, 0x24, 4}, {0x90, 0x28, 4},
	{0x94, 0x2c, 4}, {0xa0, 0x30, 4}, {0xa4, 0x34, 4}, {0xfc, 0x15, 1},
};

static void write_window(struct virtio_pci *pci, uint64_t offset, uint32_t value, uint32_t len)
{
	uint8_t data[4];

	store_le32(data, value);
	virtio_pci_bar_ops.write(pci, offset, data, len);
}

static uint32_t read_window(struct virtio_pci *pci, uint64_t offset, uint32_t len)
{
	uint8_t data[4] = {0};

	virtio_pci_bar_ops.read(pci, offset, data, len);
	return load_le32(data);
}

uint32_t vdriver_pci_read(struct virtio_pci *pci, uint64_t reg)
{
	if (reg == MMIO_INTERRUPT_STATUS) {
		return read_window(pci, ISR, 1);
	}
	for (size_t i = 0; i < ARRAY_COUNT(registers); i++) {
		if (registers[i].mmio == reg) {
			return read_window(pci, registers[i].pci, registers[i].len);
		}
	}
	return 0;
}

void vdriver_pci_write(struct virtio_pci *pci, uint64_t reg, uint32_t value)
{
	if (reg == VIRTIO_MMIO_QUEUE_NOTIFY) {
		write_window(pci, VIRTIO_PCI_NOTIFY + value * VIRTIO_PCI_NOTIFY_STEP, value, 2);
		return;
	}
	/* A reset has taken the vectors away. */
	if (reg == MMIO_STATUS && value == VIRTIO_STATUS_ACKNOWLEDGE) {
		write_window(pci, CONFIG_VECTOR, 0, 2);
	} else if (reg == MMIO_QUEUE_READY) {
		write_window(pci, QUEUE_VECTOR, read_window(pci, QUEUE_SELECT, 2) + 1, 2);
	}
	for (size_t i = 0; i < ARRAY_COUNT(registers); i++) {
		if (registers[i].mmio == reg) {
			write_window(pci, registers[i].pci, value, registers[i].len);
		}
	}
}

static void ignore_route(void *arg, unsigned vector, uint64_t address, uint32_t data)
{
	(void)arg;
	(void)vector;
	(void)address;
	(void)data;
}

static void count_message(void *arg, unsigned vector)
{
	struct vdriver *driver = arg;

	(void)vector;
	atomic_fetch_add(&driver->interrupts, 1);
}

static void write_space(struct virtio_pci *pci, uint64_t offset, uint16_t value)
{
	uint8_t data[2];

	store_le16(data, value);
	virtio_pci_config_ops.write(pci, offset, data, sizeof(data));
}

void vdriver_enable_pci(struct virtio_pci *pci)
{
	write_space(pci, COMMAND, COMMAND_MEMORY_AND_MASTER);
	for (uint32_t i = 0; i < virtio_pci_vectors(pci->dev); i++) {
		uint64_t entry = TABLE + (uint64_t)i * ENTRY_LEN;

		write_window(pci, entry, (uint32_t)MESSAGE_ADDRESS, 4);
		write_window(pci, entry + 4, 0, 4);
		write_window(pci, entry + 8, i, 4);
		write_window(pci, entry + 12, 0, 4);
	}
	write_space(pci, pci->msix_cap + CAP_CONTROL, MSIX_CONTROL_ENABLE);
}

void vdriver_plug_pci(struct vdriver *driver, struct virtio_dev *dev, struct virtio_pci *pci)
{
	const struct virtio_pci_place place = {.base = UINT64_C(0x4000000000)};
	const struct msi_port port = {ignore_route, count_message, driver};

	virtio_pci_init(pci, dev, &place, &port);
	driver->pci = pci;
	driver->dev = dev;
	vdriver_enable_pci(pci);
}

void vdriver_unplug_pci(struct vdriver *driver)
{
	if (driver->pci != NULL) {
		virtio_pci_destroy(driver->pci);
		driver->pci = NULL;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration space of one PCI function.
 *
 * Theory of operation. It is an array of bytes with a mask of the bits that a guest can write. Base
 * addresses are apart: a guest finds out the size of a window by writing ones and reading which of
 * them stay [pci-3.0 6.2.5.1], so such a write is remembered, and until the next one the register
 * reads as the mask of its address bits.
 */
#include "devices/pci/config.h"

#include <assert.h>
#include <string.h>

#include "vmm/base/bytes.h"

enum {
	BAR_LEN = 4,
	BAR_64 = 0x4, /* the low bits of a base address: memory anywhere in 64 bits */
	BAR_PREFETCHABLE = 0x8,
	BAR_FLAGS = 0xf,

	STATUS_CAPABILITIES = 0x10,
	/* Memory, bus master, parity errors, system errors, no INTx. There is no I/O space. */
	COMMAND_WRITABLE = 0x0546,
};

void pci_config_init(struct pci_config *config, const struct pci_identity *identity)
{
	uint8_t *bytes = config->bytes;

	*config = (struct pci_config){.end = PCI_FIRST_CAPABILITY};
	store_le16(bytes + PCI_VENDOR, identity->vendor);
	store_le16(bytes + PCI_DEVICE, identity->device);
	/* The byte above the revision is the class's lowest. */
	store_le32(bytes + PCI_REVISION, identity->class << 8 | identity->revision);
	store_le16(bytes + PCI_SUBSYSTEM_VENDOR, identity->subsystem_vendor);
	store_le16(bytes + PCI_SUBSYSTEM, identity->subsystem);
	store_le16(config->writable + PCI_COMMAND, COMMAND_WRITABLE);
	pci_config_allow(config, PCI_CACHE_LINE, 1);
	pci_config_allow(config, PCI_INTERRUPT_LINE, 1);
}

void pci_config_add_bar64(struct pci_config *config, unsigned index, uint64_t addr, uint64_t len,
			  bool is_prefetchable)
{
	uint32_t flags = BAR_64 | (is_prefetchable ? BAR_PREFETCHABLE : 0);
	uint64_t mask = ~(len - 1);
	uint8_t *bar = config->bytes + PCI_BAR + (size_t)index * BAR_LEN;

	assert(index + 1 < PCI_BARS && is_aligned(addr, len) && len > BAR_FLAGS);
	store_le64(bar, addr | flags);
	config->bar_mask[index] = (uint32_t)mask | flags;
	config->bar_mask[index + 1] = (uint32_t)(mask >> 32);
}

uint8_t pci_config_add_capability(struct pci_config *config, uint8_t id, const void *body,
				  uint8_t len)
{
	uint8_t at = config->end;
	size_t end = align_up((size_t)at + 2 + len, 4);

	assert(end < PCI_CONFIG_LEN);
	config->bytes[at] = id;
	memcpy(config->bytes + at + 2, body, len);
	config->bytes[config->last == 0 ? PCI_CAPABILITIES : config->last + 1] = at;
	config->bytes[PCI_STATUS] |= STATUS_CAPABILITIES;
	config->last = at;
	config->end = (uint8_t)end;
	return at;
}

void pci_config_allow(struct pci_config *config, uint8_t offset, uint8_t len)
{
	assert(offset + len <= PCI_CONFIG_LEN);
	memset(config->writable + offset, 0xff, len);
}

/* The base address that a byte belongs to; PCI_BARS: none. */
static unsigned bar_of(uint64_t offset)
{
	if (offset < PCI_BAR || offset >= PCI_BAR + PCI_BARS * BAR_LEN) {
		return PCI_BARS;
	}
	return (unsigned)(offset - PCI_BAR) / BAR_LEN;
}

static uint8_t read_byte(const struct pci_config *config, uint64_t offset)
{
	unsigned bar = bar_of(offset);

	if (offset >= PCI_CONFIG_LEN) {
		return 0;
	}
	if (bar < PCI_BARS && (config->probed >> bar & 1) != 0) {
		return (uint8_t)(config->bar_mask[bar] >> 8 * (offset % BAR_LEN));
	}
	return config->bytes[offset];
}

void pci_config_read(const struct pci_config *config, uint64_t offset, uint8_t *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		data[i] = read_byte(config, offset + i);
	}
}

/* A write of ones asks for the size, whatever is in the low bits, which are no address. */
static void probe(struct pci_config *config, unsigned bar, uint32_t value)
{
	bool is_probe = config->bar_mask[bar] != 0 && (value | BAR_FLAGS) == UINT32_MAX;
	uint8_t bit = (uint8_t)(1u << bar);

	config->probed = (uint8_t)(is_probe ? config->probed | bit : config->probed & ~bit);
}

void pci_config_write(struct pci_config *config, uint64_t offset, const uint8_t *data, uint32_t len)
{
	for (uint32_t i = 0; i < len && offset + i < PCI_CONFIG_LEN; i++) {
		uint8_t mask = config->writable[offset + i];
		uint8_t *byte = &config->bytes[offset + i];

		*byte = (uint8_t)((*byte & ~mask) | (data[i] & mask));
	}
	/* Whole registers alone; two of them in a write of 8 bytes. */
	for (uint32_t i = 0; i + BAR_LEN <= len; i += BAR_LEN) {
		unsigned bar = bar_of(offset + i);

		if (bar < PCI_BARS && is_aligned(offset, BAR_LEN)) {
			probe(config, bar, load_le32(data + i));
		}
	}
}

void pci_config_reset(struct pci_config *config)
{
	for (unsigned i = 0; i < PCI_CONFIG_LEN; i++) {
		config->bytes[i] &= (uint8_t)~config->writable[i];
	}
	config->probed = 0;
}

void pci_config_load_probed(struct pci_config *config, uint8_t probed)
{
	config->probed = 0;
	for (unsigned i = 0; i < PCI_BARS; i++) {
		if ((probed >> i & 1) != 0) {
			probe(config, i, UINT32_MAX);
		}
	}
}

uint16_t pci_config_u16(const struct pci_config *config, unsigned offset)
{
	return load_le16(config->bytes + offset);
}

uint32_t pci_config_u32(const struct pci_config *config, unsigned offset)
{
	return load_le32(config->bytes + offset);
}

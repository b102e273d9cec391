/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration space of one PCI function: registers, base addresses, list of capabilities
 * [pci-3.0 6]. Pure: the owner locks.
 *
 * Base addresses are the machine's choice and never change: a guest can learn how large a window
 * is, but what else it writes is ignored, and it reads the old address back. Guests are told to
 * leave them alone, by _DSM or linux,pci-probe-only [compat].
 */
#ifndef DEVICES_PCI_CONFIG_H
#define DEVICES_PCI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PCI_CONFIG_LEN = 256,	     /* bytes; the rest of a function's 4 KiB reads as 0 */
	PCI_CONFIG_SPACE_LEN = 4096, /* of a function in ECAM */
	PCI_BARS = 6,

	/* Registers. */
	PCI_VENDOR = 0x00,
	PCI_DEVICE = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08,
	PCI_CLASS = 0x09, /* 3 bytes */
	PCI_CACHE_LINE = 0x0c,
	PCI_BAR = 0x10,
	PCI_SUBSYSTEM_VENDOR = 0x2c,
	PCI_SUBSYSTEM = 0x2e,
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_FIRST_CAPABILITY = 0x40,

	/* Bits of the command register. */
	PCI_COMMAND_MEMORY = 0x2, /* the function answers at its base addresses */

	/* Ids of capabilities. */
	PCI_CAP_MSI = 0x05,
	PCI_CAP_VENDOR = 0x09,
	PCI_CAP_EXPRESS = 0x10,
	PCI_CAP_MSIX = 0x11,
};

/* What a function says that it is. */
struct pci_identity {
	uint16_t vendor;
	uint16_t device;
	uint8_t revision;
	uint32_t class;		   /* class, subclass, interface: 24 bits */
	uint16_t subsystem_vendor; /* 0: it has none */
	uint16_t subsystem;
};

struct pci_config {
	uint8_t bytes[PCI_CONFIG_LEN];
	uint8_t writable[PCI_CONFIG_LEN]; /* the bits that a guest can change */
	uint32_t bar_mask[PCI_BARS];	  /* the address bits of a base address; 0: there is none */
	uint8_t probed;			  /* base addresses, as bits, that read as their mask now */
	uint8_t last;			  /* the capability at the list's end; 0: there is none */
	uint8_t end;			  /* of all capabilities */
};

/* A function without base addresses and capabilities. */
void pci_config_init(struct pci_config *config, const struct pci_identity *identity);

/*
 * Base addresses `index` and the next one become a 64-bit window of `len` bytes (a power of two
 * from 16 on) at `addr`, a multiple of it. Bridges have windows for prefetchable ones alone.
 */
void pci_config_add_bar64(struct pci_config *config, unsigned index, uint64_t addr, uint64_t len,
			  bool is_prefetchable);

/*
 * Appends a capability: the `len` bytes behind its id and its link, to the end of a 32-bit word.
 * Returns where it begins. What a guest may write of it is set with pci_config_allow.
 */
uint8_t pci_config_add_capability(struct pci_config *config, uint8_t id, const void *body,
				  uint8_t len);

/* A guest may write `len` bytes from `offset` on. */
void pci_config_allow(struct pci_config *config, uint8_t offset, uint8_t len);

/*
 * Accesses of a guest, of any width at any offset. What lies beyond reads as 0 and is not written,
 * and so is what no guest may write.
 */
void pci_config_read(const struct pci_config *config, uint64_t offset, uint8_t *data, uint32_t len);
void pci_config_write(struct pci_config *config, uint64_t offset, const uint8_t *data,
		      uint32_t len);

/* What a guest has written is gone. */
void pci_config_reset(struct pci_config *config);

/* Which base addresses read as their mask: those of `probed` that there are. */
void pci_config_load_probed(struct pci_config *config, uint8_t probed);

/* The value of a register, as the function's owner sees it. */
uint16_t pci_config_u16(const struct pci_config *config, unsigned offset);
uint32_t pci_config_u32(const struct pci_config *config, unsigned offset);

#endif

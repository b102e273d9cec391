/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X of one function: the table of messages that its interrupts are, and the bits of those that
 * wait because they are masked [pci-3.0 6.8.2].
 */
#ifndef DEVICES_PCI_MSIX_H
#define DEVICES_PCI_MSIX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/codec.h"
#include "vmm/base/msi_port.h"

enum {
	MSIX_VECTORS_MAX = 33, /* each queue of a virtio device, and its configuration */
	MSIX_ENTRY_LEN = 16,

	/* Bits of the capability's message control. */
	MSIX_CONTROL_ENABLE = 0x8000,
	MSIX_CONTROL_MASK = 0x4000, /* all vectors at once */
};

/* As in the table. */
struct msix_entry {
	uint64_t address;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
};

struct msix {
	/* immutable */
	unsigned count;
	struct msi_port port;
	/* under the owner's lock */
	uint16_t control; /* the two bits above */
	struct msix_entry entries[MSIX_VECTORS_MAX];
	/* shared: a bit per vector */
	_Atomic bool is_enabled;
	_Atomic uint64_t open;	  /* its message can go out: enabled and not masked */
	_Atomic uint64_t pending; /* has to go out once it may */
};

/* `count` vectors, all masked, and MSI-X off. */
void msix_init(struct msix *msix, unsigned count, const struct msi_port *port);

/*
 * Sends the message of a vector, or remembers that it is to be sent. Nothing happens while MSI-X is
 * off. Any thread, takes no lock, never blocks.
 */
void msix_raise(struct msix *msix, unsigned vector);

/*
 * The guest writes the message control (its two bits that can be written), or accesses the table at
 * `offset`. Table and bits are accessed by 4 or 8 aligned bytes [pci-3.0 6.8.2]: all else reads as
 * 0 and has no effect. Under the owner's lock; may wait for KVM.
 */
void msix_write_control(struct msix *msix, uint16_t control);
void msix_read_table(const struct msix *msix, uint64_t offset, uint8_t *data, uint32_t len);
void msix_write_table(struct msix *msix, uint64_t offset, const uint8_t *data, uint32_t len);
void msix_read_pending(const struct msix *msix, uint64_t offset, uint8_t *data, uint32_t len);

/* Off, with all vectors masked, as msix_init has made it. Under the owner's lock. */
void msix_reset(struct msix *msix);

/* --- Saving and loading --- */

struct msix_state {
	uint32_t count;
	uint16_t control;
	struct msix_entry entries[MSIX_VECTORS_MAX];
	uint64_t pending;
};

/* Fields of the open section. */
void msix_state_codec(struct codec *codec, struct msix_state *state);

/* Under the owner's lock, with nothing raising. */
void msix_save(const struct msix *msix, struct msix_state *state);

/*
 * Into what msix_init has made. Each vector whose message can go out sends one: whatever was on its
 * way when the machine was saved arrives, and drivers bear one too many. ERR_CORRUPT: another
 * number of vectors, or bits that none has.
 */
MUST_CHECK int msix_load(struct msix *msix, const struct msix_state *state, struct error *err);

#endif

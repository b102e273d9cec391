/* SPDX-License-Identifier: Apache-2.0 */
/* What KVM does of the virtio-mmio registers, so that a driver's access needs no exit to us. */
#ifndef VMM_MACHINE_REGISTERS_H
#define VMM_MACHINE_REGISTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct registers {
	bool is_made;
	/* immutable once vCPUs run */
	int vm_fd;	/* borrowed */
	int acks;	/* eventfd that nobody reads */
	uint64_t base;	/* guest address of the first window */
	uint64_t len;	/* bytes of all windows */
	uint8_t *pages; /* what the guest reads there; NULL: each read is an exit */
};

/*
 * Before anything joins an I/O bus, as it may set a memory slot, number `slot`. Where the host
 * can't show registers as memory, they are read by exits. VMM thread.
 */
MUST_CHECK int registers_init(struct registers *registers, int vm_fd, unsigned slot,
			      struct error *err);

/* The page that a guest reads for the window at `base`, for virtio_mmio_show; NULL: none. */
uint8_t *registers_page(const struct registers *registers, uint64_t base);

/*
 * KVM takes what the driver of the device at `base` writes to acknowledge used buffers alone. VMM
 * thread.
 */
MUST_CHECK int registers_take_acks(const struct registers *registers, uint64_t base,
				   struct error *err);

/* No child of fork(2) has the pages. */
MUST_CHECK int registers_hide_from_forks(const struct registers *registers, struct error *err);

/* After the devices and the VM. A zeroed one is fine. VMM thread. */
void registers_destroy(struct registers *registers);

#endif

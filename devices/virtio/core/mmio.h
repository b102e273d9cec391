/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio-mmio transport: the registers through which a driver finds and starts a device. */
#ifndef DEVICES_VIRTIO_MMIO_H
#define DEVICES_VIRTIO_MMIO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/virtio/core/virtio.h"
#include "vmm/base/attr.h"
#include "vmm/base/codec.h"
#include "vmm/base/error.h"
#include "vmm/base/irq_line.h"

enum {
	VIRTIO_MMIO_LEN = 0x1000,	 /* bytes of one window */
	VIRTIO_MMIO_QUEUE_NOTIFY = 0x50, /* where KVM's ioeventfds listen, 4 bytes wide */
	VIRTIO_MMIO_INTERRUPT_ACK = 0x64,
	VIRTIO_MMIO_ACK_USED = 1, /* what a driver writes there for used buffers */
};

/* The transport of one device. */
struct virtio_mmio {
	/* immutable */
	struct virtio_dev *dev;
	struct irq_line irq;
	/* under the device's lock */
	uint32_t device_features_select, driver_features_select, queue_select;
	/* immutable once a driver can reach it */
	uint8_t *page;			    /* where the guest reads the registers; NULL: nowhere */
	_Atomic uint32_t *interrupt_status; /* [virtio-1.2 §4.2.2], in `page` if there is one */
	/* shared */
	_Atomic uint32_t own_status; /* without a page */
	_Atomic bool is_shared;	     /* another process fires the line */
};

/* Becomes the transport of *dev, before a driver can reach it. Both stay where they are. */
void virtio_mmio_init(struct virtio_mmio *mmio, struct virtio_dev *dev, const struct irq_line *irq);

/*
 * From now on the registers are also in `page`, VIRTIO_MMIO_LEN bytes of zeroes, which a guest
 * reads in place of the window and can't write to. Before a driver can reach it; the page outlives
 * *mmio.
 */
void virtio_mmio_show(struct virtio_mmio *mmio, uint8_t *page);

/*
 * Read and write of one device's window, modern layout (version 2) [virtio-1.2 §4.2]. The `device`
 * of the bus is its struct virtio_mmio. Any access in any state is harmless: what the rules forbid
 * is ignored, or leads to FAILED or DEVICE_NEEDS_RESET.
 */
extern const struct bus_ops virtio_mmio_bus_ops;

/* The transport's own registers; the device's are in struct virtio_state. */
struct virtio_mmio_state {
	uint32_t device_features_select;
	uint32_t driver_features_select;
	uint32_t queue_select;
	uint32_t interrupt_status;
};

void virtio_mmio_state_codec(struct codec *codec, struct virtio_mmio_state *state);

/* While no vCPU runs and the device is quiet. Changes nothing. VMM thread. */
void virtio_mmio_save(struct virtio_mmio *mmio, struct virtio_mmio_state *state);

/*
 * Into the transport of a device that was just made, before or after virtio_load, with the
 * interrupt controller loaded already. If the driver has something to acknowledge, the line fires:
 * should the interrupt have been delivered before the save, the driver finds nothing new, and
 * should it have been lost on the way, this one takes its place. ERR_CORRUPT: unknown bits of the
 * interrupt status. VMM thread.
 */
MUST_CHECK int virtio_mmio_load(struct virtio_mmio *mmio, const struct virtio_mmio_state *state,
				struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio-mmio transport: the registers through which a driver finds and starts a device. */
#ifndef DEVICES_VIRTIO_MMIO_H
#define DEVICES_VIRTIO_MMIO_H

#include "devices/device.h"

enum {
	VIRTIO_MMIO_LEN = 0x1000,	 /* bytes of one window */
	VIRTIO_MMIO_QUEUE_NOTIFY = 0x50, /* where KVM's ioeventfds listen, 4 bytes wide */
};

/*
 * Read and write of one device's window, modern layout (version 2) [virtio-1.2 §4.2]. The `device`
 * of the bus is its struct virtio_dev. Any access in any state is harmless: what the rules forbid
 * is ignored, or leads to FAILED or DEVICE_NEEDS_RESET.
 */
extern const struct bus_ops virtio_mmio_bus_ops;

#endif

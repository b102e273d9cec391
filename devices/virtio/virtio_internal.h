/* SPDX-License-Identifier: Apache-2.0 */
/* Between virtio.c and the transports. */
#ifndef DEVICES_VIRTIO_VIRTIO_INTERNAL_H
#define DEVICES_VIRTIO_VIRTIO_INTERNAL_H

#include <stdint.h>

#include "devices/virtio/virtio.h"

/* Bits of the device status [virtio-1.2 §2.1]. */
enum {
	VIRTIO_STATUS_ACKNOWLEDGE = 1,
	VIRTIO_STATUS_DRIVER = 2,
	VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8,
	VIRTIO_STATUS_NEEDS_RESET = 64,
	VIRTIO_STATUS_FAILED = 128,
};

/* Bits of the interrupt status [virtio-1.2 §4.2.2]. */
enum {
	VIRTIO_INT_USED = 1,
	VIRTIO_INT_CONFIG = 2,
};

/* Features of the queues and the interface as such [virtio-1.2 §6]. */
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1 (UINT64_C(1) << 32)
#define VIRTIO_FEATURES_ALWAYS (VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1)

/* Has queue_ready called on the VMM thread. Any thread, with or without the lock. */
void virtio_kick(struct virtio_dev *dev, unsigned index);

/* --- Under the lock --- */

/* The driver has said DRIVER_OK: starts its queues and the device, or asks for a reset. */
void virtio_activate(struct virtio_dev *dev);

/* Back to where virtio_init left it. */
void virtio_reset(struct virtio_dev *dev);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* For devices whose queues another process serves. */
#ifndef DEVICES_VIRTIO_REMOTE_H
#define DEVICES_VIRTIO_REMOTE_H

#include "devices/virtio/core/virtio.h"

/* Interrupts the guest, for what the other process has done. Under the lock. */
void virtio_interrupt(struct virtio_dev *dev, enum virtio_cause cause, unsigned queue);

/*
 * The device can't go on: its queues are stopped, and the driver is told that it has to reset it
 * [virtio-1.2 §2.1.2]. Under the lock.
 */
void virtio_need_reset(struct virtio_dev *dev);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that is to go, before it is taken out of its machine: it takes nothing more from its
 * queues, and somebody else than the VMM thread waits for what is in flight, which is answered.
 */
#ifndef DEVICES_VIRTIO_VIRTIO_LEAVE_H
#define DEVICES_VIRTIO_VIRTIO_LEAVE_H

#include <stdbool.h>

#include "devices/virtio/core/virtio.h"

/*
 * From now on the eventfd `idle`, which stays open meanwhile, is readable when nothing of the
 * device is in flight. True: nothing is, and nobody has to wait. Drivers may reset the device and
 * start it again, but have nothing done; so may pauses of the machine. VMM thread.
 */
bool virtio_leave(struct virtio_dev *dev, int idle);

/* Takes that back: the device goes on, and `idle` is not used any more. VMM thread. */
void virtio_stay(struct virtio_dev *dev);

/* Something of a device that leaves is still in flight. VMM thread. */
bool virtio_is_busy(struct virtio_dev *dev);

/* The same of a device that is not being reset. Under the lock. */
bool virtio_has_calls(const struct virtio_dev *dev);

/* Of a class, under the lock, when nothing is in flight any more. Any thread. */
void virtio_note_idle(const struct virtio_dev *dev);

#endif

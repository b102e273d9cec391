/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The locks of a virtio device.
 *
 * The guest's register accesses come on vCPU threads, its notifications (by ioeventfd) to the event
 * loop on the VMM thread. Both take the device's lock, which is a leaf: everything in struct
 * virtio_dev that is not immutable is under it, and so is every function of struct virtio_class. A
 * device's own event sources (a TAP, a timer, a socket) are handled on the VMM thread and take the
 * lock themselves, then look at is_active.
 *
 * A reset may have to wait for the host. It gives the lock up meanwhile, with is_active false, so
 * that the event loop goes on: its handlers find a device that nobody uses. Register accesses have
 * a second lock around the first, which the reset keeps, so that no driver finds half a reset.
 */
#ifndef DEVICES_VIRTIO_VIRTIO_LOCK_H
#define DEVICES_VIRTIO_VIRTIO_LOCK_H

struct virtio_dev;

void virtio_lock(struct virtio_dev *dev);
void virtio_unlock(struct virtio_dev *dev);

/*
 * Both locks: for register accesses, a pause, and changes of what a reset uses. The function waits
 * for the end of a reset.
 */
void virtio_lock_driver(struct virtio_dev *dev);
void virtio_unlock_driver(struct virtio_dev *dev);

#endif

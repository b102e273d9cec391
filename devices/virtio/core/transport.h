/* SPDX-License-Identifier: Apache-2.0 */
/* What a virtio device asks of the transport that a driver reaches it by. */
#ifndef DEVICES_VIRTIO_TRANSPORT_H
#define DEVICES_VIRTIO_TRANSPORT_H

enum virtio_cause {
	VIRTIO_CAUSE_USED,  /* a queue has used buffers */
	VIRTIO_CAUSE_CONFIG /* the configuration has changed, or the device needs a reset */
};

/* A zeroed one is no transport: the device interrupts nobody. */
struct virtio_transport {
	/* For VIRTIO_CAUSE_USED of queue `queue`. Any thread, never blocks. */
	void (*interrupt)(void *arg, enum virtio_cause cause, unsigned queue);
	/*
	 * The eventfd that interrupts the guest for VIRTIO_CAUSE_USED of queue `queue`, for another
	 * process; it stays the transport's. NULL: an interrupt is more than that. Any thread.
	 */
	int (*call_fd)(void *arg, unsigned queue);
	/*
	 * What a driver can read of the device has changed without a driver's doing. NULL: the
	 * transport reads it when its driver does. Under the lock.
	 */
	void (*changed)(void *arg);
	/* The device was reset: the transport's own state goes back as well. Under the lock. */
	void (*reset)(void *arg);
	void *arg;
};

#endif

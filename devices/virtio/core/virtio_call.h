/* SPDX-License-Identifier: Apache-2.0 */
/* How somebody else, who serves a device's queue, interrupts the guest. */
#ifndef DEVICES_VIRTIO_CALL_H
#define DEVICES_VIRTIO_CALL_H

#include <stdbool.h>

#include "devices/virtio/core/virtio.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"

/* Embedded in its owner, zeroed at first. */
struct virtio_call {
	bool is_made;
	struct virtio_dev *dev;
	unsigned queue;
	struct ev_source source; /* its fd is an eventfd */
};

/*
 * Makes an eventfd by which the VMM thread interrupts the guest for VIRTIO_CAUSE_USED of queue
 * `queue`. The device outlives it. VMM thread.
 */
MUST_CHECK int virtio_call_init(struct virtio_call *call, struct virtio_dev *dev, unsigned queue,
				struct error *err);
void virtio_call_destroy(struct virtio_call *call); /* a zeroed one is fine */

/*
 * The eventfd to hand over, which stays ours or the transport's: the interrupt itself where the
 * transport has one, and else the one above. Of a device that is attached.
 */
int virtio_call_fd(const struct virtio_call *call);

#endif

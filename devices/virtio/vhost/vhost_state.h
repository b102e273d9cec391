/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vhost-user back-end keeps of a device, such as the files that a guest has open, as bytes
 * that only back-ends understand [QEMU docs/interop/vhost-user.rst, "Migrating back-end state"]. Of
 * a link whose back-end has VHOST_PROTOCOL_F_DEVICE_STATE, with all queues stopped and no answer
 * due.
 */
#ifndef DEVICES_VIRTIO_VHOST_STATE_H
#define DEVICES_VIRTIO_VHOST_STATE_H

#include <stdint.h>

#include "devices/virtio/core/virtio_state.h"
#include "devices/virtio/vhost/vhost_link.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * Each waits for the back-end until the deadline (CLOCK_MONOTONIC), over all steps. After a failure
 * with link->awaited other than VHOST_NONE, nobody knows what comes next by this connection: it is
 * to be closed. VMM thread.
 *
 * Saving: *state is zeroed before; its bytes, VIRTIO_REMOTE_MAX at most, are a heap block that is
 * the caller's from then on. ERR_HOST, also for a back-end with more bytes than that.
 */
MUST_CHECK int vhost_state_save(struct vhost_link *link, struct virtio_remote_state *state,
				uint64_t deadline_ms, struct error *err);
MUST_CHECK int vhost_state_load(struct vhost_link *link, const struct virtio_remote_state *state,
				uint64_t deadline_ms, struct error *err);

#endif

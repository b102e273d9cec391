/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all virtio devices share: feature negotiation, status, queues and their notifications.
 *
 * Threads. The guest's register accesses come on vCPU threads, its notifications (by ioeventfd) to
 * the event loop on the VMM thread. Both take the device's lock, which is a leaf: everything in
 * struct virtio_dev that is not immutable is under it, and so is every function of struct
 * virtio_ops. A device's own event sources (a TAP, a timer, a socket) are handled on the VMM thread
 * and take the lock themselves, then look at is_active.
 */
#ifndef DEVICES_VIRTIO_VIRTIO_H
#define DEVICES_VIRTIO_VIRTIO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/virtio/virtq.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"
#include "vmm/base/metric.h"

enum virtio_type { /* [virtio-1.2 §5] */
	VIRTIO_TYPE_NET = 1,
	VIRTIO_TYPE_BLOCK = 2,
	VIRTIO_TYPE_RNG = 4,
	VIRTIO_TYPE_BALLOON = 5,
	VIRTIO_TYPE_VSOCK = 19,
};

enum {
	VIRTIO_CONFIG_MAX = 64,
	VIRTIO_QUEUES_MAX = 32,
};

/* The "interrupts" group of metrics; the machine lists dev->interrupts of every device. */
struct interrupt_metrics {
	struct metric triggers;
	struct metric config_updates;
};

extern const struct metric_group interrupt_metric_group;

struct virtio_dev;

/* The device's side; all but queue_ready may be NULL. Under the lock. */
struct virtio_ops {
	enum virtio_type type;
	const char *name; /* for messages: "block" */
	/* The guest wrote dev->config, already bounded by its length; NULL: config is read-only. */
	void (*config_write)(struct virtio_dev *dev, size_t offset, const uint8_t *data,
			     size_t len);
	/*
	 * The driver is ready: features are settled, queues started. On a vCPU thread, so it does
	 * not touch the event loop. If it fails, the device needs a reset. Afterwards queue_ready
	 * is called for every queue, on the VMM thread.
	 */
	int (*activate)(struct virtio_dev *dev, struct error *err);
	/* Queue `index` of an active device was notified. Takes a bounded number of chains. */
	void (*queue_ready)(struct virtio_dev *dev, unsigned index);
	/*
	 * The driver resets an active device, or the machine goes: on return nothing of ours
	 * touches guest memory any more, requests in flight included. Any thread.
	 */
	void (*reset)(struct virtio_dev *dev);
};

struct virtio_queue {
	struct virtio_dev *dev;
	struct virtq_config config; /* what the driver wrote */
	struct virtq vq;
	struct ev_source kick; /* its fd is an eventfd, which KVM writes for the guest */
};

struct virtio_dev {
	/* immutable */
	const struct virtio_ops *ops;
	struct gmem *mem;
	struct evloop *loop;
	struct irq_line irq;
	const struct clock *clock;
	char id[64];	  /* for messages: the drive's or interface's name */
	uint64_t offered; /* features; bits by number [virtio-1.2 §6] */
	struct virtio_queue *queues;
	unsigned queue_count;
	size_t config_len;
	struct metric *activate_fails;
	/* under the lock */
	pthread_mutex_t lock;
	uint8_t config[VIRTIO_CONFIG_MAX];
	uint32_t config_generation;
	uint64_t acked; /* by the driver, a part of offered */
	uint8_t status; /* [virtio-1.2 §2.1] */
	uint32_t device_features_select, driver_features_select, queue_select; /* transport's */
	bool is_active;
	/* shared */
	_Atomic uint32_t interrupt_status; /* [virtio-1.2 §4.2.2] */
	struct interrupt_metrics interrupts;
};

struct virtio_params {
	const struct virtio_ops *ops;
	const char *id;
	uint64_t features; /* of the device; VERSION_1, EVENT_IDX and INDIRECT_DESC come with it */
	unsigned queue_count;
	size_t config_len;
	struct metric *activate_fails; /* the device's, as long as it lives */
};

/*
 * Makes a device ready to be attached, with its notifications in the loop. *dev stays where it is
 * until virtio_destroy, which accepts a zeroed or half-built one; nothing may be active by then in
 * a vCPU. VMM thread.
 */
MUST_CHECK int virtio_init(struct virtio_dev *dev, const struct dev_env *env,
			   const struct virtio_params *params, struct error *err);

/* Resets an active device (ops->reset) and frees what virtio_init made. VMM thread. */
void virtio_destroy(struct virtio_dev *dev);

void virtio_lock(struct virtio_dev *dev);
void virtio_unlock(struct virtio_dev *dev);

/* --- Under the lock --- */

static inline bool virtio_has(const struct virtio_dev *dev, unsigned feature)
{
	return (dev->acked >> feature & 1) != 0;
}

/* Publishes what was pushed to a queue, and interrupts the guest if it wants that. */
void virtio_publish(struct virtio_dev *dev, unsigned index);

/* Calls queue_ready for this queue again, after other sources of the loop had their turn. */
void virtio_requeue(struct virtio_dev *dev, unsigned index);

/*
 * A queue turned out broken (VIRTQ_BROKEN): the device stops using its queues, and the guest is
 * told that it needs a reset [virtio-1.2 §2.1.2]. Logged once until then.
 */
void virtio_break(struct virtio_dev *dev, unsigned index);

/* dev->config was changed: a new generation, and a configuration interrupt if a driver is there. */
void virtio_config_changed(struct virtio_dev *dev);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all virtio devices share: feature negotiation, status, queues and their notifications. Which
 * thread may touch what is in virtio_lock.h.
 */
#ifndef DEVICES_VIRTIO_VIRTIO_H
#define DEVICES_VIRTIO_VIRTIO_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/virtio/core/transport.h"
#include "devices/virtio/core/virtio_class.h"
#include "devices/virtio/core/virtio_lock.h"
#include "devices/virtio/core/virtq.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"
#include "vmm/base/metric.h"

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

struct virtio_queue {
	struct virtio_dev *dev;
	struct virtq_config config; /* what the driver wrote */
	struct virtq vq;
	struct ev_source kick; /* its fd is an eventfd, which KVM writes for the guest */
};

struct virtio_dev {
	/* immutable */
	const struct virtio_class *class;
	void *metrics; /* the device's own; NULL: none */
	struct gmem *mem;
	struct evloop *loop;
	struct virtio_transport transport; /* set when it is attached */
	const struct clock *clock;
	char id[64];	  /* for messages: the drive's or interface's name */
	uint64_t offered; /* features; bits by number [virtio-1.2 §6] */
	struct virtio_queue *queues;
	unsigned queue_count;
	size_t config_len;
	struct metric *activate_fails;
	/* under the lock */
	pthread_mutex_t driver_lock; /* taken before `lock` */
	pthread_mutex_t lock;
	uint8_t config[VIRTIO_CONFIG_MAX];
	uint32_t config_generation;
	uint64_t acked; /* by the driver, a part of offered */
	uint8_t status; /* [virtio-1.2 §2.1] */
	bool is_active;
	bool is_resetting;	  /* and waits for what is in flight, without the lock */
	int idle;		  /* of virtio_leave; -1: it stays */
	uint32_t budget;	  /* of the turn under way: see virtio_serve */
	uint64_t now_ns;	  /* when the clock was last looked at in it: see virtio_look */
	struct virtq_chain chain; /* of the step under way */
	/* shared */
	struct interrupt_metrics interrupts;
};

struct virtio_params {
	const struct virtio_class *class;
	void *metrics; /* as long as the device lives; NULL: none */
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

/* As its driver does: on return nothing of it is in flight. Waits for the host. Any thread. */
void virtio_reset(struct virtio_dev *dev);

/* Resets an active device (class->reset) and frees what virtio_init made. VMM thread. */
void virtio_destroy(struct virtio_dev *dev);

/* Frees a device that its constructor made, whatever its class. NULL is fine. VMM thread. */
void virtio_free(struct virtio_dev *dev);

/*
 * A pause, with all vCPUs parked and the event loop frozen. When virtio_quiesce returns nothing is
 * in flight, and each chain that was taken is given back or in its queue again. virtio_resume has
 * every queue served again once the loop thaws. VMM thread.
 */
void virtio_quiesce(struct virtio_dev *dev);
void virtio_resume(struct virtio_dev *dev);

/* --- Under the lock --- */

static inline bool virtio_has(const struct virtio_dev *dev, unsigned feature)
{
	return (dev->acked >> feature & 1) != 0;
}

/* A driver uses the device, and no queue is broken. */
bool virtio_works(const struct virtio_dev *dev);

/*
 * A turn of a queue: its chains go to the class one by one, until there are none (the queue is
 * armed), the class waits for something, `budget` steps are done or 2 ms are over (the queue is
 * kicked, behind the other sources of the loop). Then publishes once. VMM thread.
 */
void virtio_serve(struct virtio_dev *dev, unsigned index, uint32_t budget);

/* In a step of virtio_serve: it was as much work as `units` steps more. */
void virtio_spend(struct virtio_dev *dev, uint64_t units);

/* Publishes what was pushed to a queue, and interrupts the guest if it wants that. */
void virtio_publish(struct virtio_dev *dev, unsigned index);

/*
 * Has queue_ready called for this queue on the VMM thread, after other sources of the loop had
 * their turn. Any thread, with or without the lock.
 */
void virtio_kick(struct virtio_dev *dev, unsigned index);

/*
 * A queue turned out broken (VIRTQ_BROKEN): the device stops using its queues, and the guest is
 * told that it needs a reset [virtio-1.2 §2.1.2]. Logged once until then.
 */
void virtio_break(struct virtio_dev *dev, unsigned index);

/* dev->config was changed: a new generation, and a configuration interrupt if a driver is there. */
void virtio_config_changed(struct virtio_dev *dev);

#endif

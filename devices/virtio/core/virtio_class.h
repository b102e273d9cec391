/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of virtio devices differ in: one constant per kind. */
#ifndef DEVICES_VIRTIO_VIRTIO_CLASS_H
#define DEVICES_VIRTIO_VIRTIO_CLASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/core/virtq.h"
#include "vmm/base/error.h"
#include "vmm/base/metric.h"

struct virtio_dev;

enum virtio_type { /* [virtio-1.2 §5] */
	VIRTIO_TYPE_NET = 1,
	VIRTIO_TYPE_BLOCK = 2,
	VIRTIO_TYPE_RNG = 4,
	VIRTIO_TYPE_BALLOON = 5,
	VIRTIO_TYPE_VSOCK = 19,
	VIRTIO_TYPE_MEM = 24,
	VIRTIO_TYPE_FS = 26,
	VIRTIO_TYPE_PMEM = 27,
};

/* What a step of serving a queue came to; see virtio_serve. */
enum virtio_step {
	VIRTIO_TAKE,  /* of `next` alone: a chain is to be taken */
	VIRTIO_DONE,  /* something was done, and there may be more to do */
	VIRTIO_BACK,  /* of `take` alone: not this chain now, but there may be more to do */
	VIRTIO_WAIT,  /* not now: what has to happen first has an event of its own */
	VIRTIO_LATER, /* not now: after the other sources of the loop */
};

struct virtio_class_state; /* in virtio_state.h */

/* A feature bit's name, for messages. */
struct virtio_feature {
	unsigned bit;
	const char *name;
};

#define VIRTIO_FEATURES(table) .features = (table), .feature_count = ARRAY_COUNT(table)

/*
 * A kind of device. All functions but queue_ready and destroy may be NULL, take only if the class
 * never calls virtio_serve. Under the lock.
 */
struct virtio_class {
	enum virtio_type type;
	const char *name;		       /* for messages: "block" */
	const struct metric_group *metrics;    /* of its dev->metrics */
	const struct virtio_feature *features; /* those of its own that it may offer */
	size_t feature_count;
	const struct virtio_class_state *state; /* NULL: nothing of its own is saved */
	const char *unsaved; /* its name in the refusal of a snapshot; NULL: it can be saved */
	/* Of a class with such a name: this device can be saved all the same. NULL: none can. */
	bool (*is_saved)(struct virtio_dev *dev);
	/* The guest wrote dev->config, already bounded by its length; NULL: config is read-only. */
	void (*config_write)(struct virtio_dev *dev, size_t offset, const uint8_t *data,
			     size_t len);
	/*
	 * The driver is ready, or was when the device was saved: features are settled, queues
	 * started. On a vCPU thread, so it does not touch the event loop. If it fails, the device
	 * needs a reset, or is not loaded. Afterwards queue_ready is called for every queue, on the
	 * VMM thread.
	 */
	int (*activate)(struct virtio_dev *dev, struct error *err);
	/* Queue `index` of an active device was notified: mostly calls virtio_serve. */
	void (*queue_ready)(struct virtio_dev *dev, unsigned index);
	/* Before each chain: does what the queue can do without one, or says that one is wanted. */
	enum virtio_step (*next)(struct virtio_dev *dev, unsigned queue);
	/*
	 * Takes one chain. With VIRTIO_DONE it is pushed, or held by the device; otherwise it goes
	 * back to its queue. The chain is valid until the function returns.
	 */
	enum virtio_step (*take)(struct virtio_dev *dev, unsigned queue,
				 const struct virtq_chain *chain);
	/*
	 * What the driver did wrong: VIRTQ_BAD, a chain that is given back unused next, or
	 * VIRTQ_BROKEN, which stops all queues next.
	 */
	void (*fault)(struct virtio_dev *dev, unsigned queue, enum virtq_result result);
	/* The last of a turn of virtio_serve: what is pushed here is published with the rest. */
	void (*end_turn)(struct virtio_dev *dev, unsigned queue);
	/*
	 * The driver resets a device that was active, or the machine goes: on return nothing of
	 * ours touches guest memory any more, requests in flight included. is_active is false, so
	 * that the lock may be given up while the host is waited for. Any thread.
	 */
	void (*reset)(struct virtio_dev *dev);
	/*
	 * The machine pauses: on return nothing is in flight and no chain is held. What was taken
	 * last may go back by virtq_rewind. NULL: between two events that is always so.
	 */
	void (*quiesce)(struct virtio_dev *dev);
	/*
	 * An active device that takes nothing more has something in flight; virtio_note_idle tells
	 * when it has not. NULL: never between two events.
	 */
	bool (*is_busy)(const struct virtio_dev *dev);
	/* The machine goes on after a pause: queue_ready is called for every queue afterwards. */
	void (*resume)(struct virtio_dev *dev);
	/* Frees the whole device. Not under the lock, VMM thread. */
	void (*destroy)(struct virtio_dev *dev);
};

/*
 * In a step of virtio_serve: looks at the clock, CLOCK_MONOTONIC in ns, and keeps it in
 * dev->now_ns. A step that begins something takes the time from there: it was looked at since the
 * turn began.
 */
uint64_t virtio_look(struct virtio_dev *dev);

/*
 * What a driver can read, dev->config mostly, is not what it was, as the driver has asked for: the
 * transport shows it, and interrupts nobody. For all else there is virtio_config_changed. Under the
 * lock.
 */
void virtio_changed(const struct virtio_dev *dev);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device whose queues another process serves, by the vhost-user protocol [QEMU
 * docs/interop/vhost-user.rst]: what such devices have in common. A kind of device embeds struct
 * vhost_user, and its class has the functions below.
 */
#ifndef DEVICES_VIRTIO_VHOST_USER_H
#define DEVICES_VIRTIO_VHOST_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/virtio/core/virtio.h"
#include "devices/virtio/core/virtio_call.h"
#include "devices/virtio/core/virtio_state.h"
#include "devices/virtio/vhost/vhost_link.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"
#include "vmm/base/metric.h"

struct vhost_metrics {
	struct metric activate_fails;
	struct metric cfg_fails;	     /* of asking for the configuration */
	struct metric init_time_us;	     /* of the handshake before the start */
	struct metric activate_time_us;	     /* of handing the queues over */
	struct metric config_change_time_us; /* of asking for the configuration again */
	struct metric disconnect_count;
	struct metric reconnect_count;
};

/* The rows of a kind's group. */
enum {
	VHOST_METRIC_FIELDS = 7
};
extern const struct metric_field vhost_metric_fields[VHOST_METRIC_FIELDS];

enum vhost_state {
	VHOST_DOWN,	/* not connected: a timer tries again */
	VHOST_GREETING, /* the handshake is under way */
	VHOST_IDLE,	/* connected; no queue is handed over */
	VHOST_RUNNING,
	VHOST_GIVEN_UP, /* requests are lost: the driver has to reset the device */
};

struct vhost_user {
	struct virtio_dev dev;
	struct vhost_metrics metrics; /* shared */
	/* immutable */
	char *path;
	struct vhost_wants wants;
	uint64_t own_features; /* of vhost_params, as are the three below */
	bool is_stateful;
	bool is_in_order;
	void (*set_link)(struct vhost_user *vu, bool is_up);
	int inflight_fd; /* which requests are in flight, by the back-end; -1: it does not say */
	int told;	 /* eventfd: the request for the configuration has ended */
	/* under the device's lock; while is_stopping the link is that of who resets */
	enum vhost_state state;
	struct vhost_link link;
	bool is_stopping;
	bool is_lost; /* the VMM thread has to drop the link */
	bool is_ending;
	bool is_fresh;	/* no queue was handed over since the driver started the device */
	bool has_state; /* the last back-end hands out what it has of the device, and takes it */
	bool is_held;	/* saved or loaded: queues are handed over once the machine goes on */
	uint16_t bases[VIRTIO_QUEUES_MAX]; /* the entry that a back-end begins with */
	uint64_t began_us;		   /* of the request for the configuration under way */
	struct error config_error;	   /* how it has ended; ERR_NONE: by an answer */
	/* VMM thread */
	struct ev_source socket;
	struct virtio_call calls[VIRTIO_QUEUES_MAX];
	struct ev_timer timer;
	struct ev_wake wake;
};

struct vhost_params {
	const struct virtio_class *class;
	const char *id;
	const char *path;
	uint64_t features;     /* of the kind: a driver gets those that the back-end has too */
	uint64_t own_features; /* of the kind, of which the back-end knows nothing */
	struct vhost_wants wants;
	size_t config_len; /* of the kind: the first wants.config_len bytes are the back-end's */
	bool is_stateful;  /* the end of a back-end is the end of what the guest does with it */
	/*
	 * Requests are answered in the order of the ring, and those under way may be lost: without
	 * an account of them the next back-end begins behind the last answer.
	 */
	bool is_in_order;
	/* The back-end has gone, or is there again; under the lock, VMM thread. NULL: nothing. */
	void (*set_link)(struct vhost_user *vu, bool is_up);
};

/*
 * Makes a device whose back-end is connected by *link, which it takes; one that is not connected is
 * connected first, for which it waits as vhost_link_open does. Guest memory must be shared. The
 * caller zeroed *vu, and calls vhost_user_destroy after a failure too. VMM thread.
 */
MUST_CHECK int vhost_user_init(struct vhost_user *vu, const struct dev_env *env,
			       const struct vhost_params *params, struct vhost_link *link,
			       struct error *err);
void vhost_user_destroy(struct vhost_user *vu);

struct vhost_user *vhost_user_of(struct virtio_dev *dev);

/*
 * Asks the back-end for its configuration; `told` is readable once that has ended, in time, and
 * vhost_user_config_result has how. The driver gets an interrupt. VMM thread.
 */
MUST_CHECK int vhost_user_ask_config(struct vhost_user *vu, struct error *err);
MUST_CHECK int vhost_user_config_result(struct vhost_user *vu, struct error *err);

/* Of the kinds' classes. */
int vhost_user_activate(struct virtio_dev *dev, struct error *err);
void vhost_user_queue_ready(struct virtio_dev *dev, unsigned index);
void vhost_user_reset(struct virtio_dev *dev);

/*
 * The same of kinds whose back-ends' state is saved (struct virtio_class_state). A save waits for
 * the back-end until the deadline (CLOCK_MONOTONIC): for its queues, for what it has in hand, for
 * its state. A load waits for VHOST_PATIENCE_MS. A back-end that breaks off, or does not stop its
 * queues in time, loses its connection.
 */
bool vhost_user_is_saved(struct virtio_dev *dev);
int vhost_user_save(struct virtio_dev *dev, struct virtio_remote_state *remote,
		    uint64_t deadline_ms, struct error *err);
int vhost_user_load(struct virtio_dev *dev, const struct virtio_remote_state *remote,
		    struct error *err);
void vhost_user_resume(struct virtio_dev *dev);

#endif

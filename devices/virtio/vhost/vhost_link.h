/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A front-end's connection to a vhost-user back-end, and the handshake that tells what that one
 * has. The back-end is another security domain: it may say anything, or nothing.
 */
#ifndef DEVICES_VIRTIO_VHOST_LINK_H
#define DEVICES_VIRTIO_VHOST_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/vhost/vhost_user_msg.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	VHOST_PATIENCE_MS = 2000, /* for a whole handshake, or the answer to one request */
	VHOST_QUEUE_SIZE = 256,	  /* entries of a queue at most */
};

/* What a device needs of its back-end. */
struct vhost_wants {
	unsigned queues;
	unsigned least_queues; /* that each back-end of the kind has, without a number of them */
	bool is_paired;	       /* back-ends of the kind may count pairs of queues */
	size_t config_len;     /* of the configuration that the back-end tells; 0: none is asked */
	size_t queues_at;      /* the offset in it of a number of queues, which is ours; 0: none */
};

/* The requests of the handshake that are answered, in their order. */
enum vhost_step {
	VHOST_STEP_FEATURES,
	VHOST_STEP_PROTOCOL,
	VHOST_STEP_QUEUES,
	VHOST_STEP_CONFIG,
	VHOST_STEP_INFLIGHT,
	VHOST_STEP_READY,
};

/* Zeroed but for fd = -1: not connected. One thread at a time; its owner sees to that. */
struct vhost_link {
	int fd;			    /* non-blocking; -1: not connected */
	enum vhost_request awaited; /* the one request whose reply is due; VHOST_NONE */
	struct vhost_msg reply;	    /* as much of it as has come */
	enum vhost_step step;	    /* whose reply is due; READY: the rest is known */
	uint64_t features;	    /* of the back-end */
	uint64_t protocol;	    /* of both */
	uint8_t config[VHOST_CONFIG_MAX];
	struct vhost_inflight inflight; /* what the back-end needs; len 0: it can't say */
	uint64_t open_us;		/* what vhost_link_open took */
};

/* Connects to the socket; never waits. ERR_HOST has the sentence that clients know [compat]. */
MUST_CHECK int vhost_link_connect(struct vhost_link *link, const char *path, struct error *err);
void vhost_link_close(struct vhost_link *link); /* one that is not connected is fine */

/*
 * Sends a message whole, with `count` descriptors (VHOST_REGIONS_MAX at most), which stay the
 * caller's. Never waits: a back-end that takes nothing is ERR_HOST.
 */
MUST_CHECK int vhost_link_send(const struct vhost_link *link, const struct vhost_msg *msg,
			       const int *fds, size_t count, struct error *err);

/* Sends a message that is answered, with a descriptor (-1: none). No other answer is due. */
MUST_CHECK int vhost_link_ask(struct vhost_link *link, const struct vhost_msg *msg, int fd,
			      struct error *err);

/*
 * Reads what has come, without waiting: 1: link->reply is whole, and the answer to
 * link->awaited, which is VHOST_NONE from now on; 0: not yet; -1: the connection has ended, or what
 * came was not asked for. Descriptors that come along are closed.
 */
MUST_CHECK int vhost_link_read(struct vhost_link *link, struct error *err);

/* The same, once something has come or `deadline_ms` (CLOCK_MONOTONIC) is over, which is -1. */
MUST_CHECK int vhost_link_wait(struct vhost_link *link, uint64_t deadline_ms, struct error *err);
uint64_t vhost_deadline_ms(void);	   /* of now and VHOST_PATIENCE_MS */
bool vhost_has_time(uint64_t deadline_ms); /* enough for a back-end that does not dawdle */

/*
 * Has the back-end stop a ring, and waits for that until the deadline; *base is the next entry that
 * it would have taken. By write() and read() alone, for vCPU threads. No answer is due before.
 */
MUST_CHECK int vhost_link_stop(struct vhost_link *link, unsigned ring, uint64_t deadline_ms,
			       uint16_t *base, struct error *err);

/* Begins the handshake of a link that was just connected. */
MUST_CHECK int vhost_link_greet(struct vhost_link *link, const struct vhost_wants *wants,
				struct error *err);

/* Takes a reply of the handshake, and sends the next request. link->step tells where it is. */
MUST_CHECK int vhost_link_advance(struct vhost_link *link, const struct vhost_wants *wants,
				  struct error *err);

/* Takes a reply to GET_CONFIG into link->config. */
MUST_CHECK int vhost_link_take_config(struct vhost_link *link, const struct vhost_wants *wants,
				      struct error *err);

/* Connects and waits for the whole handshake; after a failure the link is not connected. */
MUST_CHECK int vhost_link_open(struct vhost_link *link, const char *path,
			       const struct vhost_wants *wants, struct error *err);

#endif

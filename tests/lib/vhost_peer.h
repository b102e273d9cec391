/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user back-end in a thread of the test, which does as it is told: it serves the queues, or
 * misbehaves in its answer to one request.
 *
 *	struct vhost_peer peer;
 *	vhost_peer_init(&peer);                     // listens on peer.path; change what it says
 *	vhost_peer_start(&peer);                    // accepts one connection after the other
 *	vhost_peer_hang_up(&peer);                  // ends the connection
 *	vhost_peer_stop(&peer);
 *
 * It answers each chain of a queue by filling its last segment with peer.pattern. What can't be
 * aborts with a message.
 */
#ifndef TESTS_LIB_VHOST_PEER_H
#define TESTS_LIB_VHOST_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/vhost/vhost_user_msg.h"

enum {
	VHOST_PEER_QUEUES = 4,
	VHOST_PEER_CONFIG = 64,
	VHOST_PEER_REQUESTS = 64, /* their numbers are below this */
};

enum vhost_peer_fault {
	PEER_ANSWERS,
	PEER_IS_SILENT,
	PEER_HANGS_UP,
	PEER_CUTS,	    /* half a header, then the end */
	PEER_ANSWERS_OTHER, /* to another request */
	PEER_FORGETS_FLAG,  /* that it is a reply */
	PEER_IS_SHORT,	    /* a payload of one byte less */
	PEER_IS_LONG,	    /* of one more */
	PEER_IS_HUGE,	    /* a length of 4 GiB */
	PEER_IS_EMPTY,	    /* no payload */
	PEER_DRIBBLES,	    /* byte by byte: no fault */
	PEER_SENDS_FDS,	    /* descriptors along with it: no fault, and none is kept */
	PEER_TALKS,	    /* the answer, and then one more message */
	PEER_LIES,	    /* another range, ring or size than was asked for */
};

struct vhost_peer_queue {
	uint32_t size;
	uint16_t base;		    /* the next entry to take */
	uint64_t desc, used, avail; /* in the front-end */
	int kick, call;		    /* -1: none */
	bool is_enabled;
};

struct vhost_peer_region {
	uint64_t gpa, len, hva;
	uint8_t *at; /* where we have it */
};

struct vhost_peer {
	char path[64];
	/* what it says */
	_Atomic uint64_t features;
	uint64_t protocol;
	uint64_t queue_num;
	uint64_t inflight_len;
	uint8_t config[VHOST_PEER_CONFIG];
	uint8_t pattern;
	_Atomic bool is_lazy; /* takes chains, and does not answer them */
	/* What it has of the device, to hand out; and as it was given. Heap block, its own. */
	uint8_t *state;
	size_t state_len;
	_Atomic bool is_state_endless;
	_Atomic bool is_state_stuck;  /* it neither writes, reads nor closes the pipe */
	_Atomic bool is_state_stolen; /* it takes what it has written away before it is read */
	_Atomic uint64_t state_answer, check_answer;
	/* where it misbehaves */
	_Atomic enum vhost_peer_fault fault;
	_Atomic enum vhost_request fault_at;
	/* what it has seen */
	_Atomic unsigned connections;
	_Atomic unsigned seen[VHOST_PEER_REQUESTS];
	_Atomic uint64_t acked;
	_Atomic uint64_t acked_protocol;
	_Atomic unsigned taken;			   /* chains */
	_Atomic unsigned served;		   /* of these, those that were answered */
	_Atomic unsigned bases[VHOST_PEER_QUEUES]; /* of SET_VRING_BASE */
	_Atomic uint64_t inflight_seen;		   /* the first word of that memory, when it came */
	/* its own */
	int listener;
	int wake[2];
	pthread_t thread;
	_Atomic bool is_ending;
	_Atomic bool is_to_hang_up;
	_Atomic bool is_to_say;
	const void *said;
	size_t said_len;
	_Atomic int fd; /* the connection; -1: none */
	int inflight;
	int pipe;	/* of its state; -1: none */
	bool is_moving; /* the thread below is there */
	pthread_t mover;
	struct vhost_peer_queue queues[VHOST_PEER_QUEUES];
	struct vhost_peer_region regions[VHOST_REGIONS_MAX];
	size_t region_count;
};

void vhost_peer_init(struct vhost_peer *peer);
void vhost_peer_start(struct vhost_peer *peer);
void vhost_peer_hang_up(struct vhost_peer *peer); /* on return the front-end's side has ended */
void vhost_peer_stop(struct vhost_peer *peer);	  /* removes the socket */

/* Sends these bytes, which nobody has asked for; on return they are sent. */
void vhost_peer_say(struct vhost_peer *peer, const void *bytes, size_t len);

#endif

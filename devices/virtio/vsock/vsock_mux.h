/* SPDX-License-Identifier: Apache-2.0 */
/* All connections of one socket device: who they are, whose turn it is, whose time is up. */
#ifndef DEVICES_VIRTIO_VSOCK_MUX_H
#define DEVICES_VIRTIO_VSOCK_MUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/vsock/vsock.h"
#include "devices/virtio/vsock/vsock_conn.h"
#include "devices/virtio/vsock/vsock_packet.h"
#include "vmm/base/attr.h"
#include "vmm/base/clock.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"

/* The pair of ports of a packet that belongs to no connection. */
struct vsock_reply {
	uint32_t local_port;
	uint32_t peer_port;
};

enum {
	VSOCK_CONNS_MAX = 1023, /* clients that are still greeting included [compat] */
	VSOCK_WIDE_MAX = 16,	/* connections with a long ring, a bit each: 4 MiB at their worst */
	VSOCK_REPLIES_MAX = 256,
	VSOCK_BUCKETS = 512,
	VSOCK_LOCAL_PORT_FIRST = 1 << 30, /* given to clients of the host [compat] */
};

struct vsock_list {
	unsigned link; /* which of the connections' */
	struct vsock_conn *first;
	struct vsock_conn *last;
};

/* Whose mux it is: called in every event of its sources. */
struct vsock_owner {
	/* Takes the lock. false: there is no guest to serve, and no lock nor connection either. */
	bool (*enter)(void *arg);
	void (*serve)(void *arg); /* the guest gets packets, if it has room */
	void (*leave)(void *arg);
	void *arg;
};

struct vsock_mux_params {
	struct evloop *loop;
	const struct clock *clock;
	struct vsock_metrics *metrics;
	struct vsock_owner owner;
	uint64_t guest_cid;
	const char *uds_path;
	int listener; /* borrowed */
};

/* Zeroed: may be destroyed. All calls are the loop's thread's. */
struct vsock_mux {
	struct vsock_mux_params params; /* without uds_path */
	char *uds_path;
	struct ev_source listener;
	struct ev_timer timer;
	struct vsock_conn *conns;
	uint8_t *rings;
	uint8_t *wide_rings;
	size_t map_len;	    /* of all three */
	uint32_t wide_free; /* a bit for each long ring */
	size_t used;	    /* places that were ever used, all at the front */
	struct vsock_list free;
	struct vsock_list ready; /* those with a packet for the guest, in turn */
	struct vsock_list greeting;
	struct vsock_list waiting; /* all other waits, which are equally long */
	struct vsock_conn *buckets[VSOCK_BUCKETS];
	struct vsock_reply replies[VSOCK_REPLIES_MAX]; /* RSTs to send */
	unsigned reply_first;
	unsigned reply_count;
	uint32_t next_port;
	int fd_end;	       /* connections have descriptors below */
	int connect_failure;   /* why the last connection of the guest failed; 0: it did not */
	uint64_t timer_ns;     /* when it fires; 0: never */
	uint64_t accept_at_ns; /* 0: not paused for lack of descriptors */
	bool is_listening;
};

MUST_CHECK int vsock_mux_init(struct vsock_mux *mux, const struct vsock_mux_params *params,
			      struct error *err);
void vsock_mux_destroy(struct vsock_mux *mux);

/* Whether clients of the host are accepted. Idempotent. */
void vsock_mux_listen(struct vsock_mux *mux, bool is_on);

/* Ends all connections and forgets what the guest is owed. */
void vsock_mux_close_all(struct vsock_mux *mux);

/* A packet of the guest has come, its header in *header, all of it in io->chain. */
void vsock_mux_receive(struct vsock_mux *mux, const struct vsock_header *header,
		       struct vsock_io *io);

/* No packet can be received before one was sent: there is no room for the answer. */
bool vsock_mux_is_full(const struct vsock_mux *mux);

bool vsock_mux_has_packet(const struct vsock_mux *mux);

/*
 * Lists what the guest has asked for, a connection as a rule, and got no answer to yet; returns how
 * many there are, `max` at most.
 */
uint32_t vsock_mux_unanswered(const struct vsock_mux *mux, struct vsock_reply *list, uint32_t max);

/* Answers by an RST. */
void vsock_mux_refuse(struct vsock_mux *mux, const struct vsock_reply *reply);

/*
 * Writes the next packet into io->chain, which has room for a header at least; *len is its length.
 * False if there was none after all. Packets behind it may be in io->followers, which the caller
 * pushes after io->chain.
 */
MUST_CHECK bool vsock_mux_fill(struct vsock_mux *mux, struct vsock_io *io, uint32_t *len);

#endif

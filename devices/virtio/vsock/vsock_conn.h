/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of the socket device: its states, its credit, its socket on the host. */
#ifndef DEVICES_VIRTIO_VSOCK_CONN_H
#define DEVICES_VIRTIO_VSOCK_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/vsock/vsock.h"
#include "devices/virtio/vsock/vsock_io.h"
#include "devices/virtio/vsock/vsock_packet.h"
#include "vmm/base/attr.h"
#include "vmm/base/evloop.h"

enum {
	VSOCK_RING_LEN = 64 * 1024, /* both are powers of two */
	VSOCK_WIDE_LEN = 256 * 1024,
};

enum vsock_conn_state {
	VSOCK_CONN_FREE,      /* a place without a connection */
	VSOCK_CONN_GREETING,  /* a client of the host that has not said which port it wants */
	VSOCK_CONN_REQUESTED, /* the guest is to accept a client */
	VSOCK_CONN_OPEN,
	VSOCK_CONN_LINGERING, /* the host's end is gone, the guest's may still read */
	VSOCK_CONN_KILLED,    /* all that is left is the RST that the guest is owed */
	VSOCK_CONN_OVER,      /* nothing is left */
};

/* What a connection waits for only so long. */
enum vsock_wait {
	VSOCK_WAIT_NONE,
	VSOCK_WAIT_GREETING,
	VSOCK_WAIT_ANSWER, /* of the guest to a REQUEST */
	VSOCK_WAIT_FLUSH,  /* of what the guest sent before it closed */
	VSOCK_WAIT_LINGER, /* for the guest to close too */
	VSOCK_WAIT_REUSE,  /* of a ring that is empty and still has memory */
};

/* Packets that the guest is owed, as bits. */
enum {
	VSOCK_OWES_RST = 1,
	VSOCK_OWES_REQUEST = 2,
	VSOCK_OWES_RESPONSE = 4,
	VSOCK_OWES_SHUTDOWN = 8,
	VSOCK_OWES_CREDIT_REQUEST = 16,
	VSOCK_OWES_CREDIT_UPDATE = 32,
};

struct vsock_mux;
struct vsock_conn;
struct vsock_list;

struct vsock_link {
	struct vsock_list *list; /* NULL: in none */
	struct vsock_conn *prev;
	struct vsock_conn *next;
};

enum {
	VSOCK_LINK_READY,
	VSOCK_LINK_TIMER,
	VSOCK_LINKS
};

struct vsock_conn {
	struct ev_source source; /* fd -1: the host's end is closed */
	struct vsock_metrics *metrics;
	uint8_t *ring;
	uint32_t ring_len; /* never less than the guest was told */
	enum vsock_conn_state state;
	uint32_t local_port;
	uint32_t peer_port; /* the guest's */
	uint8_t owes;
	uint8_t host_shutdown;	/* what we told the guest, flags of VSOCK_OP_SHUTDOWN */
	uint8_t guest_shutdown; /* what it told us */
	uint8_t done_shutdown;	/* of these, what the socket knows */
	bool is_readable;	/* the socket has bytes, or an end, that we have not seen yet */
	bool has_asked_credit;
	bool is_ring_resident; /* some of it */
	bool has_run_low;      /* the guest has used up most of its credit once */
	uint8_t batch;	       /* chains that the next read is offered; 0: one */
	/* From the host to the guest; counters of bytes wrap. */
	uint32_t rx_count;
	uint32_t peer_buf_alloc;
	uint32_t peer_fwd_count;
	/* From the guest to the host: [fwd_count, tx_count) is in the ring. */
	uint32_t tx_count;
	uint32_t fwd_count;
	uint32_t told_limit;	 /* what tx_count may become, as far as the guest knows */
	uint32_t seen_fwd_count; /* when its time was up last */
	uint8_t greeting[VSOCK_GREETING_MAX];
	uint8_t greeting_len;
	/* the multiplexer's */
	struct vsock_mux *mux;
	struct vsock_link links[VSOCK_LINKS];
	struct vsock_conn *hash_next;
	enum vsock_wait wait;
	uint64_t deadline_ns;
};

/* Sockets are non-blocking. What a call leaves to be done shows in the questions further below. */

/* The guest asks for a connection, whose socket is open. */
void vsock_conn_open(struct vsock_conn *conn, const struct vsock_header *request);

/* The greeting goes on; true if it is complete: *port is the one that is wanted. */
MUST_CHECK bool vsock_conn_greet(struct vsock_conn *conn, uint32_t *port);

/* The greeting came to an end and the ports are set: the guest is to be asked. */
void vsock_conn_request(struct vsock_conn *conn);

/* A packet of the guest, checked; its payload is in io->chain. */
void vsock_conn_receive(struct vsock_conn *conn, const struct vsock_header *header,
			struct vsock_io *io);

/*
 * Makes the next packet for the guest, with its payload in io->chain; false if there is none. The
 * payload of a stream may go on in io->followers, each of which is a packet of its own.
 */
MUST_CHECK bool vsock_conn_fill(struct vsock_conn *conn, struct vsock_header *header,
				struct vsock_io *io);

/* The socket is ready for these epoll bits. Not while greeting. */
void vsock_conn_ready(struct vsock_conn *conn, uint32_t ready);

/* What it waits for did not come in time; it may wait again if there was progress. */
void vsock_conn_expire(struct vsock_conn *conn);

/* Ends it, with an RST if the guest knows of it. */
void vsock_conn_kill(struct vsock_conn *conn);

/* The ring's memory goes back to the host. What is in it is lost. */
void vsock_conn_drop_ring(struct vsock_conn *conn);

/* --- Questions --- */

bool vsock_conn_has_packet(const struct vsock_conn *conn);
bool vsock_conn_needs_socket(const struct vsock_conn *conn);
bool vsock_conn_is_cramped(const struct vsock_conn *conn);   /* and may get a longer ring now */
uint32_t vsock_conn_interest(const struct vsock_conn *conn); /* epoll bits */
enum vsock_wait vsock_conn_waits(const struct vsock_conn *conn);

#endif

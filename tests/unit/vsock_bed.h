/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock multiplexer between the two ends of a test: a guest that sends and takes packets, without
 * queues, and Unix sockets in a directory of its own. Its clock stands still.
 */
#ifndef TESTS_UNIT_VSOCK_BED_H
#define TESTS_UNIT_VSOCK_BED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/vsock/vsock_mux.h"

enum {
	BED_CID = 3,
	BED_PORT = 52, /* of servers, and what clients ask for */
	BED_DATA_AT = 64 * 1024,
	BED_PACKETS = 4096,
};

struct bed_packet {
	struct vsock_header header;
	uint8_t *data;
};

struct bed {
	struct gmem *mem;
	struct evloop loop;
	struct vsock_mux mux;
	struct vsock_metrics metrics;
	struct virtq_chain chain;
	struct vsock_io io;
	struct virtq rx; /* stopped: no chain is behind one that is filled */
	char dir[64];
	char path[96];
	int listener;
	bool is_reset; /* all connections are closed when the next event comes */
	/* the guest: how many packets it takes, of which size */
	unsigned buffers;
	uint32_t buffer_len;
	/* what it took */
	struct bed_packet packets[BED_PACKETS];
	unsigned first;
	unsigned count;
};

/* One connection as the guest sees it. */
struct bed_guest {
	struct bed *bed;
	uint32_t port;
	uint32_t host_port;
	uint32_t buf_alloc;
	uint32_t fwd_cnt;
};

extern uint64_t bed_now_ns;

void bed_init(struct bed *bed);
void bed_destroy(struct bed *bed);

/* Dispatches what is ready; returns how often something was, 100 at most. */
unsigned bed_run(struct bed *bed);

/* Some time goes by. */
void bed_wait(struct bed *bed, uint64_t ms);

/* --- the host --- */

int bed_client(struct bed *bed); /* connected, nothing said */
int bed_serve(struct bed *bed, uint32_t port);
int bed_accept(int server);
void bed_say(int fd, const char *text);
/* All that comes right now; asserts that it is `text`. */
void bed_hear(int fd, const char *text);
/* Asserts that the socket was closed by its peer, after nothing more. */
void bed_hear_end(int fd);

/* --- the guest --- */

/* The next packet; false if there is none. `data` has room for what the header tells, or NULL. */
bool bed_take(struct bed *bed, struct vsock_header *header, void *data);
/* The next packet, which has to be this. */
struct vsock_header bed_expect(struct bed *bed, enum vsock_op op);
void bed_expect_none(struct bed *bed);

void bed_send_raw(struct bed *bed, const struct vsock_header *header, const void *data);
void bed_send(struct bed_guest *guest, enum vsock_op op, uint32_t flags);
void bed_send_data(struct bed_guest *guest, const void *data, uint32_t len);

/* Connections that are open at both ends. */
struct bed_guest bed_open_from_host(struct bed *bed, int *client);
struct bed_guest bed_open_from_guest(struct bed *bed, uint32_t port, int *served);

#endif

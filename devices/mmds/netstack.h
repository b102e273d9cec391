/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of the metadata service: an address on a guest's interface, inside the monitor, with
 * ARP, IPv4 and a TCP port that answers HTTP requests. Pure: no system call, no clock of its own.
 *
 * One for each interface. Not thread-safe: all calls are on the VMM thread.
 */
#ifndef DEVICES_MMDS_NETSTACK_H
#define DEVICES_MMDS_NETSTACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/mmds/mmds.h"
#include "devices/mmds/packet.h"
#include "devices/mmds/tcp.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	MMDS_PORT = 80,
	MMDS_CONNECTIONS_MAX = 30, /* of an interface [compat] */
	MMDS_RESETS_MAX = 100,	   /* that wait to be sent [compat] */
	/* Headers with all options and a full window: the longest frame of a good guest. */
	MMDS_FRAME_IN_MAX = 14 + 20 + 60 + MMDS_REQUEST_MAX,
};

/* A whole HTTP response. */
struct mmds_reply {
	const char *data; /* stays as it is until it is released */
	size_t len;	  /* from 1 to MMDS_REPLY_MAX */
	bool is_last;	  /* the connection ends behind it */
	void *owner;	  /* for `release` alone */
};

/* What answers. */
struct mmds_service {
	/*
	 * Answers one whole request, which is neither empty nor NUL-terminated, and may be any
	 * bytes: its head ends at the first empty line, its body is as long as Content-Length says.
	 * *reply is zeroed. Returns -1 where there is no answer: the connection is reset. A request
	 * whose body is too long comes without it, and its reply is the connection's last.
	 */
	int (*answer)(void *arg, const char *request, size_t len, struct mmds_reply *reply);
	/* Takes a reply back: the guest has all of it, or its connection is gone. */
	void (*release)(void *arg, struct mmds_reply *reply);
	/* The first sequence number of a connection: any, and none that the guest can guess. */
	uint32_t (*choose_isn)(void *arg);
	void *arg;
};

struct mmds_stack_params {
	uint8_t mac[MMDS_MAC_LEN];
	uint8_t ipv4[MMDS_IPV4_LEN];
	struct mmds_service service;
	struct mmds_metrics *metrics; /* outlives the stack; several may share it */
};

struct mmds_stack;

MUST_CHECK int mmds_stack_new(const struct mmds_stack_params *params, struct mmds_stack **out,
			      struct error *err);
void mmds_stack_free(struct mmds_stack *stack); /* releases all replies; NULL is fine */

/*
 * Whether a frame that the guest sends is the service's, which then never reaches the host's
 * network. `head` is its beginning, MMDS_HEAD_LEN bytes of it or all that there are.
 */
MUST_CHECK bool mmds_stack_takes(const struct mmds_stack *stack, const uint8_t *head, size_t len);

/* Takes such a frame. Afterwards there may be some to send. */
void mmds_stack_receive(struct mmds_stack *stack, const struct mmds_frame *frame, uint64_t now_ns);

/*
 * Writes the next frame for the guest to `buf`, of at least MMDS_FRAME_MAX bytes, and returns its
 * length; 0: there is none now. Checksums are complete. To be called until it returns 0 whenever
 * the guest has a buffer: after mmds_stack_receive, and when the deadline has passed.
 */
MUST_CHECK size_t mmds_stack_send(struct mmds_stack *stack, uint8_t *buf, size_t cap,
				  uint64_t now_ns);

/* When mmds_stack_send may have a frame without a call of mmds_stack_receive; UINT64_MAX: never. */
uint64_t mmds_stack_deadline(const struct mmds_stack *stack);

#endif

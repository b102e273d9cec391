/* SPDX-License-Identifier: Apache-2.0 */
/* What goes over the wires of the socket device, as bytes: packet headers, and what a client of
 * the host says first. Pure.
 */
#ifndef DEVICES_VIRTIO_VSOCK_PACKET_H
#define DEVICES_VIRTIO_VSOCK_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"

enum {
	VSOCK_HOST_CID = 2,
	VSOCK_HEADER_LEN = 44,
	VSOCK_PAYLOAD_MAX = 64 * 1024, /* bytes of one packet [compat] */
	VSOCK_GREETING_MAX = 32,       /* bytes of "CONNECT <port>\n" [compat] */
};

enum {
	VSOCK_TYPE_STREAM = 1
};

/* [virtio-1.2 §5.10.6] */
enum vsock_op {
	VSOCK_OP_INVALID = 0,
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE = 2,
	VSOCK_OP_RST = 3,
	VSOCK_OP_SHUTDOWN = 4,
	VSOCK_OP_RW = 5,
	VSOCK_OP_CREDIT_UPDATE = 6,
	VSOCK_OP_CREDIT_REQUEST = 7,
};

/* Flags of VSOCK_OP_SHUTDOWN: what the sender will not do any more. */
enum {
	VSOCK_SHUTDOWN_RECEIVE = 1,
	VSOCK_SHUTDOWN_SEND = 2,
	VSOCK_SHUTDOWN_BOTH = 3,
};

struct vsock_header {
	uint64_t src_cid;
	uint64_t dst_cid;
	uint32_t src_port;
	uint32_t dst_port;
	uint32_t len; /* bytes of payload after the header */
	uint16_t type;
	uint16_t op; /* enum vsock_op, or what a guest made up */
	uint32_t flags;
	uint32_t buf_alloc; /* the sender's room for payload, and how much it has passed on */
	uint32_t fwd_cnt;
};

void vsock_header_decode(const uint8_t bytes[VSOCK_HEADER_LEN], struct vsock_header *header);
void vsock_header_encode(const struct vsock_header *header, uint8_t bytes[VSOCK_HEADER_LEN]);

enum vsock_verdict {
	VSOCK_ACCEPT,
	VSOCK_REFUSE, /* answered by an RST */
	VSOCK_DROP,   /* not answered */
};

/* Judges what guest `guest_cid` sent, with `room` bytes in its chain after the header. */
MUST_CHECK enum vsock_verdict vsock_header_check(const struct vsock_header *header,
						 uint64_t guest_cid, uint32_t room);

/*
 * Parses "CONNECT <port>\n", the keyword in any case, with blanks around the port. `line` ends
 * after its newline and needs no NUL.
 */
MUST_CHECK bool vsock_greeting_parse(const uint8_t *line, size_t len, uint32_t *port);

#endif

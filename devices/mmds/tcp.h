/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection of the metadata service, opened by the guest [RFC 9293]. Pure: times are
 * parameters, in nanoseconds of one clock that never goes back.
 */
#ifndef DEVICES_MMDS_TCP_H
#define DEVICES_MMDS_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/mmds/packet.h"
#include "vmm/base/attr.h"

enum {
	MMDS_REQUEST_MAX = 2500,     /* bytes of a request, which are the receive window [compat] */
	MMDS_REPLY_MAX = 1 << 30,    /* bytes of a reply */
	MMDS_RTO_NS = 300 * 1000000, /* before the first retransmission */
	MMDS_RTO_DOUBLINGS = 4,	     /* of that time, one at each retransmission */
	MMDS_TRIES_MAX = 15, /* retransmissions that the guest answers by nothing [compat] */
};

enum mmds_tcp_state {
	MMDS_TCP_FREE,
	MMDS_TCP_SYN_RECEIVED, /* our SYN is not acknowledged */
	MMDS_TCP_OPEN,	       /* and all later states: the flags say which */
};

/* A zeroed one is free. The members are tcp.c's. */
struct mmds_tcp {
	struct mmds_address peer;
	enum mmds_tcp_state state;
	/* To the guest. una <= next <= high: acknowledged, sent, and sent at any time before. */
	uint32_t una;
	uint32_t next;
	uint32_t high;
	uint32_t window_end; /* the sequence number after the last that the guest has room for */
	uint32_t window_seq; /* of the segment that stated it, and its ack */
	uint32_t window_ack;
	uint32_t recover; /* duplicate acknowledgements below are not of a new loss */
	uint16_t mss;
	uint8_t duplicates; /* acknowledgements */
	uint8_t tries;	    /* retransmissions since the guest was heard */
	uint8_t doublings;  /* of the retransmission time */
	bool is_recovering;
	bool owes_segment; /* at `una`, which the guest has not got */
	bool owes_syn;
	bool owes_ack;
	bool is_probing;      /* the window may be overrun by a byte */
	bool is_closing;      /* a FIN is behind the reply, and what the guest sends is not kept */
	uint64_t deadline_ns; /* of the retransmission; UINT64_MAX: none */
	uint64_t useful_ns;   /* when the connection came on last */
	/* The reply, borrowed; it begins at sequence number reply_seq. */
	const uint8_t *reply;
	uint32_t reply_len;
	uint32_t reply_seq;
	/* From the guest. */
	uint32_t expected; /* sequence number of the next byte */
	bool has_ended;	   /* its FIN came */
	uint16_t buf_len;
	uint8_t *buf; /* borrowed, MMDS_REQUEST_MAX bytes; NULL: there is none, and nothing in it */
};

enum mmds_tcp_verdict {
	MMDS_TCP_FINE,
	MMDS_TCP_UNUSUAL, /* a segment that a good peer on a good wire does not send */
	MMDS_TCP_REFUSED, /* the segment is to be answered by an RST of its own, the connection
			     stays */
	MMDS_TCP_ENDED,	  /* by an RST of the guest */
};

/* A SYN of the guest opens the connection, whose first sequence number is `isn`. */
void mmds_tcp_open(struct mmds_tcp *tcp, const struct mmds_segment *syn, uint32_t isn,
		   uint64_t now_ns);

/*
 * The connection's next segment. Payload in order goes to tcp->buf; without a buffer it is dropped,
 * as if it had got lost. An acknowledged reply is gone when this returns: tcp->reply is NULL.
 */
MUST_CHECK enum mmds_tcp_verdict mmds_tcp_receive(struct mmds_tcp *tcp,
						  const struct mmds_segment *segment,
						  uint64_t now_ns);

/* Makes the next segment for the guest; false: there is none. */
MUST_CHECK bool mmds_tcp_send(struct mmds_tcp *tcp, struct mmds_segment *segment, uint64_t now_ns);

/* Acts on a deadline that has passed. False: the guest does not answer, give the connection up. */
MUST_CHECK bool mmds_tcp_expire(struct mmds_tcp *tcp, uint64_t now_ns);

/* The first `len` bytes of the buffer are used up. */
void mmds_tcp_consume(struct mmds_tcp *tcp, size_t len);

/* Sends `len` bytes, from 1 to MMDS_REPLY_MAX, which stay until they are acknowledged. */
void mmds_tcp_reply(struct mmds_tcp *tcp, const uint8_t *data, uint32_t len);

/* Nothing follows the reply that there may be. */
void mmds_tcp_close(struct mmds_tcp *tcp);

/* The segment that resets the connection. */
void mmds_tcp_abort(const struct mmds_tcp *tcp, struct mmds_segment *rst);

/* The segment that answers one of no connection; false: it is an RST, which nothing answers. */
MUST_CHECK bool mmds_tcp_refuse(const struct mmds_segment *segment, struct mmds_segment *rst);

/* --- Questions --- */

bool mmds_tcp_is_over(const struct mmds_tcp *tcp);  /* both sides have ended and know it */
bool mmds_tcp_is_quiet(const struct mmds_tcp *tcp); /* neither a request nor a reply is under way */

#endif

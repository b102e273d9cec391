/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packets of gdb's remote serial protocol: "$data#xx", where xx is the sum of the data's bytes
 * [gdb manual, appendix E]. Buffers of fixed size; no input makes anything grow. Pure: no system
 * calls.
 */
#ifndef VMM_DEBUG_RSP_H
#define VMM_DEBUG_RSP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"

enum {
	RSP_DATA_MAX = 4096, /* bytes of a packet's data */
	RSP_FRAME = 4,	     /* '$', '#' and the sum */
};

struct rsp {
	/* what came in, and has not been handed out yet */
	char in[RSP_DATA_MAX + RSP_FRAME];
	size_t in_len;
	char data[RSP_DATA_MAX + 1]; /* of the packet that was handed out last, with a NUL */
	bool is_quiet;		     /* neither side acknowledges packets any more */
	/* what goes out: an acknowledgement, and the last packet */
	char out[1 + RSP_DATA_MAX + RSP_FRAME];
	size_t out_len;
	size_t out_sent;
	size_t packet_at; /* where in `out` the packet begins, for sending it again */
	bool is_cut;	  /* the packet being made did not fit, and will be empty */
};

void rsp_init(struct rsp *rsp);

enum rsp_event {
	RSP_MORE,      /* there is no whole packet */
	RSP_PACKET,    /* `data` has one */
	RSP_INTERRUPT, /* the byte 3: the guest is to stop */
	RSP_REFUSED,   /* a packet whose sum is wrong; the other side is told */
	RSP_AGAIN,     /* the other side asks for the last packet once more: rsp_resend */
	RSP_LOST,      /* too long for a packet: the connection is to end */
};

/* Room for the caller to read to, at the end of `in`; it then adds to in_len. Not 0 after MORE. */
size_t rsp_room(const struct rsp *rsp);

/*
 * Takes the next event out of `in`, and acknowledges packets. What is between packets is dropped.
 * Only with nothing left to send.
 */
MUST_CHECK enum rsp_event rsp_next(struct rsp *rsp);

/* The packet that goes out: begin, add, end. One that does not fit is sent empty. */
void rsp_begin(struct rsp *rsp);
PRINTF(2, 3) void rsp_add(struct rsp *rsp, const char *fmt, ...);
void rsp_add_hex(struct rsp *rsp, const uint8_t *bytes, size_t len);
void rsp_end(struct rsp *rsp);
void rsp_resend(struct rsp *rsp);

/* All three: a packet of this text, or of bytes as digits. */
PRINTF(2, 3) void rsp_put(struct rsp *rsp, const char *fmt, ...);
void rsp_put_hex(struct rsp *rsp, const uint8_t *bytes, size_t len);

/* What is left to send; the caller adds to out_sent. */
static inline size_t rsp_pending(const struct rsp *rsp)
{
	return rsp->out_len - rsp->out_sent;
}

/* --- The data of packets --- */

/* What is left of a packet's data, which ends with a NUL. */
struct rsp_text {
	const char *at;
};

/* Takes a number of 1 to 16 hexadecimal digits, or says that there is none. */
MUST_CHECK bool rsp_take_number(struct rsp_text *text, uint64_t *value);

/* Takes this text, if it is next. */
bool rsp_take(struct rsp_text *text, const char *expected);

/* Takes exactly `len` bytes, two digits each. */
MUST_CHECK bool rsp_take_bytes(struct rsp_text *text, uint8_t *bytes, size_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest sends fits what is left of the request's buffer, and is within its segment: any
 * sequence numbers, any lengths.
 *
 * Options: -wp-rte
 * Functions: window is_before segment_len take_payload take_text mmds_tcp_consume
 */
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "devices/mmds/tcp.h"

/*@ assigns \nothing;
  @ ensures \result == (a < b ? a : b);
  @*/
static inline uint64_t min_u64(uint64_t a, uint64_t b);

#include "vmm/base/bytes.h"

/*@ requires len == 0 || \valid_read(from + (0 .. len - 1));
  @ requires len == 0 || \valid(to + (0 .. len - 1));
  @ assigns to[0 .. len - 1];
  @*/
static void copy(uint8_t *to, const uint8_t *from, size_t len);

#define memcpy(to, from, len) copy(to, from, len)
#define memmove(to, from, len) copy(to, from, len)

/*@ assigns \nothing; */
static bool is_before(uint32_t a, uint32_t b);

/*@ predicate sound(struct mmds_tcp *tcp) = \valid(tcp) && tcp->buf_len <= MMDS_REQUEST_MAX &&
  @	(tcp->buf == \null || (\valid(tcp->buf + (0 .. MMDS_REQUEST_MAX - 1)) &&
  @	 \separated(tcp, tcp->buf + (0 .. MMDS_REQUEST_MAX - 1))));
  @*/

/*@ requires \valid_read(tcp) && tcp->buf_len <= MMDS_REQUEST_MAX;
  @ assigns \nothing;
  @ ensures \result == MMDS_REQUEST_MAX - tcp->buf_len;
  @*/
static uint16_t window(const struct mmds_tcp *tcp);

/*@ requires \valid_read(segment);
  @ assigns \nothing;
  @*/
static uint32_t segment_len(const struct mmds_segment *segment);

/*@ requires sound(tcp);
  @ requires len == 0 || \valid_read(data + (0 .. len - 1));
  @ requires \separated(tcp, data + (0 .. len - 1));
  @ assigns tcp->buf_len, tcp->useful_ns, tcp->expected, tcp->buf[0 .. MMDS_REQUEST_MAX - 1];
  @ ensures sound(tcp);
  @*/
static bool take_payload(struct mmds_tcp *tcp, const uint8_t *data, uint32_t len, uint64_t now_ns);

/*@ requires sound(tcp) && \valid_read(segment) && \separated(tcp, segment);
  @ requires segment->len == 0 || \valid_read(segment->payload + (0 .. segment->len - 1));
  @ requires \separated(tcp, segment->payload + (0 .. segment->len - 1));
  @ requires tcp->buf == \null ||
  @	\separated(tcp->buf + (0 .. MMDS_REQUEST_MAX - 1), segment);
  @ assigns *tcp, tcp->buf[0 .. MMDS_REQUEST_MAX - 1];
  @*/
static enum mmds_tcp_verdict take_text(struct mmds_tcp *tcp, const struct mmds_segment *segment,
				       uint64_t now_ns);

/*@ requires sound(tcp) && (tcp->buf == \null ==> tcp->buf_len == 0) && len <= tcp->buf_len;
  @ assigns tcp->buf_len, tcp->owes_ack, tcp->buf[0 .. MMDS_REQUEST_MAX - 1];
  @ ensures tcp->buf_len == \old(tcp->buf_len) - len;
  @*/
void mmds_tcp_consume(struct mmds_tcp *tcp, size_t len);

#include "devices/mmds/tcp.c"

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection of the metadata service.
 *
 * Theory of operation
 *
 * The guest opens, sends a request, gets a reply, and may go on with the next request; either side
 * closes. No segment ever leaves the machine, and a queue in memory loses none unless the guest
 * drops it, so there is no congestion control. What has to work all the same is everything that a
 * guest may legally do, and nothing that it may illegally do harms anyone but its own connection.
 *
 * The states of RFC 9293 after ESTABLISHED are two flags: is_closing with `una` (our FIN is to be
 * sent, sent, acknowledged), and has_ended (the guest's FIN came). When both are through the
 * connection is over at once. There is no TIME-WAIT: if our last ACK is lost, the guest's repeated
 * FIN is answered by an RST, and its application has all bytes by then. An old segment hardly fits
 * a new connection on the same ports, as that one's sequence numbers begin anywhere.
 *
 * To the guest: [una, high) is out. A retransmission after a silence goes back to `una`; three
 * duplicate acknowledgements bring the one segment at `una` again, and so does each partial
 * acknowledgement until all that was out then has arrived [RFC 6582]. An acknowledgement may always
 * jump up to `high`. A closed window is probed by a byte beyond it, at the pace of retransmissions.
 *
 * From the guest: only what comes in order is taken; other segments are answered by an ACK of what
 * is expected, as duplicates are. The window is what the buffer has left, so its end never recedes.
 * A connection borrows its buffer from a pool, and the window is open without one, too.
 *
 * An RST with another number than the expected one, and a SYN, could be somebody's guess: they are
 * answered by a challenge ACK, to which the peer answers if it meant it [RFC 5961].
 */
#include "devices/mmds/tcp.h"

#include <assert.h>
#include <string.h>

#include "vmm/base/bytes.h"

enum {
	DUPLICATES = 3, /* that stand for a loss [RFC 5681 §3.2] */
	/* A guest that answers a SYN at all does so at once. */
	SYN_TRIES_MAX = 5,
};

/* Sequence numbers wrap. */
static bool is_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static uint32_t reply_end(const struct mmds_tcp *tcp)
{
	return tcp->reply_seq + tcp->reply_len;
}

static bool has_unacknowledged(const struct mmds_tcp *tcp)
{
	return tcp->una != tcp->high;
}

/* Our FIN takes one sequence number behind the last reply. */
static bool is_fin_acknowledged(const struct mmds_tcp *tcp)
{
	return tcp->is_closing && tcp->una == reply_end(tcp) + 1;
}

/* What is left to send for the first time since the last retransmission, with the FIN. */
static bool has_unsent(const struct mmds_tcp *tcp)
{
	return tcp->state == MMDS_TCP_OPEN &&
	       is_before(tcp->next, reply_end(tcp) + (tcp->is_closing ? 1 : 0));
}

/* The receive window. */
static uint16_t window(const struct mmds_tcp *tcp)
{
	return (uint16_t)(MMDS_REQUEST_MAX - tcp->buf_len);
}

static uint32_t segment_len(const struct mmds_segment *segment)
{
	return segment->len + ((segment->flags & MMDS_TCP_SYN) != 0 ? 1u : 0u) +
	       ((segment->flags & MMDS_TCP_FIN) != 0 ? 1u : 0u);
}

/* --- the timer --- */

static void start_timer(struct mmds_tcp *tcp, uint64_t now_ns)
{
	tcp->deadline_ns = now_ns + ((uint64_t)MMDS_RTO_NS << tcp->doublings);
}

/* Runs while the guest is to answer something, or to open its window. */
static void settle_timer(struct mmds_tcp *tcp, uint64_t now_ns)
{
	bool is_needed = has_unacknowledged(tcp) || has_unsent(tcp);

	if (!is_needed) {
		tcp->deadline_ns = UINT64_MAX;
	} else if (tcp->deadline_ns == UINT64_MAX) {
		start_timer(tcp, now_ns);
	}
}

bool mmds_tcp_expire(struct mmds_tcp *tcp, uint64_t now_ns)
{
	unsigned max = tcp->state == MMDS_TCP_OPEN ? MMDS_TRIES_MAX : SYN_TRIES_MAX;

	if (tcp->tries == max) {
		return false;
	}
	tcp->tries++;
	if (tcp->doublings < MMDS_RTO_DOUBLINGS) {
		tcp->doublings++;
	}
	tcp->next = tcp->una;
	tcp->recover = tcp->high;
	tcp->duplicates = 0;
	tcp->is_recovering = false;
	tcp->owes_segment = false;
	tcp->is_probing = true;
	tcp->owes_syn = tcp->state == MMDS_TCP_SYN_RECEIVED;
	start_timer(tcp, now_ns);
	return true;
}

/* --- life --- */

void mmds_tcp_open(struct mmds_tcp *tcp, const struct mmds_segment *syn, uint32_t isn,
		   uint64_t now_ns)
{
	const struct mmds_address peer = tcp->peer;
	uint16_t mss = syn->mss != 0 ? syn->mss : MMDS_MSS_DEFAULT;

	*tcp = (struct mmds_tcp){
		.peer = peer,
		.state = MMDS_TCP_SYN_RECEIVED,
		.una = isn,
		.next = isn,
		.high = isn,
		.window_end = isn + 1 + syn->window,
		.window_seq = syn->seq,
		.window_ack = isn,
		.recover = isn,
		.mss = (uint16_t)min_u64(mss, MMDS_MSS_MAX),
		.owes_syn = true,
		.deadline_ns = UINT64_MAX,
		.useful_ns = now_ns,
		.reply_seq = isn + 1,
		.expected = syn->seq + 1,
	};
}

void mmds_tcp_reply(struct mmds_tcp *tcp, const uint8_t *data, uint32_t len)
{
	assert(tcp->reply == NULL && !tcp->is_closing && len > 0 && len <= MMDS_REPLY_MAX);
	tcp->reply = data;
	tcp->reply_len = len;
}

void mmds_tcp_close(struct mmds_tcp *tcp)
{
	tcp->is_closing = true;
}

void mmds_tcp_consume(struct mmds_tcp *tcp, size_t len)
{
	assert(len <= tcp->buf_len);
	if (len > 0) {
		tcp->buf_len -= (uint16_t)len;
		memmove(tcp->buf, tcp->buf + len, tcp->buf_len);
		tcp->owes_ack = true; /* which states the window */
	}
}

void mmds_tcp_abort(const struct mmds_tcp *tcp, struct mmds_segment *rst)
{
	*rst = (struct mmds_segment){
		.seq = tcp->high,
		.ack = tcp->expected,
		.flags = MMDS_TCP_RST | MMDS_TCP_ACK,
	};
}

bool mmds_tcp_refuse(const struct mmds_segment *segment, struct mmds_segment *rst)
{
	bool has_ack = (segment->flags & MMDS_TCP_ACK) != 0;

	*rst = (struct mmds_segment){
		.seq = has_ack ? segment->ack : 0,
		.ack = has_ack ? 0 : segment->seq + segment_len(segment),
		.flags = has_ack ? MMDS_TCP_RST : MMDS_TCP_RST | MMDS_TCP_ACK,
	};
	return (segment->flags & MMDS_TCP_RST) == 0;
}

bool mmds_tcp_is_over(const struct mmds_tcp *tcp)
{
	return tcp->has_ended && is_fin_acknowledged(tcp) && !tcp->owes_ack;
}

bool mmds_tcp_is_quiet(const struct mmds_tcp *tcp)
{
	return tcp->reply == NULL && tcp->buf_len == 0;
}

/* --- from the guest --- */

/* Some of the segment lies in the receive window [RFC 9293 §3.10.7.4]. */
static bool is_acceptable(const struct mmds_tcp *tcp, const struct mmds_segment *segment)
{
	uint32_t len = segment_len(segment);
	uint32_t end = tcp->expected + window(tcp);

	if (len == 0) {
		/* At the end, too: the guest may have sent all that it may, and it got lost. */
		return !is_before(segment->seq, tcp->expected) && !is_before(end, segment->seq);
	}
	/* With a closed window as well: a probe's acknowledgement counts, its payload doesn't. */
	return segment->seq == tcp->expected ||
	       (is_before(segment->seq, end) && is_before(tcp->expected, segment->seq + len));
}

static enum mmds_tcp_verdict challenge(struct mmds_tcp *tcp)
{
	tcp->owes_ack = true;
	return MMDS_TCP_UNUSUAL;
}

/* [RFC 5961 §3]: only the expected number resets; any other in the window could be a guess. */
static enum mmds_tcp_verdict take_rst(struct mmds_tcp *tcp, const struct mmds_segment *segment)
{
	if (segment->seq == tcp->expected) {
		return MMDS_TCP_ENDED;
	}
	return is_acceptable(tcp, segment) ? challenge(tcp) : MMDS_TCP_UNUSUAL;
}

static void drop_acknowledged_reply(struct mmds_tcp *tcp)
{
	if (tcp->reply != NULL && !is_before(tcp->una, reply_end(tcp))) {
		tcp->reply_seq = reply_end(tcp);
		tcp->reply = NULL;
		tcp->reply_len = 0;
	}
}

/* The guest has got more. */
static void advance(struct mmds_tcp *tcp, uint32_t ack, uint64_t now_ns)
{
	bool is_partial = tcp->is_recovering && is_before(ack, tcp->recover);

	tcp->una = ack;
	if (is_before(tcp->next, ack)) {
		tcp->next = ack;
	}
	tcp->owes_segment = is_partial;
	tcp->is_recovering = is_partial;
	tcp->duplicates = 0;
	tcp->doublings = 0;
	tcp->is_probing = false;
	tcp->useful_ns = now_ns;
	tcp->deadline_ns = UINT64_MAX;
	drop_acknowledged_reply(tcp);
}

/* An acknowledgement of nothing new while something is out: a segment behind a lost one arrived. */
static void take_duplicate(struct mmds_tcp *tcp)
{
	if (tcp->is_recovering || is_before(tcp->una, tcp->recover)) {
		return;
	}
	tcp->duplicates++;
	if (tcp->duplicates == DUPLICATES) {
		tcp->duplicates = 0;
		tcp->is_recovering = true;
		tcp->recover = tcp->high;
		tcp->owes_segment = true;
	}
}

/* True if this changed the window. Only news may: an older segment can come late. */
static bool take_window(struct mmds_tcp *tcp, const struct mmds_segment *segment)
{
	uint32_t end = segment->ack + segment->window;
	uint32_t before = tcp->window_end;

	if (is_before(tcp->window_seq, segment->seq) ||
	    (tcp->window_seq == segment->seq && !is_before(segment->ack, tcp->window_ack))) {
		tcp->window_end = end;
		tcp->window_seq = segment->seq;
		tcp->window_ack = segment->ack;
	}
	return tcp->window_end != before;
}

static enum mmds_tcp_verdict take_ack(struct mmds_tcp *tcp, const struct mmds_segment *segment,
				      uint64_t now_ns)
{
	if (is_before(tcp->high, segment->ack)) {
		return tcp->state == MMDS_TCP_SYN_RECEIVED ? MMDS_TCP_REFUSED : challenge(tcp);
	}
	if (tcp->state == MMDS_TCP_SYN_RECEIVED && segment->ack != tcp->una + 1) {
		return MMDS_TCP_REFUSED;
	}
	tcp->tries = 0;
	if (is_before(segment->ack, tcp->una)) {
		return MMDS_TCP_FINE; /* an old one, whose payload may be new */
	}
	bool is_window_new = take_window(tcp, segment);

	if (segment->ack != tcp->una) {
		tcp->state = MMDS_TCP_OPEN;
		tcp->owes_syn = false;
		advance(tcp, segment->ack, now_ns);
	} else if (has_unacknowledged(tcp) && segment_len(segment) == 0 && !is_window_new) {
		take_duplicate(tcp);
		return MMDS_TCP_UNUSUAL;
	}
	return MMDS_TCP_FINE;
}

/* Payload from `expected` on goes to the buffer. False: not all of it could be taken. */
static bool take_payload(struct mmds_tcp *tcp, const uint8_t *data, uint32_t len, uint64_t now_ns)
{
	uint32_t room = tcp->buf != NULL || tcp->is_closing ? window(tcp) : 0;
	uint32_t part = (uint32_t)min_u64(len, room);

	if (part > 0 && !tcp->is_closing) {
		memcpy(tcp->buf + tcp->buf_len, data, part);
		tcp->buf_len += (uint16_t)part;
		tcp->useful_ns = now_ns;
	}
	tcp->expected += part;
	return part == len;
}

static enum mmds_tcp_verdict take_text(struct mmds_tcp *tcp, const struct mmds_segment *segment,
				       uint64_t now_ns)
{
	uint32_t skip =
		tcp->expected - segment->seq; /* what is known already, if not in the future */

	if (segment_len(segment) == 0) {
		return MMDS_TCP_FINE;
	}
	tcp->owes_ack = true;
	if (is_before(tcp->expected, segment->seq) || tcp->has_ended) {
		return MMDS_TCP_UNUSUAL;
	}
	if (skip <= segment->len &&
	    !take_payload(tcp, segment->payload + skip, segment->len - skip, now_ns)) {
		return MMDS_TCP_UNUSUAL;
	}
	if ((segment->flags & MMDS_TCP_FIN) != 0) {
		tcp->has_ended = true;
		tcp->expected++;
	}
	return MMDS_TCP_FINE;
}

enum mmds_tcp_verdict mmds_tcp_receive(struct mmds_tcp *tcp, const struct mmds_segment *segment,
				       uint64_t now_ns)
{
	enum mmds_tcp_verdict verdict;

	if ((segment->flags & MMDS_TCP_RST) != 0) {
		return take_rst(tcp, segment);
	}
	if ((segment->flags & MMDS_TCP_SYN) != 0) {
		/* The guest did not get our SYN, or it is one that can't be now. */
		bool is_again = tcp->state == MMDS_TCP_SYN_RECEIVED &&
				segment->seq + 1 == tcp->expected &&
				(segment->flags & MMDS_TCP_ACK) == 0;

		tcp->owes_syn |= is_again;
		return is_again ? MMDS_TCP_FINE : challenge(tcp);
	}
	if (!is_acceptable(tcp, segment)) {
		return challenge(tcp);
	}
	if ((segment->flags & MMDS_TCP_ACK) == 0) {
		return MMDS_TCP_UNUSUAL;
	}
	verdict = take_ack(tcp, segment, now_ns);
	if (verdict == MMDS_TCP_FINE) {
		verdict = take_text(tcp, segment, now_ns);
	}
	settle_timer(tcp, now_ns);
	return verdict;
}

/* --- to the guest --- */

/* Fills in what the guest gets from sequence number `seq` on, at most up to `end`. */
static void fill_segment(const struct mmds_tcp *tcp, uint32_t seq, uint32_t end,
			 struct mmds_segment *segment)
{
	uint32_t left = is_before(seq, reply_end(tcp)) ? reply_end(tcp) - seq : 0;
	uint32_t len = (uint32_t)min_u64(min_u64(end - seq, left), tcp->mss);

	segment->seq = seq;
	segment->flags = MMDS_TCP_ACK;
	if (len > 0) {
		segment->payload = tcp->reply + (seq - tcp->reply_seq);
		segment->len = (uint16_t)len;
	}
	if (len > 0 && len == left) {
		segment->flags |= MMDS_TCP_PSH;
	}
	/* A FIN behind a full segment would still fit the window, but not always `end`. */
	if (tcp->is_closing && len == left && end - seq > len) {
		segment->flags |= MMDS_TCP_FIN;
	}
}

static void send_syn(struct mmds_tcp *tcp, struct mmds_segment *segment)
{
	tcp->owes_syn = false;
	tcp->next = tcp->una + 1;
	*segment = (struct mmds_segment){
		.seq = tcp->una,
		.mss = MMDS_MSS_MAX,
		.flags = MMDS_TCP_SYN | MMDS_TCP_ACK,
	};
}

/* The segment that got lost, once more; `next` stays where it is. */
static void resend(struct mmds_tcp *tcp, struct mmds_segment *segment)
{
	tcp->owes_segment = false;
	fill_segment(tcp, tcp->una, tcp->high, segment);
}

/*
 * How far the next segment may go. Small segments that are not the last wait until all that is out
 * is acknowledged, so that a guest whose window opens slowly does not get many of them.
 */
static uint32_t sendable_end(const struct mmds_tcp *tcp)
{
	uint32_t end = reply_end(tcp) + (tcp->is_closing ? 1 : 0);
	uint32_t limit = tcp->window_end;

	if (tcp->is_probing && !is_before(tcp->una, limit)) {
		limit = tcp->una + 1;
	}
	if (!is_before(limit, end)) {
		return end;
	}
	bool is_small = limit - tcp->next < tcp->mss;

	return is_small && tcp->next != tcp->una ? tcp->next : limit;
}

static bool send_reply(struct mmds_tcp *tcp, struct mmds_segment *segment)
{
	uint32_t end = sendable_end(tcp);

	if (!has_unsent(tcp) || !is_before(tcp->next, end)) {
		return false;
	}
	fill_segment(tcp, tcp->next, end, segment);
	tcp->next += segment_len(segment);
	tcp->is_probing = false;
	return true;
}

/* Of an ACK alone: a guest with a closed window takes no number beyond it, such as a probe's. */
static uint32_t idle_seq(const struct mmds_tcp *tcp)
{
	if (!is_before(tcp->window_end, tcp->high)) {
		return tcp->high;
	}
	return is_before(tcp->window_end, tcp->una) ? tcp->una : tcp->window_end;
}

bool mmds_tcp_send(struct mmds_tcp *tcp, struct mmds_segment *segment, uint64_t now_ns)
{
	*segment = (struct mmds_segment){0};
	if (tcp->owes_syn) {
		send_syn(tcp, segment);
	} else if (tcp->state == MMDS_TCP_OPEN && tcp->owes_segment) {
		resend(tcp, segment);
	} else if (!send_reply(tcp, segment)) {
		if (!tcp->owes_ack) {
			settle_timer(tcp, now_ns);
			return false;
		}
		segment->seq = idle_seq(tcp);
		segment->flags = MMDS_TCP_ACK;
	}
	if (is_before(tcp->high, tcp->next)) {
		tcp->high = tcp->next;
	}
	segment->ack = tcp->expected;
	segment->window = window(tcp);
	tcp->owes_ack = false;
	settle_timer(tcp, now_ns);
	return true;
}

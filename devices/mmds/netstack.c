/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of the metadata service.
 *
 * Theory of operation
 *
 * A frame of the guest goes to the connection of its address and port; a SYN of no connection takes
 * a free place, anything else is answered by an RST from a short queue. Nothing is sent from here:
 * the device asks for frames as the guest has buffers, so that the guest paces what it gets. Then
 * an ARP reply goes first, resets follow, and the connections take turns.
 *
 * All memory is there from the start, and only what is used is touched. Connections are many and
 * requests short, so the connections share a smaller number of request buffers: one is borrowed
 * from the first byte of a request until it is answered. A connection that can't get one loses the
 * segment, which the guest's TCP sends again.
 *
 * A SYN that finds all places taken evicts the connection that has been of no use for longest, by
 * rank: a half-open one, then a quiet one (no request or reply is under way), then one that is in
 * the middle and doesn't come on. Each must have been so for a while, lest many clients at once
 * reset each other; if there is none, the SYN is dropped, and the guest's TCP repeats it a second
 * later. Buffers are got back in the same way, from connections in the middle of a request.
 */
#include "devices/mmds/netstack.h"

#include <stdlib.h>
#include <string.h>

#include "devices/mmds/framing.h"
#include "vmm/base/bytes.h"

enum {
	BUFFERS = 20, /* with all else of the service less than 64 KiB */
	BUFFERS_LEN = BUFFERS * MMDS_REQUEST_MAX,
};

static const uint64_t GRACE_NS = UINT64_C(500000000);	/* before a SYN may evict */
static const uint64_t STALE_NS = UINT64_C(10000000000); /* the same in the middle [compat] */

struct connection {
	struct mmds_tcp tcp;
	struct mmds_reply reply; /* data NULL: none */
	bool is_last;		 /* no request is read behind the reply */
};

struct reset {
	uint16_t port; /* from which it comes: segments to any port are refused */
	struct mmds_address to;
	struct mmds_segment segment;
};

struct mmds_stack {
	/* immutable */
	struct mmds_address local;
	struct mmds_service service;
	struct mmds_metrics *metrics;
	uint8_t *memory; /* of all buffers */
	/* VMM thread */
	struct connection connections[MMDS_CONNECTIONS_MAX];
	unsigned turn; /* the connection that is asked first for its next segment */
	uint8_t *free_buffers[BUFFERS];
	unsigned free_count;
	struct reset resets[MMDS_RESETS_MAX]; /* a ring */
	unsigned first_reset;
	unsigned reset_count;
	bool owes_arp;
	struct mmds_address asker; /* to whom */
};

_Static_assert(sizeof(struct mmds_stack) + BUFFERS_LEN <= 64 * KIB,
	       "the memory of an interface's service");

/* --- life --- */

int mmds_stack_new(const struct mmds_stack_params *params, struct mmds_stack **out,
		   struct error *err)
{
	struct mmds_stack *stack = calloc(1, sizeof(*stack));
	uint8_t *memory = malloc(BUFFERS_LEN);

	if (stack == NULL || memory == NULL) {
		free(stack);
		free(memory);
		return error_sys(err, "Can't allocate the metadata service's network");
	}
	memcpy(stack->local.mac, params->mac, MMDS_MAC_LEN);
	memcpy(stack->local.ipv4, params->ipv4, MMDS_IPV4_LEN);
	stack->local.port = MMDS_PORT;
	stack->service = params->service;
	stack->metrics = params->metrics;
	stack->memory = memory;
	for (unsigned i = 0; i < BUFFERS; i++) {
		stack->free_buffers[i] = memory + (size_t)i * MMDS_REQUEST_MAX;
	}
	stack->free_count = BUFFERS;
	*out = stack;
	return 0;
}

static void release_reply(struct mmds_stack *stack, struct connection *conn)
{
	if (conn->reply.data != NULL) {
		stack->service.release(stack->service.arg, &conn->reply);
		conn->reply = (struct mmds_reply){0};
	}
}

static void return_buffer(struct mmds_stack *stack, struct connection *conn)
{
	if (conn->tcp.buf != NULL) {
		stack->free_buffers[stack->free_count++] = conn->tcp.buf;
		conn->tcp.buf = NULL;
		conn->tcp.buf_len = 0;
	}
}

static void destroy(struct mmds_stack *stack, struct connection *conn)
{
	release_reply(stack, conn);
	return_buffer(stack, conn);
	*conn = (struct connection){0};
	metric_add(&stack->metrics->connections_destroyed, 1);
}

void mmds_stack_free(struct mmds_stack *stack)
{
	if (stack == NULL) {
		return;
	}
	for (size_t i = 0; i < ARRAY_COUNT(stack->connections); i++) {
		release_reply(stack, &stack->connections[i]);
	}
	free(stack->memory);
	free(stack);
}

/* --- resets and evictions --- */

/* With a full queue the guest gets none, and finds out by its own timers. */
static void queue_reset(struct mmds_stack *stack, uint16_t port, const struct mmds_address *to,
			const struct mmds_segment *segment)
{
	unsigned at = (stack->first_reset + stack->reset_count) % MMDS_RESETS_MAX;

	if (stack->reset_count < MMDS_RESETS_MAX) {
		stack->resets[at] = (struct reset){port, *to, *segment};
		stack->reset_count++;
	}
}

static void refuse(struct mmds_stack *stack, const struct mmds_packet *packet)
{
	struct mmds_segment rst;

	if (mmds_tcp_refuse(&packet->segment, &rst)) {
		queue_reset(stack, packet->to_port, &packet->from, &rst);
	}
}

static void abort_connection(struct mmds_stack *stack, struct connection *conn)
{
	struct mmds_segment rst;

	mmds_tcp_abort(&conn->tcp, &rst);
	queue_reset(stack, MMDS_PORT, &conn->tcp.peer, &rst);
	destroy(stack, conn);
}

/* Lower ones are evicted first. */
enum rank {
	RANK_HALF_OPEN,
	RANK_QUIET,
	RANK_STALE,
	RANKS, /* not to be evicted now */
};

static enum rank rank_of(const struct connection *conn, uint64_t now_ns)
{
	uint64_t age_ns = now_ns - min_u64(conn->tcp.useful_ns, now_ns);

	if (age_ns >= GRACE_NS && conn->tcp.state == MMDS_TCP_SYN_RECEIVED) {
		return RANK_HALF_OPEN;
	}
	if (age_ns >= GRACE_NS && mmds_tcp_is_quiet(&conn->tcp)) {
		return RANK_QUIET;
	}
	return age_ns >= STALE_NS ? RANK_STALE : RANKS;
}

static struct connection *find_evictable(struct mmds_stack *stack, uint64_t now_ns)
{
	struct connection *found = NULL;
	enum rank best = RANKS;

	for (size_t i = 0; i < ARRAY_COUNT(stack->connections); i++) {
		struct connection *conn = &stack->connections[i];
		enum rank rank = rank_of(conn, now_ns);

		if (rank < best ||
		    (found != NULL && rank == best && conn->tcp.useful_ns < found->tcp.useful_ns)) {
			found = conn;
			best = rank;
		}
	}
	return found;
}

static void lend_buffer(struct mmds_stack *stack, struct connection *conn, uint64_t now_ns)
{
	for (size_t i = 0; i < ARRAY_COUNT(stack->connections) && stack->free_count == 0; i++) {
		struct connection *other = &stack->connections[i];

		if (other != conn && other->tcp.buf != NULL &&
		    rank_of(other, now_ns) == RANK_STALE) {
			abort_connection(stack, other);
		}
	}
	if (stack->free_count > 0) {
		conn->tcp.buf = stack->free_buffers[--stack->free_count];
		conn->tcp.buf_len = 0;
	}
}

/* --- connections --- */

static struct connection *find(struct mmds_stack *stack, const struct mmds_address *peer)
{
	for (size_t i = 0; i < ARRAY_COUNT(stack->connections); i++) {
		struct connection *conn = &stack->connections[i];

		if (conn->tcp.state != MMDS_TCP_FREE && conn->tcp.peer.port == peer->port &&
		    memcmp(conn->tcp.peer.ipv4, peer->ipv4, MMDS_IPV4_LEN) == 0) {
			return conn;
		}
	}
	return NULL;
}

static struct connection *find_free(struct mmds_stack *stack)
{
	for (size_t i = 0; i < ARRAY_COUNT(stack->connections); i++) {
		if (stack->connections[i].tcp.state == MMDS_TCP_FREE) {
			return &stack->connections[i];
		}
	}
	return NULL;
}

static void open_connection(struct mmds_stack *stack, const struct mmds_packet *packet,
			    uint64_t now_ns)
{
	struct connection *conn = find_free(stack);

	if (conn == NULL) {
		conn = find_evictable(stack, now_ns);
		if (conn == NULL) {
			metric_add(&stack->metrics->rx_accepted_unusual, 1);
			return;
		}
		abort_connection(stack, conn);
	}
	conn->tcp.peer = packet->from;
	mmds_tcp_open(&conn->tcp, &packet->segment, stack->service.choose_isn(stack->service.arg),
		      now_ns);
	metric_add(&stack->metrics->connections_created, 1);
}

/* Nothing more is read: what comes is acknowledged and forgotten. */
static void close_connection(struct mmds_stack *stack, struct connection *conn)
{
	return_buffer(stack, conn);
	mmds_tcp_close(&conn->tcp);
}

/* Has the service answer the first `len` bytes. False: there is no answer. */
static bool answer(struct mmds_stack *stack, struct connection *conn, size_t len)
{
	struct mmds_reply *reply = &conn->reply;
	const char *request = (const char *)conn->tcp.buf;

	*reply = (struct mmds_reply){0};
	if (stack->service.answer(stack->service.arg, request, len, reply) < 0) {
		*reply = (struct mmds_reply){0};
		return false;
	}
	if (reply->data == NULL || reply->len == 0 || reply->len > MMDS_REPLY_MAX) {
		return false;
	}
	mmds_tcp_consume(&conn->tcp, len);
	mmds_tcp_reply(&conn->tcp, (const uint8_t *)reply->data, (uint32_t)reply->len);
	return true;
}

/* Reads the next request, if there is one and no reply is under way. False: to be reset. */
static bool serve(struct mmds_stack *stack, struct connection *conn)
{
	struct mmds_tcp *tcp = &conn->tcp;
	bool is_cut = false;
	size_t len = 0;

	if (tcp->reply != NULL || tcp->is_closing) {
		return true;
	}
	if (tcp->buf_len > 0) {
		len = mmds_request_len((const char *)tcp->buf, tcp->buf_len, MMDS_REQUEST_MAX,
				       &is_cut);
	}
	if (len > 0 && !answer(stack, conn, len)) {
		return false;
	}
	if (len == 0 && tcp->buf_len == MMDS_REQUEST_MAX) {
		return false;
	}
	/* Requests that came before the guest's FIN are answered, one after the other. */
	bool is_last = len > 0 ? is_cut || conn->reply.is_last : tcp->has_ended;

	if (is_last) {
		close_connection(stack, conn);
	} else if (tcp->buf_len == 0) {
		return_buffer(stack, conn);
	}
	return true;
}

static void receive_segment(struct mmds_stack *stack, struct connection *conn,
			    const struct mmds_packet *packet, uint64_t now_ns)
{
	struct mmds_tcp *tcp = &conn->tcp;

	if (packet->segment.len > 0 && tcp->buf == NULL && !tcp->is_closing) {
		lend_buffer(stack, conn, now_ns);
	}
	enum mmds_tcp_verdict verdict = mmds_tcp_receive(tcp, &packet->segment, now_ns);

	if (verdict != MMDS_TCP_FINE) {
		metric_add(&stack->metrics->rx_accepted_unusual, 1);
	}
	if (verdict == MMDS_TCP_REFUSED) {
		refuse(stack, packet);
	}
	if (verdict == MMDS_TCP_ENDED) {
		destroy(stack, conn);
		return;
	}
	if (tcp->reply == NULL) {
		release_reply(stack, conn);
	}
	if (!serve(stack, conn)) {
		abort_connection(stack, conn);
	} else if (mmds_tcp_is_over(tcp)) {
		destroy(stack, conn);
	}
}

static void receive_tcp(struct mmds_stack *stack, const struct mmds_packet *packet, uint64_t now_ns)
{
	unsigned opening = MMDS_TCP_SYN | MMDS_TCP_ACK | MMDS_TCP_RST | MMDS_TCP_FIN;
	struct connection *conn;

	if (packet->to_port != MMDS_PORT) {
		metric_add(&stack->metrics->rx_accepted_err, 1);
		refuse(stack, packet);
		return;
	}
	metric_add(&stack->metrics->rx_count, 1);
	conn = find(stack, &packet->from);
	if (conn != NULL) {
		receive_segment(stack, conn, packet, now_ns);
	} else if ((packet->segment.flags & opening) == MMDS_TCP_SYN) {
		open_connection(stack, packet, now_ns);
	} else {
		metric_add(&stack->metrics->rx_accepted_unusual, 1);
		refuse(stack, packet);
	}
}

/* --- frames --- */

bool mmds_stack_takes(const struct mmds_stack *stack, const uint8_t *head, size_t len)
{
	return mmds_packet_is_for(head, len, stack->local.ipv4);
}

void mmds_stack_receive(struct mmds_stack *stack, const struct mmds_frame *frame, uint64_t now_ns)
{
	struct mmds_packet packet;

	metric_add(&stack->metrics->rx_accepted, 1);
	switch (mmds_packet_parse(frame, &packet)) {
	case MMDS_PACKET_ARP:
		stack->asker = packet.from;
		stack->owes_arp = true;
		break;
	case MMDS_PACKET_TCP:
		receive_tcp(stack, &packet, now_ns);
		break;
	case MMDS_PACKET_UNUSUAL:
		metric_add(&stack->metrics->rx_accepted_unusual, 1);
		break;
	case MMDS_PACKET_BAD:
		metric_add(&stack->metrics->rx_accepted_err, 1);
		break;
	case MMDS_PACKET_BAD_ETH:
		metric_add(&stack->metrics->rx_bad_eth, 1);
		break;
	}
}

static size_t send_reset(struct mmds_stack *stack, uint8_t *buf)
{
	const struct reset *reset = &stack->resets[stack->first_reset];
	struct mmds_address from = stack->local;

	from.port = reset->port;
	stack->first_reset = (stack->first_reset + 1) % MMDS_RESETS_MAX;
	stack->reset_count--;
	return mmds_packet_write_tcp(buf, &from, &reset->to, &reset->segment);
}

static size_t send_segment(struct mmds_stack *stack, struct connection *conn, uint8_t *buf,
			   uint64_t now_ns)
{
	struct mmds_segment segment;
	size_t len;

	if (!mmds_tcp_send(&conn->tcp, &segment, now_ns)) {
		return 0;
	}
	len = mmds_packet_write_tcp(buf, &stack->local, &conn->tcp.peer, &segment);
	if (mmds_tcp_is_over(&conn->tcp)) {
		destroy(stack, conn);
	}
	return len;
}

/* The next segment of a connection, each in turn. */
static size_t send_next(struct mmds_stack *stack, uint8_t *buf, uint64_t now_ns)
{
	for (unsigned i = 0; i < MMDS_CONNECTIONS_MAX; i++) {
		unsigned index = (stack->turn + i) % MMDS_CONNECTIONS_MAX;
		struct connection *conn = &stack->connections[index];
		size_t len = 0;

		if (conn->tcp.state != MMDS_TCP_FREE) {
			len = send_segment(stack, conn, buf, now_ns);
		}
		if (len > 0) {
			stack->turn = (index + 1) % MMDS_CONNECTIONS_MAX;
			return len;
		}
	}
	return 0;
}

/* Has all connections whose time is up send again, or gives them up. */
static void expire(struct mmds_stack *stack, uint64_t now_ns)
{
	for (size_t i = 0; i < ARRAY_COUNT(stack->connections); i++) {
		struct connection *conn = &stack->connections[i];

		if (conn->tcp.state != MMDS_TCP_FREE && conn->tcp.deadline_ns <= now_ns &&
		    !mmds_tcp_expire(&conn->tcp, now_ns)) {
			abort_connection(stack, conn);
		}
	}
}

size_t mmds_stack_send(struct mmds_stack *stack, uint8_t *buf, size_t cap, uint64_t now_ns)
{
	size_t len;

	if (cap < MMDS_FRAME_MAX) {
		metric_add(&stack->metrics->tx_errors, 1);
		return 0;
	}
	expire(stack, now_ns);
	if (stack->owes_arp) {
		stack->owes_arp = false;
		len = mmds_packet_write_arp(buf, &stack->local, &stack->asker);
	} else if (stack->reset_count > 0) {
		len = send_reset(stack, buf);
	} else {
		len = send_next(stack, buf, now_ns);
	}
	if (len > 0) {
		metric_add(&stack->metrics->tx_count, 1);
		metric_add(&stack->metrics->tx_frames, 1);
		metric_add(&stack->metrics->tx_bytes, len);
	}
	return len;
}

uint64_t mmds_stack_deadline(const struct mmds_stack *stack)
{
	uint64_t deadline_ns = UINT64_MAX;

	for (size_t i = 0; i < ARRAY_COUNT(stack->connections); i++) {
		const struct mmds_tcp *tcp = &stack->connections[i].tcp;

		if (tcp->state != MMDS_TCP_FREE) {
			deadline_ns = min_u64(deadline_ns, tcp->deadline_ns);
		}
	}
	return deadline_ns;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the socket device.
 *
 * Theory of operation. A connection begins in one of two ways. A client on the host says CONNECT
 * (GREETING), then the guest is asked (REQUESTED) and its RESPONSE opens the connection; or the
 * guest asks, and it is open at once, since its socket was connected before. It ends by an RST from
 * either side, which is the only packet after which both agree that the pair of ports is free
 * [virtio-1.2 §5.10.6.5]:
 *
 *  - The guest closes: SHUTDOWN with both flags. What it sent before goes out, then it gets an RST.
 *  - The host closes: bytes left in the socket go to the guest, then a SHUTDOWN with both flags,
 *    and the connection lingers without a socket until the guest resets it. An RST of ours would
 *    make the guest forget what its application has not read yet, so it comes after a while only if
 *    the guest has passed on everything. Linux tells how far it is when asked for credit.
 *  - One direction closes: SHUTDOWN with one flag, or shutdown(2) on the socket. The other goes on.
 *    If in the end both are closed, it lingers as above.
 *
 * Guest to host: payload goes from the guest's buffers to the socket; what the socket does not take
 * waits in a ring, whose length is what the guest is told as buf_alloc, so that it always fits or
 * the guest has overrun its credit and is reset. Counters of bytes double as positions in the ring,
 * as its length divides 2^32. Host to guest: a read goes straight into the guest's buffers and is
 * never longer than the guest's credit; whatever the guest claims about that, its own connection is
 * all that suffers. A driver's buffers are small beside what a stream has waiting (Linux: 4 KiB).
 * So a connection whose reads fill all that they are offered is offered more chains each time, up
 * to VSOCK_BATCH.
 *
 * A guest that streams has to stop whenever a short ring's worth is on its way. So one that has
 * used up its credit while the host keeps up (is_cramped) may get a longer ring. That changes while
 * the ring is empty, so nothing moves, and only ever to a longer one: buf_alloc may change at any
 * time [virtio-1.2 §5.10.6.3], but a guest could have used already what we would take back.
 *
 * Functions here change the connection and use its socket, nothing else. The multiplexer looks at
 * the result (is there a packet, which events are wanted, is it over) after every call.
 */
#include "devices/virtio/vsock/vsock_conn.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "vmm/base/bytes.h"

enum {
	/* A credit update goes out when the guest knows of less than a part of the ring. */
	LOW_PART = 4,
};

static uint32_t ring_used(const struct vsock_conn *conn)
{
	return conn->tx_count - conn->fwd_count;
}

/* What tx_count may become. */
static uint32_t tx_limit(const struct vsock_conn *conn)
{
	return conn->fwd_count + conn->ring_len;
}

/* How much the guest has room for, as far as it told; 0 also if what it told can't be. */
static uint32_t peer_room(const struct vsock_conn *conn)
{
	uint32_t in_flight = conn->rx_count - conn->peer_fwd_count;

	return in_flight < conn->peer_buf_alloc ? conn->peer_buf_alloc - in_flight : 0;
}

/* Bytes of the host still have a reader in the guest. */
static bool is_receiving(const struct vsock_conn *conn)
{
	return conn->state == VSOCK_CONN_OPEN &&
	       (conn->guest_shutdown & VSOCK_SHUTDOWN_RECEIVE) == 0 &&
	       (conn->host_shutdown & VSOCK_SHUTDOWN_SEND) == 0;
}

static void owe(struct vsock_conn *conn, unsigned packets)
{
	conn->owes |= (uint8_t)packets;
}

void vsock_conn_kill(struct vsock_conn *conn)
{
	bool is_known =
		conn->state != VSOCK_CONN_GREETING && (conn->owes & VSOCK_OWES_REQUEST) == 0;

	if (conn->state == VSOCK_CONN_KILLED || conn->state == VSOCK_CONN_OVER) {
		return;
	}
	if (conn->state != VSOCK_CONN_GREETING) {
		metric_add(&conn->metrics->conns_killed, 1);
	}
	conn->state = is_known ? VSOCK_CONN_KILLED : VSOCK_CONN_OVER;
	conn->owes = is_known ? VSOCK_OWES_RST : 0;
}

/* The host's end is of no more use. */
static void linger(struct vsock_conn *conn)
{
	conn->state = VSOCK_CONN_LINGERING;
	conn->host_shutdown = VSOCK_SHUTDOWN_BOTH;
	conn->is_readable = false;
	conn->fwd_count = conn->tx_count;
	owe(conn, VSOCK_OWES_SHUTDOWN);
}

/* Blocked for credit with something to send: the guest is asked once until it gives some. */
static void ask_for_credit(struct vsock_conn *conn)
{
	if (peer_room(conn) > 0) {
		conn->has_asked_credit = false;
	} else if (is_receiving(conn) && conn->is_readable && !conn->has_asked_credit) {
		conn->has_asked_credit = true;
		owe(conn, VSOCK_OWES_CREDIT_REQUEST);
	}
}

/* --- Guest to host --- */

static ssize_t send_iov(const struct vsock_conn *conn, struct iovec *iov, size_t count)
{
	const struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
	ssize_t sent;

	do {
		sent = sendmsg(conn->source.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (sent < 0 && errno == EINTR);
	return sent;
}

/* Lets the socket, or its absence, know what the guest closed, once all before that is out. */
static void pass_shutdown(struct vsock_conn *conn)
{
	uint8_t news = conn->guest_shutdown & (uint8_t)~conn->done_shutdown;

	if (conn->state != VSOCK_CONN_OPEN) {
		return;
	}
	if ((news & VSOCK_SHUTDOWN_RECEIVE) != 0) {
		conn->done_shutdown |= VSOCK_SHUTDOWN_RECEIVE;
		shutdown(conn->source.fd, SHUT_RD);
	}
	if (ring_used(conn) > 0) {
		return;
	}
	if (conn->guest_shutdown == VSOCK_SHUTDOWN_BOTH) {
		vsock_conn_kill(conn);
		return;
	}
	if ((news & VSOCK_SHUTDOWN_SEND) != 0) {
		conn->done_shutdown |= VSOCK_SHUTDOWN_SEND;
		shutdown(conn->source.fd, SHUT_WR);
	}
	if ((conn->guest_shutdown & conn->host_shutdown & VSOCK_SHUTDOWN_SEND) != 0) {
		linger(conn);
	}
}

static void give_credit(struct vsock_conn *conn)
{
	uint32_t known_room = conn->told_limit - conn->tx_count;

	if (known_room >= conn->ring_len / LOW_PART) {
		return;
	}
	conn->has_run_low = true;
	if (tx_limit(conn) != conn->told_limit) {
		owe(conn, VSOCK_OWES_CREDIT_UPDATE);
	}
}

static void flush_ring(struct vsock_conn *conn)
{
	while (ring_used(conn) > 0) {
		uint32_t at = conn->fwd_count & (conn->ring_len - 1);
		uint32_t first = (uint32_t)min_u64(ring_used(conn), conn->ring_len - at);
		struct iovec iov[] = {{conn->ring + at, first},
				      {conn->ring, ring_used(conn) - first}};
		ssize_t sent = send_iov(conn, iov, ARRAY_COUNT(iov));

		if (sent < 0) {
			if (errno != EAGAIN) {
				metric_add(&conn->metrics->tx_flush_fails, 1);
				vsock_conn_kill(conn);
				return;
			}
			break;
		}
		conn->fwd_count += (uint32_t)sent;
	}
	give_credit(conn);
	pass_shutdown(conn);
}

/* Puts the payload from `offset` on at the ring's end, where the caller knows of room. */
static int put_in_ring(struct vsock_conn *conn, const struct vsock_io *io, uint32_t offset,
		       uint32_t len)
{
	uint32_t at = (conn->tx_count + offset) & (conn->ring_len - 1);
	uint32_t first = (uint32_t)min_u64(len, conn->ring_len - at);

	conn->is_ring_resident = true;
	if (virtq_chain_read(io->mem, io->chain, VSOCK_HEADER_LEN + offset, conn->ring + at,
			     first) < 0) {
		return -1;
	}
	return virtq_chain_read(io->mem, io->chain, VSOCK_HEADER_LEN + offset + first, conn->ring,
				len - first);
}

/* Sends payload from the guest's buffers; *sent is how much the socket took. */
static int send_payload(struct vsock_conn *conn, struct vsock_io *io, uint32_t len, uint32_t *sent)
{
	struct virtq_iov iov = {.iov = io->iov, .cap = ARRAY_COUNT(io->iov)};
	const struct virtq_span span = {VIRTQ_READABLE, VSOCK_HEADER_LEN, len};

	*sent = 0;
	if (virtq_chain_iov(io->mem, io->chain, span, &iov) < 0) {
		return -1;
	}
	ssize_t count = send_iov(conn, iov.iov, iov.count);

	if (count < 0) {
		return errno == EAGAIN ? 0 : -1;
	}
	*sent = (uint32_t)count;
	return 0;
}

static void take_payload(struct vsock_conn *conn, uint32_t len, struct vsock_io *io)
{
	uint32_t sent = 0;

	if (conn->state != VSOCK_CONN_OPEN || len > conn->ring_len - ring_used(conn) ||
	    (conn->guest_shutdown & VSOCK_SHUTDOWN_SEND) != 0) {
		vsock_conn_kill(conn);
		return;
	}
	if (len == 0) {
		return;
	}
	/* Not past bytes that wait already. */
	bool is_sent = ring_used(conn) > 0 || send_payload(conn, io, len, &sent) == 0;

	if (!is_sent || (sent < len && put_in_ring(conn, io, sent, len - sent) < 0)) {
		metric_add(&conn->metrics->tx_write_fails, 1);
		vsock_conn_kill(conn);
		return;
	}
	conn->tx_count += len;
	conn->fwd_count += sent;
	metric_add(&conn->metrics->tx_bytes_count, len);
	give_credit(conn);
}

/* Tells the client that the guest has accepted. */
static void accept_client(struct vsock_conn *conn)
{
	char text[sizeof("OK 4294967295\n")];
	int len = snprintf(text, sizeof(text), "OK %u\n", conn->local_port);
	struct iovec iov = {text, (size_t)len};

	/* A new socket has room for it. */
	if (conn->state != VSOCK_CONN_REQUESTED || (conn->owes & VSOCK_OWES_REQUEST) != 0 ||
	    send_iov(conn, &iov, 1) != len) {
		vsock_conn_kill(conn);
		return;
	}
	conn->state = VSOCK_CONN_OPEN;
}

static void take_shutdown(struct vsock_conn *conn, uint32_t flags)
{
	if (conn->state == VSOCK_CONN_REQUESTED) {
		vsock_conn_kill(conn);
		return;
	}
	conn->guest_shutdown |= (uint8_t)(flags & VSOCK_SHUTDOWN_BOTH);
	if (conn->state == VSOCK_CONN_LINGERING && conn->guest_shutdown == VSOCK_SHUTDOWN_BOTH) {
		vsock_conn_kill(conn);
		return;
	}
	pass_shutdown(conn);
}

void vsock_conn_receive(struct vsock_conn *conn, const struct vsock_header *header,
			struct vsock_io *io)
{
	if (header->op == VSOCK_OP_RST) {
		conn->state = VSOCK_CONN_OVER;
		conn->owes = 0;
	}
	if (conn->state == VSOCK_CONN_KILLED || conn->state == VSOCK_CONN_OVER) {
		return;
	}
	conn->peer_buf_alloc = header->buf_alloc;
	conn->peer_fwd_count = header->fwd_cnt;
	switch (header->op) {
	case VSOCK_OP_RESPONSE:
		accept_client(conn);
		break;
	case VSOCK_OP_SHUTDOWN:
		take_shutdown(conn, header->flags);
		break;
	case VSOCK_OP_RW:
		take_payload(conn, header->len, io);
		break;
	case VSOCK_OP_CREDIT_UPDATE:
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		owe(conn, VSOCK_OWES_CREDIT_UPDATE);
		break;
	default: /* a REQUEST too: the guest has forgotten this connection */
		vsock_conn_kill(conn);
		break;
	}
	ask_for_credit(conn);
}

/* --- Host to guest --- */

/* Whether the host's end is closed in both directions, rather than in the one we have seen. */
static bool is_hung_up(const struct vsock_conn *conn)
{
	struct pollfd poll_fd = {.fd = conn->source.fd};

	return poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLHUP | POLLERR)) != 0;
}

static void take_end(struct vsock_conn *conn)
{
	conn->is_readable = false;
	if (is_hung_up(conn)) {
		linger(conn);
		return;
	}
	conn->host_shutdown |= VSOCK_SHUTDOWN_SEND;
	owe(conn, VSOCK_OWES_SHUTDOWN);
	pass_shutdown(conn);
}

/*
 * The bytes that were read into a first chain of `first` bytes and `more` bytes of followers. A
 * stream that has filled all gets twice as many chains the next time.
 */
static void note_read(struct vsock_conn *conn, struct vsock_io *io, uint32_t count, uint32_t first,
		      uint32_t more)
{
	vsock_io_trim_followers(io, count > first ? count - first : 0);
	/* A stream gives less than was asked for only when it has no more. */
	conn->is_readable = count == first + more;
	conn->batch = (uint8_t)min_u64((io->followers_count + 1) << conn->is_readable, VSOCK_BATCH);
	conn->rx_count += count;
	metric_add(&conn->metrics->rx_bytes_count, count);
	ask_for_credit(conn);
}

/* Reads what chains and credit have room for; false if that was nothing. */
static bool fill_payload(struct vsock_conn *conn, struct vsock_header *header, struct vsock_io *io)
{
	struct virtq_iov iov = {.iov = io->iov, .cap = ARRAY_COUNT(io->iov)};
	uint32_t room = (uint32_t)min_u64(peer_room(conn), VSOCK_PAYLOAD_MAX);
	uint32_t first = (uint32_t)min_u64(io->chain->write_len - VSOCK_HEADER_LEN, room);
	const struct virtq_span span = {VIRTQ_WRITABLE, VSOCK_HEADER_LEN, first};
	uint32_t more = 0;
	ssize_t count = -1;

	if (first == 0) {
		return false;
	}
	if (virtq_chain_iov(io->mem, io->chain, span, &iov) < 0) {
		errno = EFAULT;
	} else {
		more = vsock_io_add_followers(io, &iov, room - first,
					      (unsigned)min_u64(conn->batch, io->batch_max));
		count = readv(conn->source.fd, iov.iov, (int)iov.count);
	}
	if (count > 0) {
		header->len = (uint32_t)min_u64((uint64_t)count, first);
		header->op = VSOCK_OP_RW;
		note_read(conn, io, (uint32_t)count, first, more);
		return true;
	}
	int sys = errno;

	vsock_io_trim_followers(io, 0);
	if (count == 0) {
		take_end(conn);
		return false;
	}
	if (sys != EAGAIN && sys != EINTR) {
		metric_add(&conn->metrics->rx_read_fails, 1);
		vsock_conn_kill(conn);
	}
	conn->is_readable = false;
	return false;
}

/* The first of these that is owed; VSOCK_OP_INVALID if none is. */
static enum vsock_op take_owed(struct vsock_conn *conn)
{
	/* In this order: what opens a connection precedes all else. */
	static const struct {
		uint8_t bit;
		enum vsock_op op;
	} rows[] = {
		{VSOCK_OWES_RST, VSOCK_OP_RST},
		{VSOCK_OWES_REQUEST, VSOCK_OP_REQUEST},
		{VSOCK_OWES_RESPONSE, VSOCK_OP_RESPONSE},
		{VSOCK_OWES_SHUTDOWN, VSOCK_OP_SHUTDOWN},
		{VSOCK_OWES_CREDIT_REQUEST, VSOCK_OP_CREDIT_REQUEST},
		{VSOCK_OWES_CREDIT_UPDATE, VSOCK_OP_CREDIT_UPDATE},
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		if ((conn->owes & rows[i].bit) != 0) {
			conn->owes &= (uint8_t)~rows[i].bit;
			return rows[i].op;
		}
	}
	return VSOCK_OP_INVALID;
}

bool vsock_conn_fill(struct vsock_conn *conn, struct vsock_header *header, struct vsock_io *io)
{
	bool is_opening = (conn->owes & (VSOCK_OWES_REQUEST | VSOCK_OWES_RESPONSE)) != 0;

	*header = (struct vsock_header){
		.src_cid = VSOCK_HOST_CID,
		.src_port = conn->local_port,
		.dst_port = conn->peer_port,
		.type = VSOCK_TYPE_STREAM,
		.buf_alloc = conn->ring_len,
	};
	/* With data that never ends nothing else is owed but credit, which every packet gives. */
	if (is_opening || !is_receiving(conn) || !conn->is_readable ||
	    !fill_payload(conn, header, io)) {
		header->op = (uint16_t)take_owed(conn);
	}
	if (header->op == VSOCK_OP_INVALID) {
		return false;
	}
	if (header->op == VSOCK_OP_SHUTDOWN) {
		header->flags = conn->host_shutdown;
	}
	if (header->op == VSOCK_OP_RST) {
		conn->state = VSOCK_CONN_OVER;
	}
	header->fwd_cnt = conn->fwd_count;
	conn->told_limit = tx_limit(conn);
	conn->owes &= (uint8_t)~VSOCK_OWES_CREDIT_UPDATE;
	return true;
}

/* --- Life --- */

void vsock_conn_open(struct vsock_conn *conn, const struct vsock_header *request)
{
	conn->state = VSOCK_CONN_OPEN;
	conn->peer_buf_alloc = request->buf_alloc;
	conn->peer_fwd_count = request->fwd_cnt;
	owe(conn, VSOCK_OWES_RESPONSE);
}

void vsock_conn_request(struct vsock_conn *conn)
{
	conn->state = VSOCK_CONN_REQUESTED;
	owe(conn, VSOCK_OWES_REQUEST);
}

/*
 * Looks first and takes then, so that what follows the greeting stays in the socket: clients need
 * not wait for our OK. A part of a greeting is taken, as it would else keep the socket ready.
 */
bool vsock_conn_greet(struct vsock_conn *conn, uint32_t *port)
{
	uint8_t *at = conn->greeting + conn->greeting_len;
	size_t room = sizeof(conn->greeting) - conn->greeting_len;
	ssize_t count = recv(conn->source.fd, at, room, MSG_PEEK | MSG_DONTWAIT);

	if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
		return false;
	}
	if (count <= 0) {
		vsock_conn_kill(conn);
		return false;
	}
	const uint8_t *newline = memchr(at, '\n', (size_t)count);
	size_t len = newline != NULL ? (size_t)(newline - at) + 1 : (size_t)count;

	if (recv(conn->source.fd, at, len, MSG_DONTWAIT) != (ssize_t)len) {
		vsock_conn_kill(conn);
		return false;
	}
	conn->greeting_len += (uint8_t)len;
	if (newline != NULL && vsock_greeting_parse(conn->greeting, conn->greeting_len, port)) {
		return true;
	}
	if (newline != NULL || conn->greeting_len == sizeof(conn->greeting)) {
		vsock_conn_kill(conn);
	}
	return false;
}

void vsock_conn_ready(struct vsock_conn *conn, uint32_t ready)
{
	bool is_gone = (ready & (EPOLLHUP | EPOLLERR)) != 0;

	if (conn->state == VSOCK_CONN_REQUESTED && is_gone) {
		vsock_conn_kill(conn);
	}
	/* To a host that has gone nothing gets out: the ring is given up, not waited for. */
	if (conn->state == VSOCK_CONN_OPEN &&
	    ((ready & EPOLLOUT) != 0 || (is_gone && ring_used(conn) > 0))) {
		flush_ring(conn);
	}
	if (conn->state != VSOCK_CONN_OPEN) {
		return;
	}
	if (is_receiving(conn)) {
		/* An end or an error is found by reading, after the bytes before it. */
		conn->is_readable |= is_gone || (ready & EPOLLIN) != 0;
		ask_for_credit(conn);
	} else if (is_gone && (conn->guest_shutdown & VSOCK_SHUTDOWN_RECEIVE) != 0) {
		vsock_conn_kill(conn);
	} else if (is_gone) {
		linger(conn);
	}
}

void vsock_conn_expire(struct vsock_conn *conn)
{
	bool has_unread = conn->rx_count != conn->peer_fwd_count;
	bool is_flushing =
		conn->state == VSOCK_CONN_OPEN && conn->fwd_count != conn->seen_fwd_count;

	if (vsock_conn_waits(conn) == VSOCK_WAIT_REUSE) {
		vsock_conn_drop_ring(conn);
		return;
	}
	conn->seen_fwd_count = conn->fwd_count;
	if (conn->state == VSOCK_CONN_LINGERING && has_unread) {
		owe(conn, VSOCK_OWES_CREDIT_REQUEST);
	} else if (!is_flushing) {
		vsock_conn_kill(conn);
	}
}

void vsock_conn_drop_ring(struct vsock_conn *conn)
{
	if (conn->is_ring_resident) {
		madvise(conn->ring, conn->ring_len, MADV_DONTNEED);
		conn->is_ring_resident = false;
	}
}

/* --- Questions --- */

bool vsock_conn_has_packet(const struct vsock_conn *conn)
{
	return conn->owes != 0 || (is_receiving(conn) && conn->is_readable && peer_room(conn) > 0);
}

bool vsock_conn_needs_socket(const struct vsock_conn *conn)
{
	return conn->state == VSOCK_CONN_GREETING || conn->state == VSOCK_CONN_REQUESTED ||
	       conn->state == VSOCK_CONN_OPEN;
}

bool vsock_conn_is_cramped(const struct vsock_conn *conn)
{
	return conn->state == VSOCK_CONN_OPEN && conn->has_run_low &&
	       conn->ring_len < VSOCK_WIDE_LEN && ring_used(conn) == 0;
}

uint32_t vsock_conn_interest(const struct vsock_conn *conn)
{
	uint32_t interest = 0;

	if (conn->state == VSOCK_CONN_GREETING) {
		return EPOLLIN;
	}
	if (is_receiving(conn) && !conn->is_readable) {
		interest |= EPOLLIN;
	}
	if (conn->state == VSOCK_CONN_OPEN && ring_used(conn) > 0) {
		interest |= EPOLLOUT;
	}
	return interest;
}

enum vsock_wait vsock_conn_waits(const struct vsock_conn *conn)
{
	switch (conn->state) {
	case VSOCK_CONN_GREETING:
		return VSOCK_WAIT_GREETING;
	case VSOCK_CONN_REQUESTED:
		return VSOCK_WAIT_ANSWER;
	case VSOCK_CONN_OPEN:
		if (conn->guest_shutdown == VSOCK_SHUTDOWN_BOTH) {
			return VSOCK_WAIT_FLUSH;
		}
		return conn->is_ring_resident && ring_used(conn) == 0 ? VSOCK_WAIT_REUSE
								      : VSOCK_WAIT_NONE;
	case VSOCK_CONN_LINGERING:
		return VSOCK_WAIT_LINGER;
	case VSOCK_CONN_FREE:
	case VSOCK_CONN_KILLED:
	case VSOCK_CONN_OVER:
		break;
	}
	return VSOCK_WAIT_NONE;
}

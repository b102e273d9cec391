/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any call on a connection in any state, with packets of any kind, and a socket that does anything:
 * calls that fail, or move any part of what they are given. The ring has RING bytes in place of
 * 64 KiB, with any number of them in use at any place: so EVA, which relates no two numbers, sees
 * each offset with its length.
 *
 * Long.
 * Options: -eva-precision 1 -eva-domains cvalue -eva-slevel 100 -eva-split-return full
 */
#include "tests/eva/atomic.h"
#include "tests/eva/epoll.h"
#include "tests/eva/printf.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
	RING = 2
};

static uint8_t ring[RING];
static uint8_t payload[RING + 1];

/* --- In place of the host --- */

/* What the socket does: takes up to so many bytes of each call, and of so many calls. */
static size_t socket_takes;
static unsigned socket_calls;

static ssize_t move(int fd, size_t len)
{
	keep((uint64_t)fd);
	errno = (int)any_between(1, 133);
	if (socket_calls == 0) {
		return -1;
	}
	socket_calls--;
	return (ssize_t)(len < socket_takes ? len : socket_takes);
}

static ssize_t send_pieces(int fd, const struct msghdr *message)
{
	size_t len = 0;

	for (size_t i = 0; i < message->msg_iovlen; i++) {
		const struct iovec *iov = &message->msg_iov[i];

		/*@ assert iov->iov_len == 0 ||
		  @	\valid_read((const char *)iov->iov_base + (0 .. iov->iov_len - 1));
		  @*/
		len += iov->iov_len;
	}
	return move(fd, len);
}

static ssize_t receive(int fd, uint8_t *to, size_t len)
{
	fill(to, len);
	keep((uint64_t)fd);
	errno = (int)any_between(1, 133);
	return Frama_C_long_interval(-1, (long)len);
}

static ssize_t read_any(int fd)
{
	keep((uint64_t)fd);
	errno = (int)any_between(1, 133);
	return Frama_C_long_interval(-1, INT32_MAX);
}

static int poll_any(struct pollfd *at)
{
	at->revents = (short)Frama_C_interval(0, INT16_MAX);
	return Frama_C_interval(-1, 1);
}

#define MADV_DONTNEED 4
#define sendmsg(fd, message, flags) send_pieces(fd, message)
#define recv(fd, to, len, flags) receive(fd, to, len)
#define readv(fd, iov, count) read_any(fd)
#define poll(at, count, timeout) poll_any(at)
#define shutdown(fd, how) keep((uint64_t)(fd) + (how))
#define madvise(at, len, advice) keep((uint64_t)(len) + (advice))

/* A port's number fits. */
#undef snprintf
#define snprintf(to, size, ...) (format(to, size) % (int)(size))

#include "devices/virtio/vsock/vsock_packet.c"

#include "devices/virtio/vsock/vsock_conn.c"

/* --- In place of vsock_io.c and virtq_chain.c --- */

uint32_t vsock_io_add_followers(struct vsock_io *io, struct virtq_iov *iov, uint32_t room,
				unsigned batch)
{
	io->followers_count = (unsigned)any_between(0, VSOCK_BATCH - 1);
	keep(iov->count + batch);
	return (uint32_t)any_between(0, room);
}

void vsock_io_trim_followers(struct vsock_io *io, uint32_t len)
{
	keep(len);
	io->followers_count = (unsigned)any_between(0, io->followers_count);
}

int virtq_chain_read(const struct gmem *mem, const struct virtq_chain *chain, uint32_t offset,
		     void *buf, size_t len)
{
	(void)mem;
	keep(chain->head + offset);
	/*@ assert len == 0 || \valid((char *)buf + (0 .. len - 1)); */
	(void)buf;
	return any_bool() ? 0 : -1;
}

int virtq_chain_iov(struct gmem *mem, const struct virtq_chain *chain, struct virtq_span span,
		    struct virtq_iov *iov)
{
	(void)mem;
	keep(chain->head + span.offset);
	if (any_bool()) {
		return -1;
	}
	iov->iov[0] = (struct iovec){payload, span.len};
	iov->count = 1;
	return 0;
}

/* --- The connection --- */

static struct vsock_metrics metrics;
static struct vsock_conn conn;
static struct vsock_io io;
static struct virtq_chain chain;

static void make(uint32_t fwd_count, uint32_t used)
{
	conn = (struct vsock_conn){
		.source = {.fd = 3},
		.metrics = &metrics,
		.ring = ring,
		.ring_len = RING,
		.state = any_between(VSOCK_CONN_GREETING, VSOCK_CONN_OVER),
		.local_port = any_u32(),
		.peer_port = any_u32(),
		.owes = (uint8_t)any_u32(),
		.host_shutdown = (uint8_t)any_between(0, VSOCK_SHUTDOWN_BOTH),
		.guest_shutdown = (uint8_t)any_between(0, VSOCK_SHUTDOWN_BOTH),
		.done_shutdown = (uint8_t)any_between(0, VSOCK_SHUTDOWN_BOTH),
		.is_readable = any_bool(),
		.has_asked_credit = any_bool(),
		.is_ring_resident = any_bool(),
		.has_run_low = any_bool(),
		.batch = (uint8_t)any_u32(),
		.rx_count = any_u32(),
		.peer_buf_alloc = any_u32(),
		.peer_fwd_count = any_u32(),
		.tx_count = fwd_count + used,
		.fwd_count = fwd_count,
		.told_limit = any_u32(),
		.seen_fwd_count = any_u32(),
	};
	chain.head = (uint16_t)any_u32();
	chain.write_len = (uint32_t)any_between(VSOCK_HEADER_LEN, UINT32_MAX);
	io.chain = &chain;
	io.batch_max = (unsigned)any_between(1, VSOCK_BATCH);
	io.followers_count = 0;
}

static void make_header(struct vsock_header *header)
{
	*header = (struct vsock_header){
		.op = (uint16_t)any_u32(),
		.flags = any_u32(),
		.buf_alloc = any_u32(),
		.fwd_cnt = any_u32(),
	};
}

static void look(void)
{
	keep(vsock_conn_has_packet(&conn));
	keep(vsock_conn_needs_socket(&conn));
	keep(vsock_conn_is_cramped(&conn));
	keep(vsock_conn_interest(&conn));
	keep(vsock_conn_waits(&conn));
}

/* What goes to the socket, in the state that `make` makes. */
static void use(uint32_t fwd_count, uint32_t used, size_t takes, unsigned calls)
{
	struct vsock_header header;

	for (uint32_t len = 0; len <= RING + 1; len++) {
		make(fwd_count, used);
		make_header(&header);
		header.len = len;
		socket_takes = takes;
		socket_calls = calls;
		vsock_conn_receive(&conn, &header, &io);
		look();
	}
	socket_calls = calls;
	make(fwd_count, used);
	vsock_conn_ready(&conn, any_u32());
	look();
}

static void use_others(uint32_t fwd_count, uint32_t used)
{
	struct vsock_header header;

	make(fwd_count, used);
	if (vsock_conn_fill(&conn, &header, &io)) {
		keep(header.op + header.len + header.fwd_cnt);
	}
	make(fwd_count, used);
	vsock_conn_expire(&conn);
	make(fwd_count, used);
	vsock_conn_kill(&conn);
}

static void begin(void)
{
	struct vsock_header header;
	uint32_t port = 0;

	make(0, 0);
	make_header(&header);
	vsock_conn_open(&conn, &header);
	make(0, 0);
	vsock_conn_request(&conn);
	/*@ loop unroll VSOCK_GREETING_MAX + 1; */
	for (uint8_t len = 0; len <= VSOCK_GREETING_MAX; len++) {
		make(0, 0);
		conn.state = VSOCK_CONN_GREETING;
		fill(conn.greeting, sizeof(conn.greeting));
		conn.greeting_len = len;
		if (vsock_conn_greet(&conn, &port)) {
			keep(port);
		}
		/*@ assert conn.greeting_len <= VSOCK_GREETING_MAX; */
	}
}

void main(void)
{
	begin();
	/* Positions in the ring, where counters wrap too. */
	/*@ loop unroll RING; */
	for (uint32_t i = 0; i < RING; i++) {
		/*@ loop unroll RING + 1; */
		for (uint32_t used = 0; used <= RING; used++) {
			use(UINT32_MAX - i, used, 0, 0);
			use(UINT32_MAX - i, used, 1, 1);
			use(UINT32_MAX - i, used, 1, RING);
			use_others(UINT32_MAX - i, used);
		}
	}
}

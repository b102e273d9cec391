/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multiplexer of the socket device.
 *
 * Theory of operation. Connections live in a table that is mapped once, with a ring for each, and a
 * few long rings for those that stream (settle): what was never used costs no memory, and none is
 * allocated later. A ring that is empty for a while, or whose connection ends, gives its memory
 * back. A place is in the list of free ones, or its connection is found by its pair of ports in a
 * hash table of chains. However a guest chooses ports to make these chains long, they have at most
 * 1023 links.
 *
 * Whatever happens to a connection, settle() follows and derives all else from its state: whether
 * its socket is to be closed, whether it is in the list of those with a packet for the guest, how
 * long it may wait, which events it wants, whether it is over. So no queue of ours can overflow or
 * get out of step with the connections. Only RSTs that belong to no connection need a queue; while
 * that is full the guest's packets have to wait, until it takes some of ours [virtio-1.2
 * §5.10.6.1].
 *
 * The list of the ready is served in turn, one packet each; one that is alone there may fill
 * several of the guest's buffers by one read (vsock_io.c). A socket that can be read is not waited
 * for while the guest has no buffers or gives no credit, and is again once it was read empty: so
 * the loop does not spin.
 *
 * All waits in a list are equally long, so lists of waits are in order, and the timer is for the
 * first. It is only set for an earlier time, never for a later one: a wait that ended leaves a
 * spare expiry at most.
 *
 * Clients that connect and say nothing can't keep others away: in a full table the one that has
 * been silent longest makes room, then the one whose host's end has been closed longest.
 */
#include "devices/virtio/vsock/vsock_mux.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

enum {
	ACCEPT_BATCH = 32,
	MAP_ALIGN = 64 * 1024, /* of the rings: a multiple of any page size */
};

static const uint64_t waiting_ms = 2000; /* [compat] */
/* People type it, too. */
static const uint64_t greeting_ms = 60000;
static const uint64_t accept_retry_ms = 100;

/* --- Lists --- */

static void list_add(struct vsock_list *list, struct vsock_conn *conn)
{
	struct vsock_link *link = &conn->links[list->link];

	*link = (struct vsock_link){.list = list, .prev = list->last};
	if (list->last != NULL) {
		list->last->links[list->link].next = conn;
	} else {
		list->first = conn;
	}
	list->last = conn;
}

/* From whatever list it is in by that link. */
static void list_remove(struct vsock_conn *conn, unsigned which)
{
	struct vsock_link *link = &conn->links[which];
	struct vsock_list *list = link->list;

	if (list == NULL) {
		return;
	}
	if (link->prev != NULL) {
		link->prev->links[which].next = link->next;
	} else {
		list->first = link->next;
	}
	if (link->next != NULL) {
		link->next->links[which].prev = link->prev;
	} else {
		list->last = link->prev;
	}
	*link = (struct vsock_link){0};
}

/* --- The hash of ports --- */

static struct vsock_conn **bucket(struct vsock_mux *mux, uint32_t local_port, uint32_t peer_port)
{
	uint32_t hash = (local_port * 31 + peer_port) * UINT32_C(2654435761);

	return &mux->buckets[(hash >> 16) % VSOCK_BUCKETS];
}

static struct vsock_conn *find(struct vsock_mux *mux, uint32_t local_port, uint32_t peer_port)
{
	struct vsock_conn *conn = *bucket(mux, local_port, peer_port);

	while (conn != NULL && (conn->local_port != local_port || conn->peer_port != peer_port)) {
		conn = conn->hash_next;
	}
	return conn;
}

static void enter_ports(struct vsock_mux *mux, struct vsock_conn *conn, uint32_t local_port,
			uint32_t peer_port)
{
	struct vsock_conn **head = bucket(mux, local_port, peer_port);

	conn->local_port = local_port;
	conn->peer_port = peer_port;
	conn->hash_next = *head;
	*head = conn;
	metric_add(&mux->params.metrics->conns_added, 1);
}

static void leave_ports(struct vsock_mux *mux, struct vsock_conn *conn)
{
	struct vsock_conn **at = bucket(mux, conn->local_port, conn->peer_port);

	while (*at != NULL && *at != conn) {
		at = &(*at)->hash_next;
	}
	if (*at == conn) {
		*at = conn->hash_next;
		metric_add(&mux->params.metrics->conns_removed, 1);
	}
}

static bool is_local_port_used(const struct vsock_mux *mux, uint32_t port)
{
	for (size_t i = 0; i < mux->used; i++) {
		if (mux->conns[i].state != VSOCK_CONN_FREE && mux->conns[i].local_port == port) {
			return true;
		}
	}
	return false;
}

/* Goes up from 1 << 30 and round, over those that are in use, of which there are few. */
static uint32_t choose_local_port(struct vsock_mux *mux)
{
	uint32_t port;

	do {
		port = VSOCK_LOCAL_PORT_FIRST | mux->next_port;
		mux->next_port = (mux->next_port + 1) & (VSOCK_LOCAL_PORT_FIRST - 1);
	} while (is_local_port_used(mux, port));
	return port;
}

/* --- Time --- */

static uint64_t now_ns(const struct vsock_mux *mux)
{
	return mux->params.clock->now_ns(CLOCK_MONOTONIC);
}

static void set_timer(struct vsock_mux *mux, uint64_t at_ns)
{
	uint64_t now = now_ns(mux);
	uint64_t wait_ns = at_ns > now ? at_ns - now : 1;

	if (mux->timer_ns == 0 || at_ns < mux->timer_ns) {
		mux->timer_ns = at_ns;
		ev_timer_set(&mux->timer, wait_ns, 0);
	}
}

static void start_wait(struct vsock_mux *mux, struct vsock_conn *conn)
{
	bool is_greeting = conn->wait == VSOCK_WAIT_GREETING;

	conn->deadline_ns = now_ns(mux) + (is_greeting ? greeting_ms : waiting_ms) * NS_PER_MS;
	list_add(is_greeting ? &mux->greeting : &mux->waiting, conn);
	set_timer(mux, conn->deadline_ns);
}

static void settle_wait(struct vsock_mux *mux, struct vsock_conn *conn)
{
	enum vsock_wait wait = vsock_conn_waits(conn);

	if (wait == conn->wait) {
		return;
	}
	list_remove(conn, VSOCK_LINK_TIMER);
	conn->wait = wait;
	if (wait != VSOCK_WAIT_NONE) {
		start_wait(mux, conn);
	}
}

/* --- Places --- */

static void drop_socket(struct vsock_mux *mux, struct vsock_conn *conn)
{
	if (conn->source.fd < 0) {
		return;
	}
	ev_del(mux->params.loop, &conn->source);
	fd_close(&conn->source.fd);
	/* A descriptor has become free. */
	if (mux->accept_at_ns != 0) {
		mux->accept_at_ns = 0;
		vsock_mux_listen(mux, mux->is_listening);
	}
}

static void release(struct vsock_mux *mux, struct vsock_conn *conn)
{
	drop_socket(mux, conn);
	leave_ports(mux, conn);
	list_remove(conn, VSOCK_LINK_READY);
	list_remove(conn, VSOCK_LINK_TIMER);
	vsock_conn_drop_ring(conn);
	if (conn->ring_len == VSOCK_WIDE_LEN) {
		mux->wide_free |= UINT32_C(1) << (conn->ring - mux->wide_rings) / VSOCK_WIDE_LEN;
	}
	conn->state = VSOCK_CONN_FREE;
	conn->owes = 0;
	list_add(&mux->free, conn);
}

static void list_if_ready(struct vsock_mux *mux, struct vsock_conn *conn)
{
	bool is_listed = conn->links[VSOCK_LINK_READY].list == &mux->ready;
	bool has_packet = vsock_conn_has_packet(conn);

	if (has_packet && !is_listed) {
		list_add(&mux->ready, conn);
	} else if (!has_packet && is_listed) {
		list_remove(conn, VSOCK_LINK_READY);
	}
}

static void widen(struct vsock_mux *mux, struct vsock_conn *conn)
{
	if (mux->wide_free == 0 || !vsock_conn_is_cramped(conn)) {
		return;
	}
	unsigned index = (unsigned)__builtin_ctz(mux->wide_free);

	mux->wide_free &= ~(UINT32_C(1) << index);
	vsock_conn_drop_ring(conn);
	conn->ring = mux->wide_rings + (size_t)index * VSOCK_WIDE_LEN;
	conn->ring_len = VSOCK_WIDE_LEN;
}

static void settle(struct vsock_mux *mux, struct vsock_conn *conn)
{
	if (conn->state == VSOCK_CONN_FREE) {
		return;
	}
	if (conn->state == VSOCK_CONN_OVER) {
		release(mux, conn);
		return;
	}
	if (!vsock_conn_needs_socket(conn)) {
		drop_socket(mux, conn);
		vsock_conn_drop_ring(conn);
	}
	widen(mux, conn);
	list_if_ready(mux, conn);
	settle_wait(mux, conn);
	ev_mod(mux->params.loop, &conn->source, vsock_conn_interest(conn));
}

static void reply_reset(struct vsock_mux *mux, uint32_t local_port, uint32_t peer_port)
{
	if (mux->reply_count == VSOCK_REPLIES_MAX) {
		return;
	}
	mux->replies[(mux->reply_first + mux->reply_count) % VSOCK_REPLIES_MAX] =
		(struct vsock_reply){local_port, peer_port};
	mux->reply_count++;
}

/* Frees the place of a connection that can best be done without, if there is one. */
static void make_room(struct vsock_mux *mux)
{
	struct vsock_conn *conn = mux->greeting.first;

	if (conn == NULL && !vsock_mux_is_full(mux)) {
		conn = mux->waiting.first;
		while (conn != NULL && conn->wait != VSOCK_WAIT_LINGER) {
			conn = conn->links[VSOCK_LINK_TIMER].next;
		}
		if (conn != NULL) {
			reply_reset(mux, conn->local_port, conn->peer_port);
		}
	}
	if (conn != NULL) {
		release(mux, conn);
	}
}

static struct vsock_conn *take_place(struct vsock_mux *mux)
{
	if (mux->free.first == NULL && mux->used == VSOCK_CONNS_MAX) {
		make_room(mux);
	}
	struct vsock_conn *conn = mux->free.first;

	if (conn != NULL) {
		list_remove(conn, mux->free.link);
	} else if (mux->used < VSOCK_CONNS_MAX) {
		conn = &mux->conns[mux->used++];
	}
	return conn;
}

/* --- Clients of the host --- */

static void on_conn(struct ev_source *source, uint32_t ready);

/* Takes over *fd. The connection has a place and a socket, and is yet to get a state. */
static struct vsock_conn *new_conn(struct vsock_mux *mux, int *fd)
{
	struct vsock_conn *conn = take_place(mux);
	struct error err = {0};

	if (conn == NULL) {
		log_guest_warn("The vsock device has no room for more than %d connections.",
			       VSOCK_CONNS_MAX);
		return NULL;
	}
	*conn = (struct vsock_conn){
		.source = {.fd = fd_take(fd), .fn = on_conn, .is_frozen_with_guest = true},
		.metrics = mux->params.metrics,
		.ring = mux->rings + (size_t)(conn - mux->conns) * VSOCK_RING_LEN,
		.ring_len = VSOCK_RING_LEN,
		.told_limit = VSOCK_RING_LEN,
		.mux = mux,
	};
	if (ev_add(mux->params.loop, &conn->source, 0, &err) < 0) {
		log_guest_warn("A vsock connection was dropped: %s.", err.msg);
		metric_add(&mux->params.metrics->conn_event_fails, 1);
		release(mux, conn);
		return NULL;
	}
	return conn;
}

static void go_on_greeting(struct vsock_mux *mux, struct vsock_conn *conn)
{
	uint32_t peer_port;

	if (vsock_conn_greet(conn, &peer_port)) {
		enter_ports(mux, conn, choose_local_port(mux), peer_port);
		vsock_conn_request(conn);
	}
}

static void on_conn(struct ev_source *source, uint32_t ready)
{
	struct vsock_conn *conn = container_of(source, struct vsock_conn, source);
	struct vsock_mux *mux = conn->mux;

	if (!mux->params.owner.enter(mux->params.owner.arg)) {
		return;
	}
	/* Entering may have closed it. */
	if (conn->state == VSOCK_CONN_GREETING) {
		go_on_greeting(mux, conn);
	} else if (conn->state != VSOCK_CONN_FREE) {
		vsock_conn_ready(conn, ready);
	}
	/* Before settle(): mostly all is read at once, and the mask of events can stay. */
	list_if_ready(mux, conn);
	mux->params.owner.serve(mux->params.owner.arg);
	settle(mux, conn);
	mux->params.owner.leave(mux->params.owner.arg);
}

/* Those that the client caused, or that are over by the next try. */
static bool is_passing(int sys)
{
	return sys == EAGAIN || sys == EINTR || sys == ECONNABORTED;
}

static void pause_accepting(struct vsock_mux *mux)
{
	log_guest_warn("The vsock device can't accept connections now: %s (os error %d).",
		       error_os_text(errno), errno);
	metric_add(&mux->params.metrics->muxer_event_fails, 1);
	mux->accept_at_ns = now_ns(mux) + accept_retry_ms * NS_PER_MS;
	ev_mod(mux->params.loop, &mux->listener, 0);
	set_timer(mux, mux->accept_at_ns);
}

static void add_client(struct vsock_mux *mux, int *fd)
{
	struct vsock_conn *conn = new_conn(mux, fd);

	if (conn != NULL) {
		conn->state = VSOCK_CONN_GREETING;
		settle(mux, conn);
	}
}

/* Leaves some descriptors to others: a guest with many connections must not use up all. */
static void check_descriptor(const struct vsock_mux *mux, int *fd)
{
	if (*fd >= mux->fd_end) {
		fd_close(fd);
		errno = EMFILE;
	}
}

static void accept_clients(struct vsock_mux *mux)
{
	for (unsigned i = 0; i < ACCEPT_BATCH; i++) {
		AUTO_FD fd = accept4(mux->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		check_descriptor(mux, &fd);
		if (fd >= 0) {
			add_client(mux, &fd);
		} else if (!is_passing(errno)) {
			pause_accepting(mux);
			return;
		} else if (errno == EAGAIN) {
			return;
		}
	}
}

static void on_client(struct ev_source *source, uint32_t ready)
{
	struct vsock_mux *mux = container_of(source, struct vsock_mux, listener);

	(void)ready;
	if (mux->params.owner.enter(mux->params.owner.arg)) {
		accept_clients(mux);
		mux->params.owner.leave(mux->params.owner.arg);
	}
}

void vsock_mux_listen(struct vsock_mux *mux, bool is_on)
{
	mux->is_listening = is_on;
	ev_mod(mux->params.loop, &mux->listener, is_on && mux->accept_at_ns == 0 ? EPOLLIN : 0);
}

/* --- The timer --- */

static void expire_first(struct vsock_mux *mux, struct vsock_list *list, uint64_t now)
{
	while (list->first != NULL && list->first->deadline_ns <= now) {
		struct vsock_conn *conn = list->first;

		vsock_conn_expire(conn);
		/* If it is to wait again, then at the list's end. */
		list_remove(conn, VSOCK_LINK_TIMER);
		conn->wait = VSOCK_WAIT_NONE;
		settle(mux, conn);
	}
}

static void expire(struct vsock_mux *mux)
{
	uint64_t now = now_ns(mux);

	mux->timer_ns = 0;
	expire_first(mux, &mux->greeting, now);
	expire_first(mux, &mux->waiting, now);
	if (mux->accept_at_ns != 0 && mux->accept_at_ns <= now) {
		mux->accept_at_ns = 0;
		vsock_mux_listen(mux, mux->is_listening);
	}
	if (mux->greeting.first != NULL) {
		set_timer(mux, mux->greeting.first->deadline_ns);
	}
	if (mux->waiting.first != NULL) {
		set_timer(mux, mux->waiting.first->deadline_ns);
	}
	if (mux->accept_at_ns != 0) {
		set_timer(mux, mux->accept_at_ns);
	}
}

static void on_timer(struct ev_timer *timer)
{
	struct vsock_mux *mux = container_of(timer, struct vsock_mux, timer);

	if (mux->params.owner.enter(mux->params.owner.arg)) {
		expire(mux);
		mux->params.owner.serve(mux->params.owner.arg);
		mux->params.owner.leave(mux->params.owner.arg);
	} else {
		mux->timer_ns = 0;
	}
}

/* --- Packets --- */

/* Logs each cause once, until a connection succeeds or fails for another one. */
static void report_connect(struct vsock_mux *mux, const char *path, int sys)
{
	if (sys != 0 && sys != mux->connect_failure) {
		log_guest_warn("The guest can't connect to %s: %s (os error %d).", path,
			       error_os_text(sys), sys);
	}
	mux->connect_failure = sys;
}

/* Connects to where the host serves this port; -1 if it does not. */
static int connect_host(struct vsock_mux *mux, uint32_t port)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int len =
		snprintf(address.sun_path, sizeof(address.sun_path), "%s_%u", mux->uds_path, port);

	if (len < 0 || (size_t)len >= sizeof(address.sun_path)) {
		return -1;
	}
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	check_descriptor(mux, &fd);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		report_connect(mux, address.sun_path, errno);
		return -1;
	}
	report_connect(mux, address.sun_path, 0);
	return fd_take(&fd);
}

static void open_from_guest(struct vsock_mux *mux, const struct vsock_header *header)
{
	AUTO_FD fd = connect_host(mux, header->dst_port);
	struct vsock_conn *conn = fd >= 0 ? new_conn(mux, &fd) : NULL;

	if (conn == NULL) {
		reply_reset(mux, header->dst_port, header->src_port);
		return;
	}
	enter_ports(mux, conn, header->dst_port, header->src_port);
	vsock_conn_open(conn, header);
	settle(mux, conn);
}

void vsock_mux_receive(struct vsock_mux *mux, const struct vsock_header *header,
		       struct vsock_io *io)
{
	uint32_t room = io->chain->read_len - VSOCK_HEADER_LEN;
	enum vsock_verdict verdict = vsock_header_check(header, mux->params.guest_cid, room);
	struct vsock_conn *conn = find(mux, header->dst_port, header->src_port);

	if (verdict == VSOCK_DROP) {
		log_guest_warn("The vsock device dropped a packet from %llu to %llu of %u bytes.",
			       (unsigned long long)header->src_cid,
			       (unsigned long long)header->dst_cid, header->len);
		return;
	}
	/* Another type is another world of ports: no connection of ours is meant. */
	if (header->type != VSOCK_TYPE_STREAM) {
		conn = NULL;
	}
	if (conn != NULL) {
		if (verdict == VSOCK_ACCEPT) {
			vsock_conn_receive(conn, header, io);
		} else {
			vsock_conn_kill(conn);
		}
		settle(mux, conn);
	} else if (verdict == VSOCK_ACCEPT && header->op == VSOCK_OP_REQUEST) {
		open_from_guest(mux, header);
	} else if (header->op != VSOCK_OP_RST) {
		reply_reset(mux, header->dst_port, header->src_port);
	}
}

bool vsock_mux_is_full(const struct vsock_mux *mux)
{
	return mux->reply_count == VSOCK_REPLIES_MAX;
}

bool vsock_mux_has_packet(const struct vsock_mux *mux)
{
	return mux->reply_count > 0 || mux->ready.first != NULL;
}

uint32_t vsock_mux_unanswered(const struct vsock_mux *mux, struct vsock_reply *list, uint32_t max)
{
	const struct vsock_conn *conn = mux->ready.first;
	uint32_t count = 0;

	for (unsigned i = 0; i < mux->reply_count && count < max; i++) {
		list[count++] = mux->replies[(mux->reply_first + i) % VSOCK_REPLIES_MAX];
	}
	for (; conn != NULL && count < max; conn = conn->links[VSOCK_LINK_READY].next) {
		if ((conn->owes & (VSOCK_OWES_RESPONSE | VSOCK_OWES_RST)) != 0) {
			list[count++] = (struct vsock_reply){conn->local_port, conn->peer_port};
		}
	}
	return count;
}

void vsock_mux_refuse(struct vsock_mux *mux, const struct vsock_reply *reply)
{
	reply_reset(mux, reply->local_port, reply->peer_port);
}

static void take_reply(struct vsock_mux *mux, struct vsock_header *header)
{
	const struct vsock_reply *reply = &mux->replies[mux->reply_first];

	*header = (struct vsock_header){
		.src_cid = VSOCK_HOST_CID,
		.src_port = reply->local_port,
		.dst_port = reply->peer_port,
		.type = VSOCK_TYPE_STREAM,
		.op = VSOCK_OP_RST,
	};
	mux->reply_first = (mux->reply_first + 1) % VSOCK_REPLIES_MAX;
	mux->reply_count--;
}

/* The next packet of the connection whose turn it is; those without one lose theirs. */
static bool take_from_ready(struct vsock_mux *mux, struct vsock_header *header, struct vsock_io *io)
{
	bool is_filled = false;

	while (!is_filled && mux->ready.first != NULL) {
		struct vsock_conn *conn = mux->ready.first;

		/* With others a connection has one packet a turn. */
		io->batch_max = conn == mux->ready.last ? VSOCK_BATCH : 1;
		is_filled = vsock_conn_fill(conn, header, io);
		list_remove(conn, VSOCK_LINK_READY);
		if (!is_filled && vsock_conn_has_packet(conn)) {
			/* This chain has no room for data; the next one may. */
			list_add(&mux->ready, conn);
			return false;
		}
		settle(mux, conn);
	}
	return is_filled;
}

/* Packets like the first, but for their lengths. Their chains were checked to be RAM. */
static void write_followers(const struct vsock_io *io, struct vsock_header *header)
{
	uint8_t bytes[VSOCK_HEADER_LEN];

	for (unsigned i = 0; i < io->followers_count; i++) {
		header->len = io->followers[i].len;
		vsock_header_encode(header, bytes);
		(void)!gmem_write(io->mem, io->followers[i].gpa, bytes, sizeof(bytes));
	}
}

bool vsock_mux_fill(struct vsock_mux *mux, struct vsock_io *io, uint32_t *len)
{
	struct vsock_header header;
	uint8_t bytes[VSOCK_HEADER_LEN];

	if (mux->reply_count > 0) {
		take_reply(mux, &header);
	} else if (!take_from_ready(mux, &header, io)) {
		return false;
	}
	header.dst_cid = mux->params.guest_cid;
	vsock_header_encode(&header, bytes);
	*len = VSOCK_HEADER_LEN + header.len;
	write_followers(io, &header);
	return virtq_chain_write(io->mem, io->chain, 0, bytes, sizeof(bytes)) == 0;
}

/* --- Life --- */

void vsock_mux_close_all(struct vsock_mux *mux)
{
	for (size_t i = 0; i < mux->used; i++) {
		if (mux->conns[i].state != VSOCK_CONN_FREE) {
			release(mux, &mux->conns[i]);
		}
	}
	mux->reply_first = 0;
	mux->reply_count = 0;
}

static int map_places(struct vsock_mux *mux, struct error *err)
{
	size_t conns_len = align_up(VSOCK_CONNS_MAX * sizeof(struct vsock_conn), MAP_ALIGN);
	size_t rings_len = (size_t)VSOCK_CONNS_MAX * VSOCK_RING_LEN;
	size_t len = conns_len + rings_len + (size_t)VSOCK_WIDE_MAX * VSOCK_WIDE_LEN;
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED) {
		return error_sys(err, "Cannot reserve memory for vsock connections");
	}
	/* Else a first touch may cost 2 MiB. A kernel without such pages does not know it. */
	(void)madvise(map, len, MADV_NOHUGEPAGE);
	mux->conns = map;
	mux->rings = (uint8_t *)map + conns_len;
	mux->wide_rings = mux->rings + rings_len;
	mux->wide_free = (UINT32_C(1) << VSOCK_WIDE_MAX) - 1;
	mux->map_len = len;
	return 0;
}

int vsock_mux_init(struct vsock_mux *mux, const struct vsock_mux_params *params, struct error *err)
{
	mux->params = *params;
	mux->fd_end = fd_guest_end();
	mux->free.link = VSOCK_LINK_READY; /* a free one is not ready */
	mux->ready.link = VSOCK_LINK_READY;
	mux->greeting.link = VSOCK_LINK_TIMER;
	mux->waiting.link = VSOCK_LINK_TIMER;
	mux->listener = (struct ev_source){
		.fd = params->listener, .fn = on_client, .is_frozen_with_guest = true};
	mux->timer = (struct ev_timer){.fn = on_timer, .is_frozen_with_guest = true};
	mux->params.uds_path = NULL; /* not ours */
	mux->uds_path = strdup(params->uds_path);
	if (mux->uds_path == NULL) {
		return error_sys(err, "Cannot create the multiplexer of the vsock device");
	}
	if (map_places(mux, err) < 0 || ev_timer_init(&mux->timer, params->loop, err) < 0) {
		return -1;
	}
	return ev_add(params->loop, &mux->listener, 0, err);
}

void vsock_mux_destroy(struct vsock_mux *mux)
{
	if (mux->params.loop == NULL) {
		return;
	}
	if (mux->conns != NULL) {
		vsock_mux_close_all(mux);
		munmap(mux->conns, mux->map_len);
	}
	ev_del(mux->params.loop, &mux->listener);
	ev_timer_destroy(&mux->timer);
	free(mux->uds_path);
	*mux = (struct vsock_mux){0};
}

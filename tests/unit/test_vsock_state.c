/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A socket device that is saved and loaded: its driver learns that the connections are no more, and
 * new ones work once it knows.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/virtio/core/virtio_internal.h"
#include "devices/virtio/vsock/vsock.h"
#include "devices/virtio/vsock/vsock_packet.h"
#include "tests/lib/vdriver.h"
#include "tests/unit/state_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	RX,
	TX,
	EVENT
};

enum {
	CID = 3,
	PORT = 52,
	BUFFER_LEN = 4096,
	EVENTS = 8, /* buffers that Linux keeps in the queue */
	EVENT_LEN = 4,
	HOST_PORT = 1 << 30,
};

static struct vdriver driver;
static struct state_bed bed;
static struct vsock *vsock;
static char dir[64];
static char path[80];
static int listener;

static void make(void)
{
	struct vsock_config config = {.guest_cid = CID, .uds_path = path};
	struct error err = {0};

	cr_assert(vsock_new(vdriver_env(&driver), &config, listener, &vsock, &err) == 0, "%s",
		  err.msg);
}

static void start(uint64_t features)
{
	const struct vbuf event = {NULL, EVENT_LEN, VBUF_WRITABLE};
	const struct vbuf packet = {NULL, BUFFER_LEN, VBUF_WRITABLE};

	cr_assert(vdriver_start(&driver, vsock_virtio(vsock), features));
	for (unsigned i = 0; i < EVENTS; i++) {
		vdriver_add(&driver, EVENT, &event, 1);
	}
	for (unsigned i = 0; i < 16; i++) {
		vdriver_add(&driver, RX, &packet, 1);
	}
	vdriver_kick(&driver, EVENT);
	vdriver_kick(&driver, RX);
	vdriver_run(&driver);
}

static void set_up(void)
{
	struct error err = {0};

	snprintf(dir, sizeof(dir), "/tmp/vsock_state.XXXXXX");
	cr_assert(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/v", dir);
	vdriver_init(&driver);
	cr_assert(vsock_listen(path, &listener, &err) == 0, "%s", err.msg);
	make();
	start(VIRTIO_F_EVENT_IDX);
}

static void tear_down(void)
{
	char command[128];

	vsock_free(vsock);
	fd_close(&listener);
	vdriver_destroy(&driver);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert(system(command) == 0); // NOLINT
}

TestSuite(vsock_state, .init = set_up, .fini = tear_down);

/* --- the guest --- */

static void send_op(enum vsock_op op, uint32_t port, uint32_t host_port)
{
	const struct vsock_header header = {
		.src_cid = CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = port,
		.dst_port = host_port,
		.type = VSOCK_TYPE_STREAM,
		.op = (uint16_t)op,
		.buf_alloc = 1024 * 1024,
	};
	uint8_t bytes[VSOCK_HEADER_LEN];
	const struct vbuf buf = {bytes, sizeof(bytes), 0};
	struct vring_used used;

	vsock_header_encode(&header, bytes);
	while (vdriver_used(&driver, TX, &used)) {
	}
	vdriver_add(&driver, TX, &buf, 1);
	vdriver_kick(&driver, TX);
}

/* The next packet, whose buffer is offered again. */
static bool take(struct vsock_header *header)
{
	uint8_t bytes[BUFFER_LEN];
	const struct vbuf buf = {NULL, BUFFER_LEN, VBUF_WRITABLE};
	struct vring_used used;

	vdriver_run(&driver);
	if (!vdriver_used(&driver, RX, &used)) {
		return false;
	}
	vdriver_get(&driver, RX, used.id, 0, bytes, used.len);
	vsock_header_decode(bytes, header);
	vdriver_add(&driver, RX, &buf, 1);
	vdriver_kick(&driver, RX);
	return true;
}

static struct vsock_header expect(enum vsock_op op)
{
	struct vsock_header header = {0};

	cr_assert(take(&header), "no packet, not %d", op);
	cr_assert_eq(header.op, op, "%u, not %d", header.op, op);
	return header;
}

static void expect_none(const char *when)
{
	struct vsock_header header = {0};

	cr_assert_not(take(&header), "%s: %u", when, header.op);
}

/* As Linux: takes an event, then offers its buffer again and notifies. */
static bool take_event(void)
{
	struct vring_used used;
	uint32_t id = 99;

	vdriver_run(&driver);
	if (!vdriver_used(&driver, EVENT, &used)) {
		return false;
	}
	cr_assert_eq(used.len, EVENT_LEN);
	vdriver_get(&driver, EVENT, used.id, 0, &id, sizeof(id));
	cr_assert_eq(id, 0, "a transport reset");
	return true;
}

static void offer_event(uint32_t len)
{
	const struct vbuf event = {NULL, len, VBUF_WRITABLE};

	vdriver_add(&driver, EVENT, &event, 1);
	vdriver_kick(&driver, EVENT);
	vdriver_run(&driver);
}

/* --- the host --- */

static int connect_client(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	cr_assert(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	cr_assert_eq(send(fd, "CONNECT 52\n", 11, 0), 11);
	return fd;
}

static void expect_answer(int fd)
{
	char answer[32] = {0};

	vdriver_run(&driver);
	cr_assert_gt(recv(fd, answer, sizeof(answer) - 1, 0), 0);
	cr_assert_eq(strncmp(answer, "OK ", 3), 0, "%s", answer);
}

/* A client of the host gets through; returns our port. */
static uint32_t open_client(int *fd)
{
	*fd = connect_client();
	struct vsock_header header = expect(VSOCK_OP_REQUEST);

	send_op(VSOCK_OP_RESPONSE, PORT, header.src_port);
	expect_answer(*fd);
	return header.src_port;
}

static void move(void)
{
	state_bed_take(&bed, &driver);
	vsock_free(vsock);
	make();
	state_bed_give(&bed, &driver, vsock_virtio(vsock));
}

/* Whatever has a time in this process has waited for it. */
static void let_timers_fire(void)
{
	const struct itimerspec now = {.it_value.tv_nsec = 1};

	for (int fd = 0; fd < 256; fd++) {
		struct itimerspec left;

		if (timerfd_gettime(fd, &left) == 0 &&
		    (left.it_value.tv_sec != 0 || left.it_value.tv_nsec != 0)) {
			cr_assert(timerfd_settime(fd, 0, &now, NULL) == 0);
		}
	}
	vdriver_run(&driver);
}

static void offer_packet_buffer(void)
{
	const struct vbuf packet = {NULL, BUFFER_LEN, VBUF_WRITABLE};

	vdriver_add(&driver, RX, &packet, 1);
	vdriver_kick(&driver, RX);
	vdriver_run(&driver);
}

/* --- tests --- */

Test(vsock_state, the_driver_is_told_and_clients_wait_until_it_has_acknowledged)
{
	static const uint64_t sets[] = {VIRTIO_F_EVENT_IDX, 0};

	for (size_t i = 0; i < ARRAY_COUNT(sets); i++) {
		int old;
		int fd;

		start(sets[i]);
		uint32_t port = open_client(&old);

		move();
		fd = connect_client(); /* the listener works at once */
		expect_none("before the event");
		cr_assert(take_event());
		expect_none("before the acknowledgment");
		cr_expect_eq(metric_get(&vsock_metrics(vsock)->conns_added), 0,
			     "it is in the backlog, where no time-out runs");
		offer_event(EVENT_LEN);
		struct vsock_header header = expect(VSOCK_OP_REQUEST);

		cr_expect_eq(header.src_port, port + 1, "no port that the guest knows");
		send_op(VSOCK_OP_RESPONSE, PORT, header.src_port);
		expect_answer(fd);
		cr_expect_not(take_event(), "one was enough");
		close(old);
		close(fd);
	}
}

Test(vsock_state, the_saved_device_keeps_its_connections_and_tells_nothing)
{
	char byte;
	int fd;

	open_client(&fd);
	state_bed_take(&bed, &driver);
	vdriver_resume(&driver);
	vdriver_run(&driver);
	cr_expect_not(take_event());
	cr_expect(recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	close(fd);
	vdriver_run(&driver);
	expect(VSOCK_OP_SHUTDOWN);
}

Test(vsock_state, a_driver_without_buffers_is_told_when_it_has_one)
{
	const struct vbuf packet = {NULL, BUFFER_LEN, VBUF_WRITABLE};

	cr_assert(vdriver_start(&driver, vsock_virtio(vsock), VIRTIO_F_EVENT_IDX));
	vdriver_add(&driver, RX, &packet, 1);
	vdriver_kick(&driver, RX);
	move();
	int fd = connect_client();

	expect_none("there was no buffer for the event");
	offer_event(2); /* too small: given back unused */
	expect_none("nor a useful one");
	cr_assert_eq(metric_get(&vsock_metrics(vsock)->ev_queue_event_fails), 1);
	offer_event(EVENT_LEN);
	struct vring_used used;

	cr_assert(vdriver_used(&driver, EVENT, &used) && used.len == 0);
	cr_assert(take_event());
	expect_none("it is told, and not acknowledged");
	offer_event(EVENT_LEN);
	expect(VSOCK_OP_REQUEST);
	close(fd);
}

Test(vsock_state, one_that_has_no_event_queue_is_not_waited_for)
{
	const struct vbuf packet = {NULL, BUFFER_LEN, VBUF_WRITABLE};

	cr_assert(vdriver_begin(&driver, vsock_virtio(vsock), VIRTIO_F_EVENT_IDX));
	vdriver_write(&driver, 0x30, EVENT);
	vdriver_write(&driver, 0x44, 0);
	cr_assert(vdriver_finish(&driver));
	vdriver_add(&driver, RX, &packet, 1);
	vdriver_kick(&driver, RX);
	move();
	int fd = connect_client();

	expect(VSOCK_OP_REQUEST);
	close(fd);
}

Test(vsock_state, packets_for_connections_that_were_are_answered_by_a_reset_after_the_event)
{
	int fd;
	uint32_t port = open_client(&fd);

	evloop_freeze(&driver.loop);
	send_op(VSOCK_OP_CREDIT_UPDATE, PORT, port); /* waits in the queue at the save */
	move();
	send_op(VSOCK_OP_CREDIT_UPDATE, PORT, port);
	expect_none("before the event");
	cr_assert(take_event());
	expect_none("before the acknowledgment");
	offer_event(EVENT_LEN);
	for (unsigned i = 0; i < 2; i++) {
		struct vsock_header header = expect(VSOCK_OP_RST);

		cr_expect(header.src_port == port && header.dst_port == PORT);
	}
	close(fd);
}

Test(vsock_state, a_guest_that_floods_while_it_is_waited_for_is_answered_in_the_end)
{
	struct vsock_header header;
	unsigned answers = 0;

	move();
	for (unsigned i = 0; i < 1000; i++) {
		send_op(VSOCK_OP_CREDIT_UPDATE, i, 7);
		vdriver_run(&driver);
		if (i % 200 == 199) {
			expect_none("no packet is sent");
			break; /* the queue of the guest is full soon */
		}
	}
	for (unsigned i = 0; i < 200; i++) {
		send_op(VSOCK_OP_CREDIT_UPDATE, 1000 + i, 7);
	}
	cr_assert(take_event());
	offer_event(EVENT_LEN);
	while (take(&header)) {
		answers += header.op == VSOCK_OP_RST;
	}
	cr_assert_eq(answers, 400);
}

Test(vsock_state, a_guest_that_connects_while_it_is_waited_for_is_answered_after_the_event)
{
	struct error err = {0};
	char served[96];
	int server;

	snprintf(served, sizeof(served), "%s_%d", path, PORT);
	cr_assert(vsock_listen(served, &server, &err) == 0);
	move();
	send_op(VSOCK_OP_REQUEST, 4000, PORT);
	expect_none("before the event");
	cr_assert(take_event());
	offer_event(EVENT_LEN);
	expect(VSOCK_OP_RESPONSE);
	close(server);
}

Test(vsock_state, each_load_has_an_event_of_its_own_and_each_is_waited_for)
{
	struct vsock_header header;
	int fd;

	move();
	vdriver_run(&driver); /* told, and the driver has not looked */
	move();
	vdriver_run(&driver);
	move();
	fd = connect_client();
	cr_assert(take_event());
	offer_event(EVENT_LEN);
	cr_assert(take_event());
	offer_event(EVENT_LEN);
	expect_none("two of three are acknowledged");
	cr_assert(take_event());
	offer_event(EVENT_LEN);
	header = expect(VSOCK_OP_REQUEST);
	cr_expect_eq(header.src_port, HOST_PORT);
	close(fd);
	/* One that is acknowledged is not waited for again. */
	move();
	fd = connect_client();
	cr_assert(take_event());
	offer_event(EVENT_LEN);
	vdriver_run(&driver);
	close(fd);
}

Test(vsock_state, an_acknowledgment_that_nobody_saw_is_not_taken_for_the_next_one)
{
	static const uint16_t ack_at[] = {0, 40000};

	for (size_t i = 0; i <= ARRAY_COUNT(ack_at); i++) {
		start(VIRTIO_F_EVENT_IDX);
		move();
		cr_assert(take_event());
		evloop_freeze(&driver.loop);
		vdriver_add(&driver, EVENT, &(struct vbuf){NULL, EVENT_LEN, VBUF_WRITABLE}, 1);
		vdriver_add(&driver, EVENT, &(struct vbuf){NULL, EVENT_LEN, VBUF_WRITABLE}, 1);
		state_bed_take(&bed, &driver);
		if (i > 0) { /* nonsense is as good as none */
			bed.state.own[0] = (uint64_t)ack_at[i - 1] << 48 | UINT64_C(1) << 32;
		}
		vsock_free(vsock);
		make();
		state_bed_give(&bed, &driver, vsock_virtio(vsock));
		int fd = connect_client();

		cr_assert(take_event());
		expect_none("it was another event");
		offer_event(EVENT_LEN);
		expect(VSOCK_OP_REQUEST);
		close(fd);
		vdriver_run(&driver);
	}
}

Test(vsock_state, a_driver_that_begins_anew_has_no_connections_to_be_told_of)
{
	int fd;

	move();
	start(VIRTIO_F_EVENT_IDX);
	cr_assert_not(take_event());
	open_client(&fd);
	close(fd);
}

Test(vsock_state, another_number_of_the_guest_is_read_with_the_event)
{
	uint64_t cid = 0;

	state_bed_take(&bed, &driver);
	store_le64(bed.state.config, 77);
	vsock_free(vsock);
	make();
	state_bed_give(&bed, &driver, vsock_virtio(vsock));
	cr_assert(take_event());
	vdriver_read_config(&driver, 0, &cid, sizeof(cid));
	cr_expect_eq(cid, CID);
}

Test(vsock_state, a_port_that_nobody_was_given_is_refused)
{
	struct error err = {0};

	state_bed_take(&bed, &driver);
	bed.state.own[0] |= UINT32_C(1) << 30;
	vsock_free(vsock);
	make();
	cr_assert(state_bed_load(&bed, &driver, vsock_virtio(vsock), &err) < 0);
	cr_expect_eq(err.kind, ERR_CORRUPT);
	cr_expect_str_eq(err.msg,
			 "The vsock device vsock can't be loaded: its next port is 0x40000000");
}

Test(vsock_state, what_the_guest_was_not_answered_at_the_save_is_refused_after_the_event)
{
	const struct vbuf event = {NULL, EVENT_LEN, VBUF_WRITABLE};
	struct error err = {0};
	char served[96];
	int server;

	snprintf(served, sizeof(served), "%s_%d", path, PORT);
	cr_assert(vsock_listen(served, &server, &err) == 0);
	cr_assert(vdriver_start(&driver, vsock_virtio(vsock), VIRTIO_F_EVENT_IDX));
	vdriver_add(&driver, EVENT, &event, 1);
	/* Without a buffer for the answers: one host listens, the other one does not. */
	send_op(VSOCK_OP_REQUEST, 4000, PORT);
	send_op(VSOCK_OP_REQUEST, 4001, PORT + 1);
	vdriver_run(&driver);
	for (unsigned i = 0; i < 2; i++) { /* also where it is saved again before they are sent */
		move();
	}
	offer_packet_buffer();
	offer_packet_buffer();
	offer_packet_buffer();
	expect_none("before the event");
	cr_assert(take_event());
	offer_event(EVENT_LEN);
	unsigned ports = 0;

	if (take_event()) { /* that of the second load */
		offer_event(EVENT_LEN);
	}
	for (unsigned i = 0; i < 2; i++) {
		struct vsock_header header = expect(VSOCK_OP_RST);

		ports |= 1u << (header.dst_port - 4000);
		cr_expect_eq(header.src_port, PORT + header.dst_port - 4000);
	}
	cr_expect_eq(ports, 3, "each has an answer");
	expect_none("each has one");
	close(server);
}

Test(vsock_state, a_driver_that_takes_no_notice_of_the_event_is_waited_for_only_so_long)
{
	/* One that never gives a buffer, and one that never gives it back. */
	for (unsigned buffers = 0; buffers < 2; buffers++) {
		const struct vbuf event = {NULL, EVENT_LEN, VBUF_WRITABLE};

		cr_assert(vdriver_start(&driver, vsock_virtio(vsock), VIRTIO_F_EVENT_IDX));
		for (unsigned i = 0; i < buffers; i++) {
			vdriver_add(&driver, EVENT, &event, 1);
		}
		offer_packet_buffer();
		move();
		int fd = connect_client();

		expect_none("it is waited for");
		let_timers_fire();
		expect(VSOCK_OP_REQUEST);
		offer_event(EVENT_LEN);
		cr_expect_eq(take_event(), buffers != 0, "there is nothing to be told any more");
		close(fd);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device on its queues, with real sockets on the other side. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/virtio/core/virtio_internal.h"
#include "devices/virtio/vsock/vsock.h"
#include "devices/virtio/vsock/vsock_packet.h"
#include "tests/fake/alloc_guard.h"
#include "tests/lib/vdriver.h"
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
};

#define IN_ORDER (UINT64_C(1) << 35)

static struct vdriver driver;
static struct vsock *vsock;
static char dir[64];
static char path[80];
static int listener;
static int descriptors;

static int count_descriptors(void)
{
	DIR *self = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(self) != NULL) {
		count++;
	}
	closedir(self);
	return count;
}

static void set_up(void)
{
	struct vsock_config config = {.guest_cid = CID, .uds_path = path};
	struct error err = {0};

	descriptors = count_descriptors();
	snprintf(dir, sizeof(dir), "/tmp/vsock_test.XXXXXX");
	cr_assert(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/v", dir);
	vdriver_init(&driver);
	cr_assert(vsock_listen(path, &listener, &err) == 0, "%s", err.msg);
	cr_assert(vsock_new(vdriver_env(&driver), &config, listener, &vsock, &err) == 0, "%s",
		  err.msg);
	cr_assert(vdriver_start(&driver, vsock_virtio(vsock), IN_ORDER));
	vdriver_run(&driver);
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

TestSuite(vsock, .init = set_up, .fini = tear_down);

/* --- the guest --- */

static void offer(unsigned count, uint32_t len)
{
	const struct vbuf buf = {NULL, len, VBUF_WRITABLE};

	for (unsigned i = 0; i < count; i++) {
		vdriver_add(&driver, RX, &buf, 1);
	}
	vdriver_kick(&driver, RX);
	vdriver_run(&driver);
}

static struct vsock_header header_of(enum vsock_op op, uint32_t port, uint32_t host_port)
{
	return (struct vsock_header){
		.src_cid = CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = port,
		.dst_port = host_port,
		.type = VSOCK_TYPE_STREAM,
		.op = (uint16_t)op,
		.buf_alloc = 1024 * 1024,
	};
}

/* Offers a packet without telling; the used ring is emptied, as a driver does it. */
static void add_packet(const struct vsock_header *header, const void *data)
{
	uint8_t bytes[VSOCK_HEADER_LEN];
	const struct vbuf bufs[] = {{bytes, sizeof(bytes), 0}, {data, header->len, 0}};
	struct vring_used used;

	while (vdriver_used(&driver, TX, &used)) {
		cr_assert_eq(used.len, 0);
	}
	vsock_header_encode(header, bytes);
	vdriver_add(&driver, TX, bufs, header->len > 0 ? 2 : 1);
}

static void send_packet(const struct vsock_header *header, const void *data)
{
	add_packet(header, data);
	vdriver_kick(&driver, TX);
	vdriver_run(&driver);
}

static void send_op(enum vsock_op op, uint32_t port, uint32_t host_port)
{
	struct vsock_header header = header_of(op, port, host_port);

	send_packet(&header, NULL);
}

/* The next packet of one segment; its buffer is offered again. */
static bool take(struct vsock_header *header, void *data)
{
	uint8_t bytes[VSOCK_HEADER_LEN + VSOCK_PAYLOAD_MAX];
	const struct vbuf buf = {NULL, BUFFER_LEN, VBUF_WRITABLE};
	struct vring_used used;

	if (!vdriver_used(&driver, RX, &used)) {
		return false;
	}
	cr_assert_geq(used.len, VSOCK_HEADER_LEN);
	vdriver_get(&driver, RX, used.id, 0, bytes, used.len);
	vsock_header_decode(bytes, header);
	cr_assert_eq(header->len + VSOCK_HEADER_LEN, used.len);
	cr_assert_eq(header->dst_cid, CID);
	if (data != NULL) {
		memcpy(data, bytes + VSOCK_HEADER_LEN, header->len);
	}
	vdriver_add(&driver, RX, &buf, 1);
	vdriver_kick(&driver, RX);
	return true;
}

static struct vsock_header expect(enum vsock_op op)
{
	struct vsock_header header = {0};

	cr_assert(take(&header, NULL), "no packet, not %d", op);
	cr_assert_eq(header.op, op, "%u, not %d", header.op, op);
	return header;
}

/* --- the host --- */

static int connect_client(const char *text)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	cr_assert(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	cr_assert(send(fd, text, strlen(text), 0) == (ssize_t)strlen(text));
	vdriver_run(&driver);
	return fd;
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK) == 0;
}

static int open_client(uint32_t *host_port)
{
	char answer[32] = {0};
	int fd = connect_client("CONNECT 52\n");
	struct vsock_header header = expect(VSOCK_OP_REQUEST);

	cr_assert_eq(header.dst_port, PORT);
	*host_port = header.src_port;
	send_op(VSOCK_OP_RESPONSE, PORT, header.src_port);
	cr_assert_gt(recv(fd, answer, sizeof(answer) - 1, 0), 0);
	cr_assert_eq(strncmp(answer, "OK ", 3), 0);
	return fd;
}

/* --- tests --- */

Test(vsock, it_offers_order_and_tells_the_guest_its_number)
{
	uint8_t cid[8];

	cr_assert_eq(vdriver_offered(&driver) & IN_ORDER, IN_ORDER);
	vdriver_read_config(&driver, 0, cid, sizeof(cid));
	cr_assert_eq(load_le64(cid), CID);
}

/* Between all that happens, if asked for. */
static bool is_pausing;

static void maybe_pause(void)
{
	if (is_pausing) {
		vdriver_pause(&driver);
		vdriver_resume(&driver);
		vdriver_run(&driver);
	}
}

static void echo(size_t total)
{
	static uint8_t data[64 * 1024];
	static uint8_t back[64 * 1024];
	uint32_t host_port;
	int client = open_client(&host_port);
	uint64_t sent = 0;
	uint64_t echoed = 0;
	uint64_t got = 0;
	struct vsock_header header = header_of(VSOCK_OP_RW, PORT, host_port);
	struct vsock_header taken = {0};

	for (unsigned round = 0; got < total; round++) {
		cr_assert_lt(round, 100000);
		size_t len = min_u64(round * 977 % sizeof(data) + 1, total - sent);

		for (size_t i = 0; i < len; i++) {
			data[i] = (uint8_t)((sent + i) * 31 + ((sent + i) >> 8) * 7);
		}
		ssize_t count = send(client, data, len, 0);

		sent += count > 0 ? (uint64_t)count : 0;
		maybe_pause();
		vdriver_run(&driver);
		while (take(&taken, data)) {
			maybe_pause();
			if (taken.op == VSOCK_OP_RW) {
				echoed += taken.len;
				header.len = taken.len;
				header.fwd_cnt = (uint32_t)echoed;
				send_packet(&header, data);
			}
			count = recv(client, back, sizeof(back), 0);
			for (ssize_t i = 0; i < count; i++, got++) {
				cr_assert_eq(back[i], (uint8_t)(got * 31 + (got >> 8) * 7));
			}
		}
	}
	close(client);
	vdriver_run(&driver);
	while (take(&taken, NULL)) {
	}
}

Test(vsock, a_guest_echoes_two_mebibytes)
{
	offer(32, BUFFER_LEN);
	echo(2 * MIB);
	cr_assert_eq(metric_get(&vsock_metrics(vsock)->rx_bytes_count), 2 * MIB);
	cr_assert_eq(metric_get(&vsock_metrics(vsock)->tx_bytes_count), 2 * MIB);
}

Test(vsock, a_guest_that_is_paused_all_the_time_echoes_all_the_same)
{
	is_pausing = true;
	offer(32, BUFFER_LEN);
	echo(512 * 1024);
	is_pausing = false;
}

Test(vsock, a_guest_with_event_indexes_and_indirect_chains_does_too)
{
	cr_assert(vdriver_start(&driver, vsock_virtio(vsock),
				IN_ORDER | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC));
	offer(32, BUFFER_LEN);
	echo(2 * MIB);
}

Test(vsock, a_header_may_lie_in_several_segments)
{
	static const uint32_t cuts[][2] = {{1, 43}, {43, 1}, {44, 0}, {20, 30}, {10, 10}};
	uint32_t host_port;

	offer(2, BUFFER_LEN);
	int client = open_client(&host_port);

	for (size_t i = 0; i < ARRAY_COUNT(cuts); i++) {
		struct vsock_header header = header_of(VSOCK_OP_RW, PORT, host_port);
		uint8_t bytes[VSOCK_HEADER_LEN + 26];
		char got[32] = {0};
		uint32_t first = cuts[i][0];
		uint32_t second = cuts[i][1];
		struct vbuf bufs[] = {{bytes, first, 0}, {bytes + first, second, 0}, {0}};
		size_t count = second > 0 ? 2 : 1;
		struct vring_used used;

		header.len = 26;
		vsock_header_encode(&header, bytes);
		memcpy(bytes + VSOCK_HEADER_LEN, "abcdefghijklmnopqrstuvwxyz", 26);
		bufs[count] = (struct vbuf){bytes + first + second,
					    (uint32_t)sizeof(bytes) - first - second, 0};
		vdriver_add(&driver, TX, bufs, count + 1);
		vdriver_kick(&driver, TX);
		vdriver_run(&driver);
		while (vdriver_used(&driver, TX, &used)) {
		}
		cr_expect_eq(recv(client, got, sizeof(got), 0), 26, "case %zu", i);
		cr_expect_str_eq(got, "abcdefghijklmnopqrstuvwxyz");
	}
	close(client);
}

Test(vsock, a_packet_for_the_guest_fills_whatever_segments_there_are)
{
	const struct vbuf bufs[] = {{NULL, 1, VBUF_WRITABLE},
				    {NULL, 42, VBUF_WRITABLE},
				    {NULL, 3, VBUF_WRITABLE},
				    {NULL, 100, VBUF_WRITABLE}};
	uint32_t host_port;
	struct vring_used used;
	struct vsock_header header;
	uint8_t bytes[VSOCK_HEADER_LEN + 5];

	offer(2, BUFFER_LEN);
	int client = open_client(&host_port);

	send_op(VSOCK_OP_CREDIT_REQUEST, PORT, host_port);
	expect(VSOCK_OP_CREDIT_UPDATE);
	/* Two buffers of the usual kind are before it. */
	for (unsigned i = 0; i < 2; i++) {
		send_op(VSOCK_OP_CREDIT_REQUEST, PORT, host_port);
		cr_assert(vdriver_used(&driver, RX, &used));
	}
	vdriver_add(&driver, RX, bufs, ARRAY_COUNT(bufs));
	vdriver_kick(&driver, RX);
	cr_assert_eq(send(client, "hello", 5, 0), 5);
	vdriver_run(&driver);
	cr_assert(vdriver_used(&driver, RX, &used));
	cr_assert_eq(used.len, sizeof(bytes));
	vdriver_get(&driver, RX, used.id, 0, bytes, 1);
	vdriver_get(&driver, RX, used.id, 1, bytes + 1, 42);
	vdriver_get(&driver, RX, used.id, 2, bytes + 43, 3);
	vdriver_get(&driver, RX, used.id, 3, bytes + 46, 3);
	vsock_header_decode(bytes, &header);
	cr_assert_eq(header.op, VSOCK_OP_RW);
	cr_assert_eq(memcmp(bytes + VSOCK_HEADER_LEN, "hello", 5), 0);
	close(client);
}

/* The payload of a packet whose segments are those of `bufs`; appends it to `to`. */
static uint32_t get_payload(const struct vring_used *used, const struct vbuf *bufs, uint8_t *to)
{
	uint8_t bytes[2 * BUFFER_LEN];
	struct vsock_header header;
	uint32_t len = 0;

	for (unsigned i = (bufs[0].flags & VBUF_WRITABLE) == 0; len < used->len; i++) {
		uint32_t part = (uint32_t)min_u64(bufs[i].len, used->len - len);

		vdriver_get(&driver, RX, used->id, i, bytes + len, part);
		len += part;
	}
	vsock_header_decode(bytes, &header);
	cr_assert_eq(header.op, VSOCK_OP_RW);
	cr_assert_eq(header.len + VSOCK_HEADER_LEN, used->len);
	memcpy(to, bytes + VSOCK_HEADER_LEN, header.len);
	return header.len;
}

/* A read fills several buffers: those of another shape, or of no use, are between them. */
Test(vsock, a_stream_arrives_whole_in_buffers_of_all_shapes)
{
	enum {
		LEN = 100000
	};
	static const struct vbuf shapes[][3] = {
		{{NULL, 1000, VBUF_WRITABLE}},
		{{NULL, 20, VBUF_WRITABLE}, {NULL, 500, VBUF_WRITABLE}, {NULL, 1, VBUF_WRITABLE}},
		{{NULL, VSOCK_HEADER_LEN, VBUF_WRITABLE}}, /* room for a header alone */
		{{"no", 2, 0}, {NULL, 2000, VBUF_WRITABLE}},
		{{NULL, 20, VBUF_WRITABLE}}, /* of no use */
		{{NULL, BUFFER_LEN, VBUF_WRITABLE}},
	};
	static const unsigned counts[ARRAY_COUNT(shapes)] = {1, 3, 1, 2, 1, 1};
	static uint8_t data[LEN];
	static uint8_t got[LEN + BUFFER_LEN];
	unsigned order[VIRTQ_SIZE_MAX] = {0}; /* shapes by head */
	struct vring_used used;
	uint32_t host_port;
	uint32_t len = 0;
	unsigned next = 0;

	for (unsigned i = 0; i < LEN; i++) {
		data[i] = (uint8_t)(i * 7 + i / 251);
	}
	offer(1, BUFFER_LEN);
	int client = open_client(&host_port);

	send_op(VSOCK_OP_CREDIT_REQUEST, PORT, host_port);
	expect(VSOCK_OP_CREDIT_UPDATE);
	send_op(VSOCK_OP_CREDIT_REQUEST, PORT, host_port);
	cr_assert(vdriver_used(&driver, RX, &used)); /* the last buffer of the usual kind */
	cr_assert_eq(send(client, data, LEN, 0), LEN);
	/* Mostly plain ones, so that there are runs of all lengths. */
	for (unsigned i = 0; len < LEN && i < 1000; i++) {
		for (unsigned k = 0; k < 16; k++, next++) {
			bool is_odd = next % 5 == 0 || next % 37 > 25;
			unsigned shape = is_odd ? next % 6 : 5 * (next % 2);
			unsigned head = vdriver_add(&driver, RX, shapes[shape], counts[shape]);

			order[head] = shape;
		}
		vdriver_kick(&driver, RX);
		vdriver_run(&driver);
		while (vdriver_used(&driver, RX, &used)) {
			const struct vbuf *bufs = shapes[order[used.id]];

			len += used.len > 0 ? get_payload(&used, bufs, got + len) : 0;
		}
	}
	cr_assert_eq(len, LEN, "%u bytes", len);
	cr_assert_arr_eq(got, data, LEN);
	close(client);
}

/* Offers one descriptor anywhere in (or out of) memory. */
static void offer_at(unsigned queue, uint64_t gpa, uint32_t len, uint16_t flags)
{
	struct vring *ring = &driver.queues[queue].ring;

	vring_set_desc(ring, 200, (struct vring_desc){.addr = gpa, .len = len, .flags = flags});
	vring_offer(ring, 200);
	vdriver_notify(&driver, queue);
	vdriver_run(&driver);
}

/* CVE-2019-18960: lengths were checked against the region's start only. */
Test(vsock, packets_at_the_ends_of_memory_go_out_if_they_are_all_in_it)
{
	enum {
		LEN = VSOCK_HEADER_LEN + 1000
	};
	static const struct {
		uint64_t gpa;
		bool is_ram;
	} cases[] = {
		{VDRIVER_MEM_LEN / 2 - LEN, true},
		{VDRIVER_MEM_LEN / 2 - VSOCK_HEADER_LEN, true}, /* regions touch here */
		{VDRIVER_MEM_LEN / 2 - 1, true},
		{VDRIVER_MEM_LEN / 2 - 500, true},
		{VDRIVER_MEM_LEN - LEN, true},
		{VDRIVER_MEM_LEN - LEN + 1, false},
		{VDRIVER_MEM_LEN - VSOCK_HEADER_LEN, false},
		{VDRIVER_MEM_LEN - 1, false},
		{VDRIVER_HOLE, false},
		{VDRIVER_HIGH - 1, false},
		{VDRIVER_HIGH, true},
		{VDRIVER_HIGH + VDRIVER_HIGH_LEN - LEN, true},
		{VDRIVER_HIGH + VDRIVER_HIGH_LEN - LEN + 1, false},
		{UINT64_MAX - LEN + 1, false},
		{UINT64_MAX, false},
	};
	static uint8_t packet[LEN];
	static uint8_t got[LEN];
	uint32_t host_port;

	offer(2, BUFFER_LEN);
	int client = open_client(&host_port);
	struct vsock_header header = header_of(VSOCK_OP_RW, PORT, host_port);

	header.len = LEN - VSOCK_HEADER_LEN;
	vsock_header_encode(&header, packet);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		memset(packet + VSOCK_HEADER_LEN, (int)i + 1, header.len);
		for (size_t at = 0; at < LEN; at++) {
			(void)!gmem_write(driver.mem, GPA(cases[i].gpa + at), packet + at, 1);
		}
		uint16_t before = vring_used_idx(&driver.queues[TX].ring);

		offer_at(TX, cases[i].gpa, LEN, 0);
		cr_expect_eq(vring_used_idx(&driver.queues[TX].ring), before + 1, "case %zu", i);
		ssize_t count = recv(client, got, sizeof(got), 0);

		cr_expect_eq(count, cases[i].is_ram ? (ssize_t)header.len : -1, "case %zu: %zd", i,
			     count);
		cr_expect(count < 0 || memcmp(got, packet + VSOCK_HEADER_LEN, header.len) == 0);
	}
	cr_assert_eq(metric_get(&vsock_metrics(vsock)->tx_queue_event_fails), 8);
	close(client);
}

Test(vsock, a_chain_that_is_no_packet_is_given_back)
{
	static const struct {
		unsigned queue;
		uint32_t len;
		uint16_t flags;
	} cases[] = {
		{TX, 43, 0},	       {TX, 1, 0},	     {TX, 100, VRING_WRITE},
		{RX, 43, VRING_WRITE}, {RX, 1, VRING_WRITE}, {RX, 100, 0},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct vring *ring = &driver.queues[cases[i].queue].ring;
		struct vring_used used;

		offer_at(cases[i].queue, VDRIVER_MEM_LEN / 2, cases[i].len, cases[i].flags);
		/* Something to take them for. */
		if (cases[i].queue == RX) {
			send_op(VSOCK_OP_RW, 1, 1);
		}
		cr_expect(vring_take_used(ring, &used), "case %zu", i);
		cr_expect_eq(used.len, 0);
	}
	cr_assert_eq(metric_get(&vsock_metrics(vsock)->rx_queue_event_fails), 3);
	cr_assert_eq(metric_get(&vsock_metrics(vsock)->tx_queue_event_fails), 3);
	offer(10, BUFFER_LEN);
	for (unsigned i = 0; i < 3; i++) {
		expect(VSOCK_OP_RST);
	}
}

Test(vsock, the_host_waits_for_a_guest_without_buffers)
{
	static uint8_t data[100 * 1000];
	uint32_t host_port;
	struct vsock_header header;
	struct vring_used used;
	size_t got = 0;

	offer(1, BUFFER_LEN);
	int client = open_client(&host_port);

	send_op(VSOCK_OP_CREDIT_REQUEST, PORT, host_port);
	cr_assert(vdriver_used(&driver, RX, &used));
	cr_assert_eq(send(client, data, sizeof(data), 0), sizeof(data));
	cr_assert_lt(vdriver_run(&driver), 3);
	cr_assert_eq(vdriver_run(&driver), 0);
	offer(32, BUFFER_LEN);
	while (take(&header, data)) {
		got += header.op == VSOCK_OP_RW ? header.len : 0;
		vdriver_run(&driver);
	}
	cr_assert_eq(got, sizeof(data));
	close(client);
}

Test(vsock, a_buffer_for_which_there_is_nothing_after_all_is_not_lost)
{
	static uint8_t data[BUFFER_LEN - VSOCK_HEADER_LEN];
	uint32_t host_port;

	offer(4, BUFFER_LEN);
	int client = open_client(&host_port);

	for (unsigned i = 0; i < 20; i++) {
		/* It fills a buffer, so there may be more. */
		cr_assert_eq(send(client, data, sizeof(data), 0), sizeof(data));
		vdriver_run(&driver);
		cr_assert_eq(expect(VSOCK_OP_RW).len, sizeof(data));
	}
	close(client);
}

Test(vsock, a_guest_that_takes_no_answers_waits_itself)
{
	unsigned resets = 0;
	struct vsock_header header;

	for (unsigned i = 0; i < 300; i++) {
		header = header_of(VSOCK_OP_RW, i, 9);
		send_packet(&header, NULL);
	}
	cr_assert_eq(vring_used_idx(&driver.queues[TX].ring), 256);
	cr_assert_eq(vdriver_run(&driver), 0);
	vdriver_pause(&driver);
	vdriver_resume(&driver);
	vdriver_run(&driver);
	cr_assert_eq(vring_used_idx(&driver.queues[TX].ring), 256);
	offer(16, BUFFER_LEN);
	while (take(&header, NULL)) {
		cr_assert_eq(header.op, VSOCK_OP_RST);
		cr_assert_eq(header.dst_port, resets);
		resets++;
		vdriver_run(&driver);
	}
	cr_assert_eq(resets, 300);
}

Test(vsock, the_buffers_for_events_stay_where_they_are)
{
	const struct vbuf buf = {NULL, 8, VBUF_WRITABLE};

	for (unsigned i = 0; i < 8; i++) {
		vdriver_add(&driver, EVENT, &buf, 1);
	}
	vdriver_notify(&driver, EVENT);
	vdriver_run(&driver);
	cr_assert_eq(vring_used_idx(&driver.queues[EVENT].ring), 0);
}

Test(vsock, clients_wait_until_there_is_a_driver)
{
	struct vsock_header header;

	vdriver_stop(&driver);
	vdriver_run(&driver);
	int client = connect_client("CONNECT 52\n");

	cr_assert_eq(vdriver_run(&driver), 0);
	cr_assert_not(is_closed(client));
	cr_assert(vdriver_start(&driver, vsock_virtio(vsock), IN_ORDER));
	offer(4, BUFFER_LEN);
	cr_assert(take(&header, NULL));
	cr_assert_eq(header.op, VSOCK_OP_REQUEST);
	close(client);
}

Test(vsock, a_reset_closes_connections_and_the_next_driver_starts_afresh)
{
	uint32_t host_port;

	offer(4, BUFFER_LEN);
	int client = open_client(&host_port);
	int greeter = connect_client("CONN");

	vdriver_stop(&driver);
	uint16_t used = vring_used_idx(&driver.queues[RX].ring);

	cr_assert_eq(send(client, "late", 4, 0), 4);
	vdriver_run(&driver);
	cr_assert_eq(vring_used_idx(&driver.queues[RX].ring), used);
	cr_assert(is_closed(greeter));
	cr_assert_eq(recv(client, &used, 1, 0), -1);
	cr_assert_eq(errno, ECONNRESET);
	cr_assert_eq(vdriver_run(&driver), 0);
	close(client);
	close(greeter);
	cr_assert(vdriver_start(&driver, vsock_virtio(vsock), IN_ORDER));
	offer(4, BUFFER_LEN);
	send_op(VSOCK_OP_RW, PORT, host_port);
	expect(VSOCK_OP_RST);
	client = open_client(&host_port);
	close(client);
}

/* The VMM thread finds the next driver there before it has heard of the reset. */
Test(vsock, a_reset_that_is_followed_at_once_by_a_start_closes_connections_too)
{
	uint32_t host_port;

	offer(4, BUFFER_LEN);
	int client = open_client(&host_port);

	cr_assert_eq(send(client, "late", 4, 0), 4);
	vdriver_stop(&driver);
	cr_assert(vdriver_start(&driver, vsock_virtio(vsock), IN_ORDER));
	offer(4, BUFFER_LEN);
	struct vsock_header header;

	cr_assert_not(take(&header, NULL));
	send_op(VSOCK_OP_RW, PORT, host_port);
	expect(VSOCK_OP_RST);
	close(client);
	client = open_client(&host_port);
	close(client);
}

Test(vsock, a_broken_queue_closes_connections_until_the_driver_resets)
{
	for (unsigned queue = RX; queue <= TX; queue++) {
		uint32_t host_port;

		offer(4, BUFFER_LEN);
		int client = open_client(&host_port);
		struct vring *ring = &driver.queues[queue].ring;

		vring_set_avail_idx(ring, (uint16_t)(ring->avail_idx + 1000));
		if (queue == RX) {
			cr_assert_eq(send(client, "x", 1, 0), 1);
		}
		vdriver_notify(&driver, queue);
		vdriver_run(&driver);
		cr_assert(vdriver_status(&driver) & VIRTIO_STATUS_NEEDS_RESET);
		cr_expect(is_closed(client) || errno == ECONNRESET, "queue %u", queue);
		close(client);
		uint64_t added = metric_get(&vsock_metrics(vsock)->conns_added);

		client = connect_client("CONNECT 52\n");
		cr_assert_eq(vdriver_run(&driver), 0);
		cr_expect_eq(metric_get(&vsock_metrics(vsock)->conns_added), added);
		close(client);
		cr_assert(vdriver_start(&driver, vsock_virtio(vsock), IN_ORDER));
		vdriver_run(&driver);
	}
}

/* CVE-2024-3446's kind of fault: what the host sends lands where the device reads next. */
Test(vsock, buffers_that_are_the_rings_themselves_do_no_harm)
{
	static const uint8_t data[8 * BUFFER_LEN] = {1, 2, 3};
	struct vring *ring = &driver.queues[RX].ring;
	const gpa_t targets[] = {ring->desc, ring->avail, ring->used};

	for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
		uint32_t host_port;

		offer(1, BUFFER_LEN);
		int client = open_client(&host_port);

		for (unsigned j = 0; j < 8; j++) {
			offer_at(RX, targets[i].v, 4096, VRING_WRITE);
		}
		cr_assert_gt(send(client, data, sizeof(data), 0), 0);
		vdriver_run(&driver);
		close(client);
		vdriver_run(&driver);
		cr_assert(vdriver_start(&driver, vsock_virtio(vsock), IN_ORDER), "%zu", i);
		vdriver_run(&driver);
		offer(2, BUFFER_LEN);
		client = open_client(&host_port);
		cr_assert_eq(send(client, "x", 1, 0), 1);
		vdriver_run(&driver);
		expect(VSOCK_OP_RW);
		close(client);
		cr_assert(vdriver_start(&driver, vsock_virtio(vsock), IN_ORDER), "%zu", i);
		vdriver_run(&driver);
	}
}

Test(vsock, nothing_happens_while_the_machine_is_frozen)
{
	uint32_t host_port;
	struct vsock_header header;

	offer(8, BUFFER_LEN);
	int client = open_client(&host_port);

	evloop_freeze(&driver.loop);
	cr_assert_eq(send(client, "while", 5, 0), 5);
	int other = connect_client("CONNECT 53\n");

	cr_assert_eq(vdriver_run(&driver), 0);
	cr_assert_not(take(&header, NULL));
	evloop_thaw(&driver.loop);
	vdriver_run(&driver);
	expect(VSOCK_OP_RW);
	expect(VSOCK_OP_REQUEST);
	close(client);
	close(other);
}

Test(vsock, nothing_is_allocated_for_connections_and_what_they_carry)
{
	static uint8_t data[VSOCK_PAYLOAD_MAX];
	uint32_t host_port;

	offer(32, BUFFER_LEN);
	alloc_guard_begin();
	echo(64 * KIB);
	int client = open_client(&host_port);
	struct vsock_header header = header_of(VSOCK_OP_RW, PORT, host_port);

	/* Until the socket is full, then the ring, then it is too much. */
	header.len = 10000;
	for (unsigned i = 0; i < 100; i++) {
		send_packet(&header, data);
	}
	cr_assert_eq(alloc_guard_end(), 0);
	cr_assert_eq(metric_get(&vsock_metrics(vsock)->conns_killed), 1);
	close(client);
}

Test(vsock, all_descriptors_are_given_back)
{
	static int clients[50];
	uint32_t host_port;

	offer(8, BUFFER_LEN);
	for (unsigned i = 0; i < 50; i++) {
		clients[i] = open_client(&host_port);
	}
	vsock_free(vsock);
	vsock = NULL;
	fd_close(&listener);
	for (unsigned i = 0; i < 50; i++) {
		close(clients[i]);
	}
	vdriver_destroy(&driver);
	cr_assert_eq(count_descriptors(), descriptors);
	vdriver_init(&driver);
}

/* --- threads --- */

static atomic_bool is_over;

static void *reset_often(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 200; i++) {
		vdriver_stop(&driver);
		cr_assert(vdriver_start(&driver, vsock_virtio(vsock), IN_ORDER));
	}
	atomic_store(&is_over, true);
	return NULL;
}

Test(vsock, resets_on_another_thread_meet_clients_that_come_and_go)
{
	struct error err = {0};
	pthread_t thread;
	int clients[8];

	for (unsigned i = 0; i < 8; i++) {
		clients[i] = dup(0);
	}
	pthread_create(&thread, NULL, reset_often, NULL);
	for (unsigned i = 0; !atomic_load(&is_over); i++) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
		if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
			(void)!send(fd, "CONNECT 1\nx", 11, MSG_NOSIGNAL);
		}
		close(clients[i % 8]);
		clients[i % 8] = fd;
		cr_assert(evloop_run_once(&driver.loop, 0, &err) == 0);
	}
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < 8; i++) {
		close(clients[i]);
	}
	vdriver_run(&driver);
}

/* --- the listening socket --- */

#define CANNOT                                                                                     \
	"Cannot create backend for vsock device: Error binding to the host-side Unix socket: "

Test(vsock_listen, what_is_wrong_with_a_path_is_told_in_one_sentence)
{
	char too_long[110];
	struct {
		const char *path;
		const char *sentence;
	} cases[] = {
		{"/tmp", CANNOT "Address in use (os error 98)"},
		{"/nowhere/v", CANNOT "No such file or directory (os error 2)"},
		{"/proc/v", CANNOT "No such file or directory (os error 2)"},
		{"/dev/null/v", CANNOT "Not a directory (os error 20)"},
		{"", CANNOT "path must not be empty"},
		{too_long, CANNOT "path must be shorter than SUN_LEN"},
	};

	memset(too_long, 'x', sizeof(too_long));
	too_long[108] = '\0';
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err = {0};
		int fd = -1;

		cr_expect_eq(vsock_listen(cases[i].path, &fd, &err), -1);
		cr_expect_str_eq(err.msg, cases[i].sentence);
		cr_expect_eq(fd, -1);
	}
}

Test(vsock_listen, the_longest_path_fits)
{
	char longest[108];
	struct error err = {0};
	int fd = -1;

	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "/tmp/", 5);
	longest[107] = '\0';
	unlink(longest);
	cr_assert(vsock_listen(longest, &fd, &err) == 0, "%s", err.msg);
	cr_assert_eq(access(longest, F_OK), 0);
	close(fd);
	unlink(longest);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of the socket device: both directions, both ends, credit, protocol errors. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/vsock_bed.h"
#include "vmm/base/bytes.h"

static struct bed bed;

static void set_up(void)
{
	bed_init(&bed);
}

static void tear_down(void)
{
	bed_destroy(&bed);
}

TestSuite(vsock_conn, .init = set_up, .fini = tear_down);

enum {
	BULK = 4 * 1024 * 1024,
	CHUNK = 64 * 1024
};

/* A stream without a period that matters, by position. */
static uint8_t byte_at(uint64_t at)
{
	return (uint8_t)(at * 31 + (at >> 8) * 17 + (at >> 16));
}

static void fill(uint8_t *data, size_t len, uint64_t from)
{
	for (size_t i = 0; i < len; i++) {
		data[i] = byte_at(from + i);
	}
}

static void check(const uint8_t *data, size_t len, uint64_t from)
{
	for (size_t i = 0; i < len; i++) {
		cr_assert_eq(data[i], byte_at(from + i), "byte %llu",
			     (unsigned long long)(from + i));
	}
}

static bool is_gone(void)
{
	for (size_t i = 0; i < bed.mux.used; i++) {
		if (bed.mux.conns[i].state != VSOCK_CONN_FREE) {
			return false;
		}
	}
	return true;
}

/* Sends what the host's credit allows; how much that was. */
static uint32_t send_some(struct bed_guest *guest, uint64_t sent, uint32_t limit, uint32_t len)
{
	static uint8_t data[CHUNK];
	uint32_t room = limit - (uint32_t)sent;

	len = len < room ? len : room;
	if (len > 0) {
		fill(data, len, sent);
		bed_send_data(guest, data, len);
	}
	return len;
}

static uint64_t read_some(int fd, uint64_t from, size_t len)
{
	static uint8_t data[CHUNK];
	ssize_t got = recv(fd, data, len < CHUNK ? len : CHUNK, MSG_DONTWAIT);

	if (got <= 0) {
		return 0;
	}
	check(data, (size_t)got, from);
	return (uint64_t)got;
}

/* The host reads `slowness` times less often than the guest writes. */
static void guest_to_host(unsigned slowness)
{
	struct vsock_header header;
	int served;
	struct bed_guest guest = bed_open_from_guest(&bed, 1025, &served);
	uint64_t sent = 0;
	uint64_t got = 0;
	uint32_t limit = VSOCK_RING_LEN;

	for (unsigned round = 0; got < BULK; round++) {
		cr_assert_lt(round, 100000);
		if (sent < BULK) {
			/* Of all lengths, so that the ring is used at all offsets. */
			uint32_t len = (uint32_t)min_u64(round * 977 % CHUNK + 1, BULK - sent);

			sent += send_some(&guest, sent, limit, len);
		}
		while (bed_take(&bed, &header, NULL)) {
			cr_assert_eq(header.op, VSOCK_OP_CREDIT_UPDATE);
			cr_assert_leq(header.fwd_cnt, sent);
			limit = header.fwd_cnt + header.buf_alloc;
		}
		if (round % slowness == 0) {
			got += read_some(served, got, CHUNK - round % 1000);
		}
	}
	cr_assert_eq(got, BULK);
	cr_assert_eq(metric_get(&bed.metrics.tx_bytes_count), BULK);
	close(served);
}

Test(vsock_conn, four_mebibytes_arrive_at_a_host_that_keeps_up)
{
	guest_to_host(1);
}

/* The socket takes parts: what it took must not come again. */
Test(vsock_conn, four_mebibytes_arrive_at_a_host_that_reads_slowly)
{
	guest_to_host(7);
}

static void host_to_guest(uint32_t buffer_len, uint32_t buf_alloc)
{
	static uint8_t data[CHUNK];
	static uint8_t got_data[VSOCK_PAYLOAD_MAX];
	struct vsock_header header;
	int client;
	uint64_t sent = 0;
	uint64_t got = 0;
	unsigned asked = 0;

	bed.buffer_len = buffer_len;
	struct bed_guest guest = bed_open_from_host(&bed, &client);

	guest.buf_alloc = buf_alloc;
	bed_send(&guest, VSOCK_OP_CREDIT_UPDATE, 0);
	for (unsigned round = 0; got < BULK; round++) {
		cr_assert_lt(round, 100000);
		size_t len = min_u64(round * 977 % CHUNK + 1, BULK - sent);

		fill(data, len, sent);
		ssize_t taken = send(client, data, len, MSG_DONTWAIT);

		sent += taken > 0 ? (uint64_t)taken : 0;
		while (bed_take(&bed, &header, got_data)) {
			if (header.op == VSOCK_OP_CREDIT_REQUEST) {
				asked++;
				guest.fwd_cnt = (uint32_t)got;
				bed_send(&guest, VSOCK_OP_CREDIT_UPDATE, 0);
				continue;
			}
			cr_assert_eq(header.op, VSOCK_OP_RW);
			check(got_data, header.len, got);
			got += header.len;
			cr_assert_leq(got - guest.fwd_cnt, buf_alloc);
		}
	}
	cr_assert_gt(asked, 0);
	cr_assert_eq(metric_get(&bed.metrics.rx_bytes_count), BULK);
	close(client);
}

Test(vsock_conn, four_mebibytes_arrive_in_a_guest_with_large_buffers)
{
	host_to_guest(VSOCK_HEADER_LEN + VSOCK_PAYLOAD_MAX, 256 * 1024);
}

Test(vsock_conn, four_mebibytes_arrive_in_a_guest_with_small_buffers_and_little_credit)
{
	host_to_guest(VSOCK_HEADER_LEN + 1536, 10000);
}

/* --- credit that the guest gives --- */

Test(vsock_conn, a_guest_out_of_credit_is_asked_once_and_not_spun_for)
{
	static const char data[3000];
	int client;
	struct bed_guest guest = bed_open_from_host(&bed, &client);

	guest.buf_alloc = 1000;
	bed_send(&guest, VSOCK_OP_CREDIT_UPDATE, 0);
	cr_assert_eq(send(client, data, sizeof(data), 0), sizeof(data));
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_RW).len, 1000);
	bed_expect(&bed, VSOCK_OP_CREDIT_REQUEST);
	cr_assert_eq(bed_run(&bed), 0);
	/* An answer that gives nothing is no reason to ask again. */
	bed_send(&guest, VSOCK_OP_CREDIT_UPDATE, 0);
	bed_expect_none(&bed);
	guest.fwd_cnt = 1000;
	bed_send(&guest, VSOCK_OP_CREDIT_UPDATE, 0);
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_RW).len, 1000);
	bed_expect(&bed, VSOCK_OP_CREDIT_REQUEST);
	guest.fwd_cnt = 1999;
	bed_send(&guest, VSOCK_OP_CREDIT_UPDATE, 0);
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_RW).len, 999);
}

Test(vsock_conn, a_guest_that_lies_about_credit_gets_no_more_than_it_has_buffers_for)
{
	static const struct {
		uint32_t buf_alloc;
		uint32_t fwd_cnt;
		uint32_t expected; /* of 3000 bytes, after 100 */
	} cases[] = {
		{0, 0, 0},
		{0, 100, 0},
		{99, 0, 0},
		{100, 0, 0},
		{101, 0, 1},
		{1000, 101, 0}, /* more than it ever got */
		{1000, UINT32_MAX, 899},
		{UINT32_MAX, 0, 3000},
		{UINT32_MAX, 101, 0},
		{UINT32_MAX, 100, 3000},
		{0x80000000, 0x80000000, 0},
	};
	static const char data[3000];

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct vsock_header header = {0};
		uint32_t got = 0;
		int client;
		struct bed_guest guest = bed_open_from_host(&bed, &client);

		cr_assert_eq(send(client, data, 100, 0), 100);
		cr_assert_eq(bed_expect(&bed, VSOCK_OP_RW).len, 100);
		guest.buf_alloc = cases[i].buf_alloc;
		guest.fwd_cnt = cases[i].fwd_cnt;
		bed_send(&guest, VSOCK_OP_CREDIT_UPDATE, 0);
		cr_assert_eq(send(client, data, sizeof(data), 0), sizeof(data));
		while (bed_take(&bed, &header, NULL)) {
			got += header.op == VSOCK_OP_RW ? header.len : 0;
		}
		cr_expect_eq(got, cases[i].expected, "case %zu: %u", i, got);
		cr_expect_eq(bed_run(&bed), 0, "case %zu", i);
		/* It can still be closed. */
		bed_send(&guest, VSOCK_OP_RST, 0);
		bed_run(&bed);
		cr_expect(is_gone(), "case %zu", i);
		close(client);
	}
}

/* --- credit that the host gives --- */

Test(vsock_conn, credit_is_told_when_asked_for_and_when_little_is_known_of)
{
	static char data[VSOCK_RING_LEN];
	int served;
	struct bed_guest guest = bed_open_from_guest(&bed, 1, &served);

	bed_send(&guest, VSOCK_OP_CREDIT_REQUEST, 0);
	struct vsock_header header = bed_expect(&bed, VSOCK_OP_CREDIT_UPDATE);

	cr_assert_eq(header.buf_alloc, VSOCK_RING_LEN);
	cr_assert_eq(header.fwd_cnt, 0);
	bed_send_data(&guest, data, VSOCK_RING_LEN / 4 * 3);
	bed_expect_none(&bed);
	bed_send_data(&guest, data, 1);
	header = bed_expect(&bed, VSOCK_OP_CREDIT_UPDATE);
	cr_assert_eq(header.fwd_cnt, VSOCK_RING_LEN / 4 * 3 + 1);
	bed_expect_none(&bed);
}

Test(vsock_conn, any_packet_tells_credit)
{
	static char data[VSOCK_RING_LEN];
	int served;
	struct bed_guest guest = bed_open_from_guest(&bed, 1, &served);

	bed.buffers = 0;
	bed_send_data(&guest, data, VSOCK_RING_LEN);
	bed_say(served, "x");
	bed_run(&bed);
	bed.buffers = 10;
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_RW).fwd_cnt, VSOCK_RING_LEN);
	bed_expect_none(&bed);
}

/* The first packet that is something else. */
static struct vsock_header skip_credit(void)
{
	struct vsock_header header = {0};

	while (bed_take(&bed, &header, NULL) && header.op == VSOCK_OP_CREDIT_UPDATE) {
		header.op = VSOCK_OP_INVALID;
	}
	return header;
}

static uint32_t told_buf_alloc(struct bed_guest *guest)
{
	cr_assert_eq(skip_credit().op, VSOCK_OP_INVALID);
	bed_send(guest, VSOCK_OP_CREDIT_REQUEST, 0);
	return bed_expect(&bed, VSOCK_OP_CREDIT_UPDATE).buf_alloc;
}

/* The socket takes little more than that. */
static void shrink_socket(void)
{
	const int len = 4096;

	cr_assert_eq(bed.mux.used, 1);
	cr_assert_eq(
		setsockopt(bed.mux.conns[0].source.fd, SOL_SOCKET, SO_SNDBUF, &len, sizeof(len)),
		0);
}

Test(vsock_conn, a_guest_that_uses_up_its_credit_gets_more)
{
	static char data[VSOCK_WIDE_LEN / 4];
	int served;
	struct bed_guest guest = bed_open_from_guest(&bed, 1, &served);

	bed_send_data(&guest, data, VSOCK_RING_LEN);
	struct vsock_header header = bed_expect(&bed, VSOCK_OP_CREDIT_UPDATE);

	cr_assert_eq(header.buf_alloc, VSOCK_WIDE_LEN);
	cr_assert_eq(header.fwd_cnt, VSOCK_RING_LEN);
	/* A quarter is left before it is told again. */
	for (unsigned i = 0; i < 3; i++) {
		bed_send_data(&guest, data, sizeof(data));
		bed_expect_none(&bed);
	}
	bed_send_data(&guest, data, 1);
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_CREDIT_UPDATE).buf_alloc, VSOCK_WIDE_LEN);
}

Test(vsock_conn, a_guest_whose_host_does_not_keep_up_gets_no_more)
{
	static uint8_t data[VSOCK_RING_LEN];
	int served;
	struct bed_guest guest = bed_open_from_guest(&bed, 1, &served);
	uint64_t got = 0;

	shrink_socket();
	fill(data, sizeof(data), 0);
	bed_send_data(&guest, data, sizeof(data));
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_CREDIT_UPDATE).buf_alloc, VSOCK_RING_LEN);
	cr_assert_eq(told_buf_alloc(&guest), VSOCK_RING_LEN);
	for (unsigned i = 0; i < 1000 && got < sizeof(data); i++) {
		got += read_some(served, got, CHUNK);
		bed_run(&bed);
	}
	cr_assert_eq(got, sizeof(data));
	/* It does now. */
	cr_assert_eq(told_buf_alloc(&guest), VSOCK_WIDE_LEN);
}

/* Until the socket takes no more and the ring is full. */
static uint64_t clog_up(struct bed_guest *guest)
{
	struct vsock_header header;
	uint64_t sent = 0;
	uint32_t limit = VSOCK_RING_LEN;
	uint32_t host_fwd = 0;

	for (unsigned round = 0; round < 1000; round++) {
		sent += send_some(guest, sent, limit, CHUNK);
		while (bed_take(&bed, &header, NULL)) {
			limit = header.fwd_cnt + header.buf_alloc;
			host_fwd = header.fwd_cnt;
		}
	}
	cr_assert_eq(sent - host_fwd, VSOCK_WIDE_LEN);
	return sent;
}

Test(vsock_conn, a_host_that_does_not_read_costs_no_more_than_the_ring_and_does_not_spin)
{
	int served;
	struct bed_guest guest = bed_open_from_guest(&bed, 1, &served);
	uint64_t sent = clog_up(&guest);
	uint64_t got = 0;

	cr_assert_eq(bed_run(&bed), 0);
	for (unsigned i = 0; i < 1000 && got < sent; i++) {
		got += read_some(served, got, CHUNK);
		bed_run(&bed);
	}
	cr_assert_eq(got, sent);
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_CREDIT_UPDATE).src_port, BED_PORT);
}

Test(vsock_conn, a_guest_that_overruns_its_credit_is_reset)
{
	int served;
	struct bed_guest guest = bed_open_from_guest(&bed, 1, &served);

	clog_up(&guest);
	bed_send_data(&guest, "x", 1);
	bed_expect(&bed, VSOCK_OP_RST);
	cr_assert(is_gone());
}

/* --- ends --- */

Test(vsock_conn, the_host_may_close_its_direction_alone)
{
	int client;
	struct bed_guest guest = bed_open_from_host(&bed, &client);

	bed_say(client, "question");
	shutdown(client, SHUT_WR);
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_RW).len, 8);
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_SHUTDOWN).flags, VSOCK_SHUTDOWN_SEND);
	bed_expect_none(&bed);
	bed_wait(&bed, 1000000);
	bed_send_data(&guest, "answer", 6);
	bed_hear(client, "answer");
	bed_send(&guest, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	bed_hear_end(client);
	bed_expect(&bed, VSOCK_OP_RST);
	cr_assert(is_gone());
}

Test(vsock_conn, the_guest_may_close_its_direction_alone)
{
	int client;
	struct bed_guest guest = bed_open_from_host(&bed, &client);

	bed_send_data(&guest, "question", 8);
	bed_send(&guest, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND);
	bed_hear(client, "question");
	bed_hear_end(client);
	bed_wait(&bed, 1000000);
	bed_say(client, "answer");
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_RW).len, 6);
	/* That was all; the guest may take its time to read it. */
	close(client);
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_SHUTDOWN).flags, VSOCK_SHUTDOWN_BOTH);
	bed_send(&guest, VSOCK_OP_RST, 0);
	cr_assert(is_gone());
}

Test(vsock_conn, both_directions_closed_one_after_the_other_end_the_connection)
{
	int client;
	struct bed_guest guest = bed_open_from_host(&bed, &client);

	shutdown(client, SHUT_WR);
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_SHUTDOWN).flags, VSOCK_SHUTDOWN_SEND);
	bed_send(&guest, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND);
	bed_hear_end(client);
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_SHUTDOWN).flags, VSOCK_SHUTDOWN_BOTH);
	bed_wait(&bed, 2000);
	bed_expect(&bed, VSOCK_OP_RST);
	cr_assert(is_gone());
}

Test(vsock_conn, a_guest_that_stops_receiving_stops_the_host_from_sending)
{
	int client;
	struct bed_guest guest = bed_open_from_host(&bed, &client);

	bed_send(&guest, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_RECEIVE);
	cr_assert_eq(send(client, "x", 1, MSG_NOSIGNAL), -1);
	cr_assert_eq(errno, EPIPE);
	bed_expect_none(&bed);
	bed_send_data(&guest, "more", 4);
	bed_hear(client, "more");
	/* With the client gone nothing is left to do. */
	close(client);
	bed_expect(&bed, VSOCK_OP_RST);
	cr_assert(is_gone());
}

Test(vsock_conn, what_the_guest_sent_before_it_closed_gets_out)
{
	int served;
	struct bed_guest guest = bed_open_from_guest(&bed, 1, &served);
	uint64_t sent = clog_up(&guest);
	uint64_t got = 0;

	bed_send(&guest, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	bed_expect_none(&bed);
	/* Slowly: as long as it goes on at all, there is time. */
	while (got < sent) {
		for (unsigned i = 0; i < 4; i++) {
			got += read_some(served, got, CHUNK);
		}
		bed_run(&bed);
		bed_wait(&bed, 1999);
	}
	cr_assert_eq(got, sent);
	cr_assert_eq(skip_credit().op, VSOCK_OP_RST);
	bed_hear_end(served);
	cr_assert(is_gone());
}

Test(vsock_conn, a_host_that_does_not_read_after_the_guest_closed_is_left_after_a_while)
{
	int served;
	struct bed_guest guest = bed_open_from_guest(&bed, 1, &served);

	clog_up(&guest);
	bed_send(&guest, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	bed_wait(&bed, 2000);
	bed_wait(&bed, 1999);
	bed_expect_none(&bed);
	bed_wait(&bed, 1);
	bed_expect(&bed, VSOCK_OP_RST);
	cr_assert(is_gone());
}

Test(vsock_conn, what_the_host_sent_before_it_closed_gets_in)
{
	static uint8_t data[100000];
	struct vsock_header header;
	int client;
	struct bed_guest guest = bed_open_from_host(&bed, &client);
	uint32_t got = 0;

	guest.buf_alloc = 10000;
	bed_send(&guest, VSOCK_OP_CREDIT_UPDATE, 0);
	cr_assert_eq(send(client, data, sizeof(data), 0), sizeof(data));
	close(client);
	while (bed_take(&bed, &header, NULL) && header.op != VSOCK_OP_SHUTDOWN) {
		cr_assert_lt(bed_run(&bed), 3);
		got += header.len;
		if (header.op == VSOCK_OP_CREDIT_REQUEST) {
			guest.fwd_cnt = got;
			bed_send(&guest, VSOCK_OP_CREDIT_UPDATE, 0);
		}
	}
	cr_assert_eq(header.op, VSOCK_OP_SHUTDOWN);
	cr_assert_eq(header.flags, VSOCK_SHUTDOWN_BOTH);
	cr_assert_eq(got, sizeof(data));
}

Test(vsock_conn, a_guest_that_reads_slowly_is_not_reset_before_it_has_read_all)
{
	int client;
	struct bed_guest guest = bed_open_from_host(&bed, &client);

	bed_say(client, "last words");
	close(client);
	bed_expect(&bed, VSOCK_OP_RW);
	bed_expect(&bed, VSOCK_OP_SHUTDOWN);
	for (unsigned i = 0; i < 10; i++) {
		bed_wait(&bed, 2000);
		bed_expect(&bed, VSOCK_OP_CREDIT_REQUEST);
		bed_send(&guest, VSOCK_OP_CREDIT_UPDATE, 0);
	}
	guest.fwd_cnt = 10;
	bed_send(&guest, VSOCK_OP_CREDIT_UPDATE, 0);
	bed_expect_none(&bed);
	bed_wait(&bed, 2000);
	bed_expect(&bed, VSOCK_OP_RST);
	cr_assert(is_gone());
}

Test(vsock_conn, a_write_to_a_host_that_has_gone_is_answered_by_a_reset)
{
	int client;
	struct bed_guest guest = bed_open_from_host(&bed, &client);

	/* Before the loop can hear of it. */
	close(client);
	bed_send_data(&guest, "anybody?", 8);
	bed_expect(&bed, VSOCK_OP_RST);
	cr_assert(is_gone());
	cr_assert_eq(metric_get(&bed.metrics.tx_write_fails), 1);
}

Test(vsock_conn, a_host_that_goes_with_the_ring_full_resets_the_guest)
{
	int served;
	struct bed_guest guest = bed_open_from_guest(&bed, 1, &served);

	clog_up(&guest);
	close(served);
	bed_expect(&bed, VSOCK_OP_RST);
	cr_assert(is_gone());
}

Test(vsock_conn, a_host_that_hangs_up_with_the_ring_full_and_no_credit_does_not_spin)
{
	int served;
	struct bed_guest guest = bed_open_from_guest(&bed, 1, &served);

	clog_up(&guest);
	guest.buf_alloc = 0;
	bed_send(&guest, VSOCK_OP_CREDIT_UPDATE, 0);
	/* Not closed: what it has not read keeps the socket from being writable. */
	shutdown(served, SHUT_RDWR);
	bed_run(&bed);
	cr_assert_eq(bed_run(&bed), 0);
	bed_expect(&bed, VSOCK_OP_RST);
	cr_assert(is_gone());
	close(served);
}

Test(vsock_conn, a_reset_of_the_guest_closes_the_host)
{
	int client;
	struct bed_guest guest = bed_open_from_host(&bed, &client);

	bed_send(&guest, VSOCK_OP_RST, 0);
	bed_hear_end(client);
	bed_expect_none(&bed);
	cr_assert(is_gone());
	cr_assert_eq(metric_get(&bed.metrics.conns_removed), 1);
}

Test(vsock_conn, a_host_that_goes_while_the_guest_takes_no_packets_does_not_spin)
{
	int client;

	bed_open_from_host(&bed, &client);
	bed.buffers = 0;
	bed_say(client, "data");
	bed_run(&bed);
	close(client);
	bed_run(&bed);
	cr_assert_eq(bed_run(&bed), 0);
	bed.buffers = 10;
	bed_expect(&bed, VSOCK_OP_RW);
	bed_expect(&bed, VSOCK_OP_SHUTDOWN);
}

/* --- what the protocol forbids --- */

Test(vsock_conn, a_packet_that_does_not_fit_the_state_resets)
{
	static const struct {
		uint16_t op;
		uint16_t before; /* a SHUTDOWN with these flags first, if not 0 */
	} cases[] = {
		{VSOCK_OP_REQUEST, 0}, {VSOCK_OP_RESPONSE, 0},
		{VSOCK_OP_INVALID, 0}, {8, 0},
		{UINT16_MAX, 0},       {VSOCK_OP_RW, VSOCK_SHUTDOWN_SEND},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int client;
		struct bed_guest guest = bed_open_from_host(&bed, &client);

		if (cases[i].before != 0) {
			bed_send(&guest, VSOCK_OP_SHUTDOWN, cases[i].before);
		}
		bed_send(&guest, cases[i].op, 0);
		bed_expect(&bed, VSOCK_OP_RST);
		bed_hear_end(client);
		cr_expect(is_gone(), "case %zu", i);
		close(client);
	}
}

Test(vsock_conn, an_answer_other_than_yes_or_no_resets)
{
	static const enum vsock_op ops[] = {VSOCK_OP_RW, VSOCK_OP_REQUEST, VSOCK_OP_SHUTDOWN};

	for (size_t i = 0; i < ARRAY_COUNT(ops); i++) {
		struct bed_guest guest = {.bed = &bed, .port = BED_PORT};
		int client = bed_client(&bed);

		bed_say(client, "CONNECT 52\n");
		guest.host_port = bed_expect(&bed, VSOCK_OP_REQUEST).src_port;
		bed_send(&guest, ops[i], VSOCK_SHUTDOWN_BOTH);
		bed_expect(&bed, VSOCK_OP_RST);
		bed_hear_end(client);
		cr_expect(is_gone(), "case %zu", i);
		close(client);
	}
}

Test(vsock_conn, another_type_on_the_ports_of_a_connection_does_not_touch_it)
{
	int client;
	struct bed_guest guest = bed_open_from_host(&bed, &client);
	const struct vsock_header header = {
		.src_cid = BED_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = guest.port,
		.dst_port = guest.host_port,
		.type = 2,
		.op = VSOCK_OP_RW,
	};

	bed_send_raw(&bed, &header, NULL);
	bed_expect(&bed, VSOCK_OP_RST);
	bed_send_data(&guest, "alive", 5);
	bed_hear(client, "alive");
}

Test(vsock_conn, an_answer_before_the_question_is_none)
{
	struct bed_guest guest = {
		.bed = &bed, .port = BED_PORT, .host_port = VSOCK_LOCAL_PORT_FIRST};
	int client = bed_client(&bed);

	bed.buffers = 0;
	bed_say(client, "CONNECT 52\n");
	bed_run(&bed);
	bed_send(&guest, VSOCK_OP_RESPONSE, 0);
	bed_hear_end(client);
	cr_assert(is_gone());
}

Test(vsock_conn, while_a_reset_is_owed_nothing_else_is_heard)
{
	int client;
	struct bed_guest guest = bed_open_from_host(&bed, &client);

	bed.buffers = 0;
	bed_send(&guest, VSOCK_OP_RESPONSE, 0);
	bed_send_data(&guest, "x", 1);
	bed_send(&guest, VSOCK_OP_REQUEST, 0);
	bed_send(&guest, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	bed_hear_end(client);
	bed.buffers = 10;
	bed_expect(&bed, VSOCK_OP_RST);
	bed_expect_none(&bed);
	cr_assert(is_gone());
}

Test(vsock_conn, an_empty_packet_of_data_is_nothing)
{
	int client;
	char byte;
	struct bed_guest guest = bed_open_from_host(&bed, &client);

	bed_send_data(&guest, "", 0);
	bed_expect_none(&bed);
	cr_assert_eq(recv(client, &byte, 1, 0), -1);
	cr_assert_eq(errno, EAGAIN);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The multiplexer of the socket device: clients, servers, places, turns, time. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/capture.h"
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

TestSuite(vsock_mux, .init = set_up, .fini = tear_down);

static size_t connections(void)
{
	size_t count = 0;

	for (size_t i = 0; i < bed.mux.used; i++) {
		count += bed.mux.conns[i].state != VSOCK_CONN_FREE;
	}
	return count;
}

/* --- clients of the host --- */

Test(vsock_mux, a_client_is_told_its_port_once_the_guest_accepts)
{
	int first = bed_client(&bed);

	bed_say(first, "CONNECT 52\n");
	struct vsock_header header = bed_expect(&bed, VSOCK_OP_REQUEST);

	cr_assert_eq(header.src_port, VSOCK_LOCAL_PORT_FIRST);
	cr_assert_eq(header.dst_port, 52);
	cr_assert_eq(header.buf_alloc, VSOCK_RING_LEN);
	struct bed_guest guest = {&bed, 52, header.src_port, 1000, 0};

	bed_send(&guest, VSOCK_OP_RESPONSE, 0);
	bed_hear(first, "OK 1073741824\n");
	int second;

	cr_assert_eq(bed_open_from_host(&bed, &second).host_port, VSOCK_LOCAL_PORT_FIRST + 1);
	cr_assert_eq(metric_get(&bed.metrics.conns_added), 2);
	close(first);
	close(second);
}

Test(vsock_mux, a_port_in_use_is_not_given_again)
{
	int clients[3];
	struct bed_guest first = bed_open_from_host(&bed, &clients[0]);

	bed.mux.next_port = VSOCK_LOCAL_PORT_FIRST - 1;
	struct bed_guest last = bed_open_from_host(&bed, &clients[1]);

	cr_assert_eq(last.host_port, UINT32_C(0x7fffffff));
	struct bed_guest next = bed_open_from_host(&bed, &clients[2]);

	cr_assert_eq(next.host_port, first.host_port + 1);
}

Test(vsock_mux, a_greeting_may_come_in_pieces)
{
	static const char text[] = "CONNECT 52\n";
	int client = bed_client(&bed);

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		char piece[] = {text[i], 0};

		bed_expect_none(&bed);
		bed_say(client, piece);
	}
	bed_expect(&bed, VSOCK_OP_REQUEST);
	close(client);
}

Test(vsock_mux, a_client_need_not_wait_for_the_ok)
{
	struct bed_guest guest = {.bed = &bed, .port = 7, .buf_alloc = 1000};
	char data[6] = {0};
	int client = bed_client(&bed);

	bed_say(client, "CONNECT 7\nhello");
	guest.host_port = bed_expect(&bed, VSOCK_OP_REQUEST).src_port;
	bed_expect_none(&bed);
	bed_send(&guest, VSOCK_OP_RESPONSE, 0);
	struct vsock_header header;

	cr_assert(bed_take(&bed, &header, data));
	cr_assert_eq(header.op, VSOCK_OP_RW);
	cr_assert_str_eq(data, "hello");
	bed_hear(client, "OK 1073741824\n");
}

Test(vsock_mux, what_is_no_greeting_closes_the_client)
{
	static const char *const texts[] = {
		"\n",
		"CONNECT\n",
		"CONNECT x\n",
		"CONNECT 4294967296\n",
		"HELLO 52\nCONNECT 52\n",
		"GET / HTTP/1.1\r\n\r\n",
		"CONNECT                       52\n",
		"................................................................",
	};

	for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
		int client = bed_client(&bed);

		bed_say(client, texts[i]);
		bed_expect_none(&bed);
		bed_hear_end(client);
		close(client);
		cr_expect_eq(connections(), 0, "%s", texts[i]);
	}
	cr_assert_eq(metric_get(&bed.metrics.conns_added), 0);
}

Test(vsock_mux, a_client_that_goes_before_its_greeting_leaves_nothing)
{
	int client = bed_client(&bed);

	bed_say(client, "CONN");
	bed_run(&bed);
	close(client);
	bed_expect_none(&bed);
	cr_assert_eq(connections(), 0);
}

Test(vsock_mux, a_client_that_goes_before_the_answer_resets_the_guest)
{
	struct bed_guest guest = {.bed = &bed, .port = BED_PORT, .buf_alloc = 1000};
	int client = bed_client(&bed);

	bed_say(client, "CONNECT 52\n");
	guest.host_port = bed_expect(&bed, VSOCK_OP_REQUEST).src_port;
	close(client);
	bed_expect(&bed, VSOCK_OP_RST);
	cr_assert_eq(connections(), 0);
	/* Too late. */
	bed_send(&guest, VSOCK_OP_RESPONSE, 0);
	bed_expect(&bed, VSOCK_OP_RST);
}

Test(vsock_mux, a_client_that_goes_before_the_guest_was_asked_is_not_mentioned)
{
	int client = bed_client(&bed);

	bed.buffers = 0;
	bed_say(client, "CONNECT 52\n");
	bed_run(&bed);
	close(client);
	bed_run(&bed);
	bed.buffers = 10;
	bed_expect_none(&bed);
	cr_assert_eq(connections(), 0);
}

Test(vsock_mux, the_guest_may_refuse_a_client)
{
	struct bed_guest guest = {.bed = &bed, .port = BED_PORT};
	int client = bed_client(&bed);

	bed_say(client, "CONNECT 52\n");
	guest.host_port = bed_expect(&bed, VSOCK_OP_REQUEST).src_port;
	bed_send(&guest, VSOCK_OP_RST, 0);
	bed_hear_end(client);
	cr_assert_eq(connections(), 0);
	bed_expect_none(&bed);
}

/* --- servers of the host --- */

Test(vsock_mux, the_guest_reaches_the_socket_of_its_port)
{
	int served;
	struct bed_guest guest = bed_open_from_guest(&bed, 1025, &served);

	bed_send_data(&guest, "ping", 4);
	bed_hear(served, "ping");
	bed_say(served, "pong");
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_RW).len, 4);
}

Test(vsock_mux, a_port_without_a_socket_refuses)
{
	struct bed_guest guest = {.bed = &bed, .port = 1025, .host_port = 9999};
	char path[128];

	bed_send(&guest, VSOCK_OP_REQUEST, 0);
	struct vsock_header header = bed_expect(&bed, VSOCK_OP_RST);

	cr_assert_eq(header.src_port, 9999);
	cr_assert_eq(header.dst_port, 1025);
	/* A file that nobody listens at. */
	close(bed_serve(&bed, 9999));
	bed_send(&guest, VSOCK_OP_REQUEST, 0);
	bed_expect(&bed, VSOCK_OP_RST);
	snprintf(path, sizeof(path), "%s_9999", bed.path);
	cr_assert_eq(access(path, F_OK), 0);
	cr_assert_eq(connections(), 0);
}

Test(vsock_mux, a_server_that_is_overrun_refuses_and_does_not_block)
{
	struct bed_guest guest = {.bed = &bed, .host_port = BED_PORT};
	int server = bed_serve(&bed, BED_PORT);
	struct vsock_header header = {0};

	cr_assert_eq(listen(server, 1), 0);
	for (guest.port = 0; guest.port < 10 && header.op != VSOCK_OP_RST; guest.port++) {
		bed_send(&guest, VSOCK_OP_REQUEST, 0);
		cr_assert(bed_take(&bed, &header, NULL));
	}
	cr_assert_eq(header.op, VSOCK_OP_RST);
	close(server);
}

Test(vsock_mux, packets_without_a_connection_are_answered_by_a_reset)
{
	static const struct {
		uint16_t op;
		uint16_t type;
		uint64_t dst_cid;
		bool is_answered;
	} cases[] = {
		{VSOCK_OP_RW, 1, 2, true},
		{VSOCK_OP_RESPONSE, 1, 2, true},
		{VSOCK_OP_SHUTDOWN, 1, 2, true},
		{VSOCK_OP_CREDIT_UPDATE, 1, 2, true},
		{VSOCK_OP_CREDIT_REQUEST, 1, 2, true},
		{VSOCK_OP_INVALID, 1, 2, true},
		{8, 1, 2, true},
		{VSOCK_OP_REQUEST, 2, 2, true},
		{VSOCK_OP_RST, 1, 2, false},
		{VSOCK_OP_RST, 2, 2, false},
		{VSOCK_OP_REQUEST, 1, 4, false},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct vsock_header sent = {
			.src_cid = BED_CID,
			.dst_cid = cases[i].dst_cid,
			.src_port = 1,
			.dst_port = 2,
			.type = cases[i].type,
			.op = cases[i].op,
		};
		struct vsock_header header = {0};

		bed_send_raw(&bed, &sent, NULL);
		cr_expect_eq(bed_take(&bed, &header, NULL), cases[i].is_answered, "case %zu", i);
		cr_expect(!cases[i].is_answered || header.op == VSOCK_OP_RST);
	}
}

Test(vsock_mux, a_length_beyond_the_chain_is_dropped)
{
	int served;
	struct bed_guest guest = bed_open_from_guest(&bed, 1, &served);
	struct vsock_header header = {
		.src_cid = BED_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = guest.port,
		.dst_port = guest.host_port,
		.type = VSOCK_TYPE_STREAM,
		.op = VSOCK_OP_RW,
		.buf_alloc = 1000,
	};
	static const uint32_t lens[] = {1, 4096, VSOCK_PAYLOAD_MAX + 1, UINT32_MAX};
	char byte;

	for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
		header.len = lens[i];
		bed_send_raw(&bed, &header, NULL);
	}
	bed_expect_none(&bed);
	cr_assert_eq(recv(served, &byte, 1, 0), -1);
	bed_send_data(&guest, "alive", 5);
	bed_hear(served, "alive");
}

/* --- places --- */

static void need_descriptors(rlim_t count)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < count) {
		cr_skip_test("at most %llu descriptors", (unsigned long long)limit.rlim_max);
	}
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

enum {
	MANY = 500
};

Test(vsock_mux, five_hundred_clients_at_once_all_get_their_own)
{
	static int clients[MANY];
	char text[32];

	need_descriptors(2 * MANY + 50);
	for (unsigned i = 0; i < MANY; i++) {
		clients[i] = bed_client(&bed);
		snprintf(text, sizeof(text), "CONNECT %u\n%u", 1000 + i, i);
		bed_say(clients[i], text);
	}
	struct bed_guest guests[MANY];

	for (unsigned i = 0; i < MANY; i++) {
		struct vsock_header header = bed_expect(&bed, VSOCK_OP_REQUEST);

		guests[i] = (struct bed_guest){&bed, header.dst_port, header.src_port, 1000, 0};
	}
	for (unsigned i = 0; i < MANY; i++) {
		bed_send(&guests[i], VSOCK_OP_RESPONSE, 0);
	}
	for (unsigned i = 0; i < MANY; i++) {
		struct vsock_header header = {0};
		char data[16] = {0};

		cr_assert(bed_take(&bed, &header, data));
		snprintf(text, sizeof(text), "%u", header.dst_port - 1000);
		cr_assert_str_eq(data, text);
		bed_send_data(&(struct bed_guest){&bed, header.dst_port, header.src_port, 1000,
						  header.len},
			      data, header.len);
	}
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "OK %u\n%u", guests[i].host_port,
			 guests[i].port - 1000);
		bed_hear(clients[guests[i].port - 1000], text);
	}
	for (unsigned i = 0; i < MANY; i++) {
		close(clients[i]);
	}
}

Test(vsock_mux, silent_clients_make_room_for_others_in_their_order)
{
	static int silent[VSOCK_CONNS_MAX];
	int client;

	need_descriptors(2 * VSOCK_CONNS_MAX + 50);
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++) {
		silent[i] = bed_client(&bed);
	}
	cr_assert_eq(connections(), VSOCK_CONNS_MAX);
	bed_open_from_host(&bed, &client);
	cr_assert_eq(connections(), VSOCK_CONNS_MAX);
	bed_hear_end(silent[0]);
	bed_say(silent[1], "CONNECT 5\n");
	bed_expect(&bed, VSOCK_OP_REQUEST);
	int served;

	bed_open_from_guest(&bed, 4, &served);
	bed_hear_end(silent[2]);
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++) {
		close(silent[i]);
	}
}

Test(vsock_mux, a_full_table_turns_both_sides_away)
{
	static int clients[VSOCK_CONNS_MAX];
	struct bed_guest guests[VSOCK_CONNS_MAX];
	struct bed_guest another = {.bed = &bed, .port = 1, .host_port = BED_PORT};

	need_descriptors(2 * VSOCK_CONNS_MAX + 50);
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++) {
		guests[i] = bed_open_from_host(&bed, &clients[i]);
	}
	int server = bed_serve(&bed, BED_PORT);
	int client = bed_client(&bed);

	bed_hear_end(client);
	close(client);
	bed_send(&another, VSOCK_OP_REQUEST, 0);
	bed_expect(&bed, VSOCK_OP_RST);
	/* One whose client has gone and that the guest keeps has to make room. */
	close(clients[3]);
	bed_expect(&bed, VSOCK_OP_SHUTDOWN);
	bed_send(&another, VSOCK_OP_REQUEST, 0);
	struct vsock_header header = bed_expect(&bed, VSOCK_OP_RST);

	cr_assert_eq(header.src_port, guests[3].host_port);
	bed_expect(&bed, VSOCK_OP_RESPONSE);
	cr_assert_eq(connections(), VSOCK_CONNS_MAX);
	close(server);
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++) {
		close(clients[i]);
	}
}

Test(vsock_mux, a_place_that_is_closed_by_its_own_event_is_used_again)
{
	int client;

	bed_open_from_host(&bed, &client);
	bed_say(client, "late");
	bed.is_reset = true;
	bed_expect_none(&bed);
	cr_assert_eq(connections(), 0);
	close(client);
	bed_open_from_host(&bed, &client);
	cr_assert_eq(bed.mux.used, 1);
	close(client);
}

/* Pages of [at, at + len) that have memory. */
static size_t resident_pages(void *at, size_t len)
{
	static unsigned char pages[(size_t)(VSOCK_CONNS_MAX + 16) * VSOCK_RING_LEN / 4096 +
				   (size_t)VSOCK_WIDE_MAX * VSOCK_WIDE_LEN / 4096];
	size_t resident = 0;

	cr_assert_leq(len / 4096, sizeof(pages));
	cr_assert_eq(mincore(at, len, pages), 0);
	for (size_t i = 0; i < len / 4096; i++) {
		resident += pages[i] & 1;
	}
	return resident;
}

Test(vsock_mux, connections_cost_memory_only_as_far_as_they_are_used)
{
	int client;

	bed_open_from_host(&bed, &client);
	cr_assert_leq(resident_pages(bed.mux.conns, bed.mux.map_len), 1);
	close(client);
}

Test(vsock_mux, all_connections_at_their_worst_have_an_end)
{
	cr_assert_leq(bed.mux.map_len, 69 * MIB);
}

/* How much credit the guest is told of after it has used up what it had. */
static uint32_t stream(struct bed_guest *guest)
{
	static uint8_t data[VSOCK_RING_LEN];

	bed_send_data(guest, data, sizeof(data));
	return bed_expect(&bed, VSOCK_OP_CREDIT_UPDATE).buf_alloc;
}

Test(vsock_mux, only_so_many_connections_have_a_long_ring)
{
	struct bed_guest guests[VSOCK_WIDE_MAX + 2];
	int clients[ARRAY_COUNT(guests)];

	for (unsigned i = 0; i < ARRAY_COUNT(guests); i++) {
		guests[i] = bed_open_from_host(&bed, &clients[i]);
	}
	for (unsigned i = 0; i < VSOCK_WIDE_MAX; i++) {
		cr_expect_eq(stream(&guests[i]), VSOCK_WIDE_LEN, "%u", i);
	}
	cr_assert_eq(stream(&guests[VSOCK_WIDE_MAX]), VSOCK_RING_LEN);
	/* It may have that of one that ends. */
	bed_send(&guests[3], VSOCK_OP_RST, 0);
	close(clients[3]);
	cr_assert_eq(stream(&guests[VSOCK_WIDE_MAX]), VSOCK_WIDE_LEN);
	cr_assert_eq(stream(&guests[VSOCK_WIDE_MAX + 1]), VSOCK_RING_LEN);
	/* A new connection at the old place begins small. */
	guests[3] = bed_open_from_host(&bed, &clients[3]);
	bed_send(&guests[3], VSOCK_OP_CREDIT_REQUEST, 0);
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_CREDIT_UPDATE).buf_alloc, VSOCK_RING_LEN);
}

/* Sends until the socket is full and bytes wait in the ring. */
static void fill_ring(struct bed_guest *guest)
{
	static uint8_t data[4096];
	struct vsock_header header;

	while (bed.mux.conns[0].tx_count == bed.mux.conns[0].fwd_count) {
		bed_send_data(guest, data, sizeof(data));
		while (bed_take(&bed, &header, NULL)) {
		}
	}
}

static void drain(int client)
{
	static uint8_t data[VSOCK_WIDE_LEN];

	while (recv(client, data, sizeof(data), MSG_DONTWAIT) > 0) {
		bed_run(&bed);
	}
	cr_assert_eq(bed.mux.conns[0].tx_count, bed.mux.conns[0].fwd_count);
}

Test(vsock_mux, a_ring_that_is_empty_for_a_while_gives_its_memory_back)
{
	uint8_t *rings = bed.mux.rings;
	size_t len = bed.mux.map_len - (size_t)(rings - (uint8_t *)bed.mux.conns);
	int client;
	struct bed_guest guest = bed_open_from_host(&bed, &client);

	cr_assert_eq(resident_pages(rings, len), 0);
	for (unsigned i = 0; i < 2; i++) {
		fill_ring(&guest);
		/* What waits to be read is kept as long as it takes. */
		bed_wait(&bed, 1000000);
		cr_assert_gt(resident_pages(rings, len), 0);
		drain(client);
		bed_wait(&bed, 1999);
		cr_assert_gt(resident_pages(rings, len), 0);
		bed_wait(&bed, 1);
		cr_assert_eq(resident_pages(rings, len), 0);
	}
	/* As is what came while it was empty. */
	fill_ring(&guest);
	drain(client);
	bed_wait(&bed, 1000);
	fill_ring(&guest);
	bed_wait(&bed, 1000);
	cr_assert_gt(resident_pages(rings, len), 0);
	bed_send(&guest, VSOCK_OP_RST, 0);
	cr_assert_eq(resident_pages(rings, len), 0);
	close(client);
}

Test(vsock_mux, out_of_descriptors_clients_wait_and_the_loop_does_not_spin)
{
	struct rlimit limit;
	struct rlimit before;
	int client;

	getrlimit(RLIMIT_NOFILE, &before);
	client = dup(0);
	limit = before;
	limit.rlim_cur = (rlim_t)client + 1;
	close(client);
	client = bed_client(&bed);
	cr_assert_eq(connections(), 1);
	close(client);
	bed_run(&bed);
	cr_assert_eq(connections(), 0);
	/* Room for the client's end alone. */
	setrlimit(RLIMIT_NOFILE, &limit);
	client = bed_client(&bed);
	cr_assert_eq(connections(), 0);
	cr_assert_lt(bed_run(&bed), 3);
	setrlimit(RLIMIT_NOFILE, &before);
	bed_wait(&bed, 100);
	cr_assert_eq(connections(), 1);
	cr_assert_eq(metric_get(&bed.metrics.muxer_event_fails), 1);
	close(client);
}

Test(vsock_mux, connections_leave_descriptors_to_others)
{
	struct bed_guest guest = {.bed = &bed, .host_port = BED_PORT};
	int server = bed_serve(&bed, BED_PORT);
	int client = dup(0);

	/* The client's end still fits, the end of the device does not. */
	bed.mux.fd_end = client + 1;
	close(client);
	client = bed_client(&bed);
	cr_assert_eq(connections(), 0);
	cr_assert_eq(metric_get(&bed.metrics.muxer_event_fails), 1);
	bed_send(&guest, VSOCK_OP_REQUEST, 0);
	bed_expect(&bed, VSOCK_OP_RST);
	cr_assert_eq(connections(), 0);
	close(client);
	close(server);
}

Test(vsock_mux, why_the_host_refuses_is_logged_once_per_cause)
{
	struct bed_guest guest = {.bed = &bed, .host_port = BED_PORT};
	int log = capture_log(LOG_WARN);
	char line[200];

	for (int round = 0; round < 3; round++) {
		bed_send(&guest, VSOCK_OP_REQUEST, 0);
		bed_expect(&bed, VSOCK_OP_RST);
	}
	snprintf(line, sizeof(line),
		 "The guest can't connect to %s_%u: No such file or directory (os error 2).",
		 bed.path, BED_PORT);
	const char *text = captured(log);
	const char *first = strstr(text, line);

	cr_assert(first != NULL && strstr(first + 1, line) == NULL, "%s", text);
	/* A file that nobody listens at. */
	close(bed_serve(&bed, BED_PORT));
	bed_send(&guest, VSOCK_OP_REQUEST, 0);
	bed_expect(&bed, VSOCK_OP_RST);
	cr_assert(strstr(captured(log), "Connection refused (os error 111)") != NULL);
	close(log);
}

/* --- turns --- */

Test(vsock_mux, connections_with_data_take_turns)
{
	enum {
		ROUNDS = 20,
		CLIENTS = 3
	};
	static uint8_t data[ROUNDS * 100];
	struct bed_guest guests[CLIENTS];
	int clients[CLIENTS];

	for (unsigned i = 0; i < CLIENTS; i++) {
		guests[i] = bed_open_from_host(&bed, &clients[i]);
	}
	bed.buffers = 0;
	for (unsigned i = 0; i < CLIENTS; i++) {
		cr_assert_eq(send(clients[i], data, sizeof(data), 0), (ssize_t)sizeof(data));
	}
	bed_run(&bed);
	bed.buffers = UINT32_MAX;
	bed.buffer_len = VSOCK_HEADER_LEN + 100;
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned seen = 0;

		for (unsigned i = 0; i < CLIENTS; i++) {
			struct vsock_header header = bed_expect(&bed, VSOCK_OP_RW);

			cr_assert_eq(header.len, 100);
			seen |= 1u << (header.src_port - guests[0].host_port);
		}
		cr_expect_eq(seen, (1u << CLIENTS) - 1, "round %u: %x", round, seen);
	}
}

Test(vsock_mux, a_guest_that_takes_no_answers_is_not_listened_to)
{
	struct bed_guest guest = {.bed = &bed, .host_port = 9};

	bed.buffers = 0;
	for (guest.port = 0; guest.port < VSOCK_REPLIES_MAX; guest.port++) {
		cr_assert_not(vsock_mux_is_full(&bed.mux));
		bed_send(&guest, VSOCK_OP_RW, 0);
	}
	cr_assert(vsock_mux_is_full(&bed.mux));
	bed.buffers = VSOCK_REPLIES_MAX;
	for (uint32_t port = 0; port < VSOCK_REPLIES_MAX; port++) {
		cr_assert_eq(bed_expect(&bed, VSOCK_OP_RST).dst_port, port);
	}
	bed_expect_none(&bed);
}

Test(vsock_mux, a_chain_without_room_for_data_is_not_the_end_of_it)
{
	int client;

	bed_open_from_host(&bed, &client);
	bed_say(client, "data");
	bed.buffers = 0;
	bed_run(&bed);
	bed.chain = (struct virtq_chain){
		.count = 1, .write_len = VSOCK_HEADER_LEN, .segs = {{GPA(0), VSOCK_HEADER_LEN}}};
	uint32_t len;

	cr_assert_not(vsock_mux_fill(&bed.mux, &bed.io, &len));
	cr_assert(vsock_mux_has_packet(&bed.mux));
	bed.buffers = 1;
	cr_assert_eq(bed_expect(&bed, VSOCK_OP_RW).len, 4);
}

/* --- time --- */

Test(vsock_mux, a_client_that_does_not_finish_its_greeting_is_closed)
{
	int client = bed_client(&bed);

	bed_say(client, "CONNECT");
	bed_wait(&bed, 59999);
	cr_assert_eq(connections(), 1);
	bed_wait(&bed, 1);
	bed_hear_end(client);
	cr_assert_eq(connections(), 0);
}

Test(vsock_mux, a_guest_that_does_not_answer_a_request_gets_a_reset)
{
	int client = bed_client(&bed);

	bed_say(client, "CONNECT 52\n");
	bed_expect(&bed, VSOCK_OP_REQUEST);
	bed_wait(&bed, 1999);
	bed_expect_none(&bed);
	bed_wait(&bed, 1);
	bed_expect(&bed, VSOCK_OP_RST);
	bed_hear_end(client);
	cr_assert_eq(connections(), 0);
}

Test(vsock_mux, an_open_connection_may_be_idle_for_ever)
{
	int client;
	struct bed_guest guest = bed_open_from_host(&bed, &client);

	bed_wait(&bed, 1000 * 1000 * 1000);
	bed_send_data(&guest, "x", 1);
	bed_hear(client, "x");
}

Test(vsock_mux, the_timer_is_set_for_the_first_of_many_waits)
{
	int clients[3];
	unsigned expired = 0;

	for (unsigned i = 0; i < 3; i++) {
		clients[i] = bed_client(&bed);
		bed_wait(&bed, 500);
	}
	bed_say(clients[2], "CONNECT 1\n");
	bed_expect(&bed, VSOCK_OP_REQUEST);
	cr_assert_eq(bed.mux.timer_ns, bed_now_ns + 2000 * UINT64_C(1000000));
	for (unsigned i = 0; i < 200; i++) {
		size_t before = connections();

		bed_wait(&bed, 500);
		expired += connections() < before;
		cr_assert(connections() == 0 || bed.mux.timer_ns > bed_now_ns);
	}
	cr_assert_eq(expired, 3);
	bed_expect(&bed, VSOCK_OP_RST);
}

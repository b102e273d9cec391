/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata service's network, frame by frame, with clients that are few lines each. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/mmds/netstack.h"
#include "tests/fake/alloc_guard.h"
#include "vmm/base/bytes.h"

enum {
	ISN = 5000, /* of the service */
	GUEST_ISN = 1000,
	MSS = 1000,
	BUFFERS = 20, /* requests that can be under way */
	REPLIES = 64,
};

#define MS UINT64_C(1000000)
#define GET "GET / HTTP/1.1\r\n\r\n"

struct rig {
	struct mmds_stack *stack;
	struct mmds_metrics metrics;
	uint64_t now_ns;
	/* What the service was asked, and answers. */
	char request[MMDS_REQUEST_MAX + 1];
	size_t request_len;
	unsigned requests;
	unsigned released;
	const char *reply; /* NULL: no answer */
	bool is_last;
	/* The last frame that was sent. */
	uint8_t frame[MMDS_FRAME_MAX];
	size_t frame_len;
	struct mmds_packet sent;
};

/* A client in the guest; its numbers are those of its next segment. */
struct client {
	struct mmds_address address;
	uint32_t seq;
	uint32_t ack;
};

static int answer(void *arg, const char *request, size_t len, struct mmds_reply *reply)
{
	struct rig *rig = arg;

	cr_assert_leq(len, MMDS_REQUEST_MAX);
	memcpy(rig->request, request, len);
	rig->request[len] = '\0';
	rig->request_len = len;
	rig->requests++;
	if (rig->reply == NULL) {
		return -1;
	}
	*reply = (struct mmds_reply){rig->reply, strlen(rig->reply), rig->is_last, rig};
	return 0;
}

static void release(void *arg, struct mmds_reply *reply)
{
	struct rig *rig = arg;

	cr_assert_eq(reply->owner, rig);
	rig->released++;
}

static uint32_t choose_isn(void *arg)
{
	(void)arg;
	return ISN;
}

static const uint8_t service[] = {169, 254, 169, 254};

static void rig_init(struct rig *rig)
{
	struct mmds_stack_params params = {
		.mac = {6, 1, 0x23, 0x45, 0x67, 1},
		.ipv4 = {169, 254, 169, 254},
		.service = {answer, release, choose_isn, rig},
		.metrics = &rig->metrics,
	};
	struct error err = {0};

	*rig = (struct rig){.reply = "HTTP/1.1 200 \r\n\r\nhello", .now_ns = 1};
	cr_assert_eq(mmds_stack_new(&params, &rig->stack, &err), 0, "%s", err.msg);
}

/* Every reply goes back to the service. */
static void rig_destroy(struct rig *rig)
{
	unsigned answered = rig->reply != NULL ? rig->requests : rig->released;

	mmds_stack_free(rig->stack);
	cr_assert_eq(rig->released, answered);
}

static void give(struct rig *rig, const uint8_t *data, size_t len)
{
	cr_assert(mmds_stack_takes(rig->stack, data, len));
	alloc_guard_begin();
	mmds_stack_receive(rig->stack, &(struct mmds_frame){.data = data, .len = len}, rig->now_ns);
	cr_assert_eq(alloc_guard_end(), 0);
}

/* Sends a segment of the client to a port. */
static void say_to(struct rig *rig, const struct client *client, uint16_t port,
		   struct mmds_segment segment)
{
	struct mmds_address to = {{6, 1, 0x23, 0x45, 0x67, 1}, {169, 254, 169, 254}, port};
	uint8_t frame[MMDS_FRAME_MAX];

	segment.window = 65535;
	give(rig, frame, mmds_packet_write_tcp(frame, &client->address, &to, &segment));
}

static void say(struct rig *rig, struct client *client, uint8_t flags, const char *text)
{
	struct mmds_segment segment = {
		.seq = client->seq,
		.ack = client->ack,
		.flags = flags,
		.payload = (const uint8_t *)text,
		.len = (uint16_t)strlen(text),
		.mss = (flags & MMDS_TCP_SYN) != 0 ? MSS : 0,
	};

	say_to(rig, client, MMDS_PORT, segment);
	client->seq += segment.len + ((flags & (MMDS_TCP_SYN | MMDS_TCP_FIN)) != 0 ? 1 : 0);
}

/* Takes the next frame; false: there is none. */
static bool hear(struct rig *rig)
{
	alloc_guard_begin();
	rig->frame_len = mmds_stack_send(rig->stack, rig->frame, sizeof(rig->frame), rig->now_ns);
	cr_assert_eq(alloc_guard_end(), 0);
	if (rig->frame_len == 0) {
		return false;
	}
	struct mmds_frame frame = {.data = rig->frame, .len = rig->frame_len};
	enum mmds_packet_kind kind = mmds_packet_parse(&frame, &rig->sent);

	cr_assert(kind == MMDS_PACKET_TCP || rig->frame[13] == 6);
	return true;
}

/* The next frame is a segment for this client, with these flags. */
static void expect(struct rig *rig, struct client *client, unsigned flags, size_t len)
{
	const struct mmds_segment *segment = &rig->sent.segment;

	cr_assert(hear(rig), "nothing is sent");
	cr_assert_eq(rig->sent.to_port, client->address.port, "%u", rig->sent.to_port);
	cr_assert_arr_eq(rig->frame, client->address.mac, MMDS_MAC_LEN);
	cr_assert_eq(segment->flags, flags, "flags %u", segment->flags);
	cr_assert_eq(segment->len, len, "len %u", segment->len);
	client->ack = segment->seq + segment->len +
		      ((flags & (MMDS_TCP_SYN | MMDS_TCP_FIN)) != 0 ? 1 : 0);
}

static struct client new_client(uint16_t port)
{
	return (struct client){
		.address = {{2, 0, 0, 0, 0, (uint8_t)port}, {169, 254, 1, 2}, port},
		.seq = GUEST_ISN,
	};
}

static void connect_client(struct rig *rig, struct client *client, uint16_t port)
{
	*client = new_client(port);
	say(rig, client, MMDS_TCP_SYN, "");
	expect(rig, client, MMDS_TCP_SYN | MMDS_TCP_ACK, 0);
	cr_assert_eq(rig->sent.segment.seq, ISN);
	say(rig, client, MMDS_TCP_ACK, "");
}

static void expect_reply(struct rig *rig, struct client *client)
{
	expect(rig, client, MMDS_TCP_ACK | MMDS_TCP_PSH, strlen(rig->reply));
	cr_assert_arr_eq(rig->sent.segment.payload, rig->reply, strlen(rig->reply));
	say(rig, client, MMDS_TCP_ACK, "");
}

static void ask(struct rig *rig, struct client *client)
{
	say(rig, client, MMDS_TCP_ACK | MMDS_TCP_PSH, GET);
	expect_reply(rig, client);
}

#define COUNT(rig, name) metric_get(&(rig)->metrics.name)

Test(mmds_netstack, a_client_asks_and_is_answered)
{
	struct client client;
	struct rig rig;

	rig_init(&rig);
	connect_client(&rig, &client, 40000);
	cr_expect_eq(rig.sent.segment.mss, MMDS_MSS_MAX);
	cr_expect_eq(rig.sent.segment.window, MMDS_REQUEST_MAX);
	ask(&rig, &client);
	cr_expect_str_eq(rig.request, GET);
	cr_expect_eq(rig.released, 1);
	ask(&rig, &client);
	cr_expect_eq(rig.requests, 2);
	say(&rig, &client, MMDS_TCP_ACK | MMDS_TCP_FIN, "");
	expect(&rig, &client, MMDS_TCP_ACK | MMDS_TCP_FIN, 0);
	cr_expect_eq(COUNT(&rig, connections_destroyed), 0);
	say(&rig, &client, MMDS_TCP_ACK, "");
	cr_expect_not(hear(&rig));
	cr_expect_eq(mmds_stack_deadline(rig.stack), UINT64_MAX);
	cr_expect_eq(COUNT(&rig, connections_created), 1);
	cr_expect_eq(COUNT(&rig, connections_destroyed), 1);
	cr_expect_eq(COUNT(&rig, rx_accepted), 8);
	cr_expect_eq(COUNT(&rig, rx_count), 8);
	cr_expect_eq(COUNT(&rig, rx_accepted_unusual), 0);
	cr_expect_eq(COUNT(&rig, rx_accepted_err), 0);
	cr_expect_eq(COUNT(&rig, tx_count), 4);
	cr_expect_eq(COUNT(&rig, tx_frames), 4);
	cr_expect_eq(COUNT(&rig, tx_bytes), 58 + 54 + 2 * (54 + strlen(rig.reply)));
	rig_destroy(&rig);
}

Test(mmds_netstack, a_request_may_come_in_any_pieces)
{
	static const char text[] =
		"PUT /latest/api/token HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody";
	struct client client;
	struct rig rig;

	rig_init(&rig);
	connect_client(&rig, &client, 40000);
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		char piece[2] = {text[i], '\0'};

		cr_assert_eq(rig.requests, 0);
		say(&rig, &client, MMDS_TCP_ACK, piece);
	}
	cr_expect_str_eq(rig.request, text);
	expect_reply(&rig, &client);
	rig_destroy(&rig);
}

Test(mmds_netstack, requests_that_come_together_are_answered_in_turn)
{
	struct client client;
	struct rig rig;

	rig_init(&rig);
	connect_client(&rig, &client, 40000);
	say(&rig, &client, MMDS_TCP_ACK, "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3");
	cr_expect_eq(rig.requests, 1);
	cr_expect_str_eq(rig.request, "GET /1 HTTP/1.1\r\n\r\n");
	expect_reply(&rig, &client);
	cr_expect_str_eq(rig.request, "GET /2 HTTP/1.1\r\n\r\n");
	expect_reply(&rig, &client);
	cr_expect_eq(rig.requests, 2);
	/* The guest closes behind the third. */
	say(&rig, &client, MMDS_TCP_ACK | MMDS_TCP_FIN, " HTTP/1.1\r\n\r\n");
	expect_reply(&rig, &client);
	cr_expect_str_eq(rig.request, "GET /3 HTTP/1.1\r\n\r\n");
	expect(&rig, &client, MMDS_TCP_ACK | MMDS_TCP_FIN, 0);
	say(&rig, &client, MMDS_TCP_ACK, "");
	cr_expect_eq(COUNT(&rig, connections_destroyed), 1);
	rig_destroy(&rig);
}

Test(mmds_netstack, a_part_of_a_request_is_dropped_when_the_guest_closes)
{
	struct client client;
	struct rig rig;

	rig_init(&rig);
	connect_client(&rig, &client, 40000);
	say(&rig, &client, MMDS_TCP_ACK | MMDS_TCP_FIN, "GET / HTT");
	expect(&rig, &client, MMDS_TCP_ACK | MMDS_TCP_FIN, 0);
	say(&rig, &client, MMDS_TCP_ACK, "");
	cr_expect_eq(rig.requests, 0);
	cr_expect_eq(COUNT(&rig, connections_destroyed), 1);
	rig_destroy(&rig);
}

Test(mmds_netstack, the_last_reply_closes_the_connection)
{
	struct client client;
	struct rig rig;

	rig_init(&rig);
	rig.is_last = true;
	connect_client(&rig, &client, 40000);
	say(&rig, &client, MMDS_TCP_ACK, GET GET);
	expect(&rig, &client, MMDS_TCP_ACK | MMDS_TCP_PSH | MMDS_TCP_FIN, strlen(rig.reply));
	say(&rig, &client, MMDS_TCP_ACK, GET);
	expect(&rig, &client, MMDS_TCP_ACK, 0);
	say(&rig, &client, MMDS_TCP_ACK | MMDS_TCP_FIN, "");
	cr_expect_eq(COUNT(&rig, connections_destroyed), 0);
	expect(&rig, &client, MMDS_TCP_ACK, 0);
	cr_expect_eq(COUNT(&rig, connections_destroyed), 1);
	cr_expect_eq(rig.requests, 1);
	rig_destroy(&rig);
}

Test(mmds_netstack, a_body_that_does_not_fit_ends_the_connection_behind_its_answer)
{
	static const char head[] = "PUT / HTTP/1.1\r\nContent-Length: 2500\r\n\r\n";
	struct client client;
	struct rig rig;

	rig_init(&rig);
	connect_client(&rig, &client, 40000);
	say(&rig, &client, MMDS_TCP_ACK, "PUT / HTTP/1.1\r\nContent-Length: 2500\r\n\r\nabc");
	cr_expect_str_eq(rig.request, head);
	expect(&rig, &client, MMDS_TCP_ACK | MMDS_TCP_PSH | MMDS_TCP_FIN, strlen(rig.reply));
	rig_destroy(&rig);
}

Test(mmds_netstack, a_head_that_does_not_fit_is_reset)
{
	char text[MSS + 1];
	struct client client;
	struct rig rig;

	rig_init(&rig);
	memset(text, 'a', MSS);
	text[MSS] = '\0';
	connect_client(&rig, &client, 40000);
	say(&rig, &client, MMDS_TCP_ACK, text);
	say(&rig, &client, MMDS_TCP_ACK, text);
	text[499] = '\0';
	say(&rig, &client, MMDS_TCP_ACK, text);
	expect(&rig, &client, MMDS_TCP_ACK, 0);
	cr_expect_eq(rig.sent.segment.window, 1);
	say(&rig, &client, MMDS_TCP_ACK, "a");
	expect(&rig, &client, MMDS_TCP_RST | MMDS_TCP_ACK, 0);
	cr_expect_eq(rig.sent.segment.seq, ISN + 1);
	cr_expect_eq(COUNT(&rig, connections_destroyed), 1);
	rig_destroy(&rig);
}

Test(mmds_netstack, without_an_answer_the_connection_is_reset)
{
	static const char *const replies[] = {NULL, ""};

	for (unsigned i = 0; i < ARRAY_COUNT(replies); i++) {
		struct client client;
		struct rig rig;

		rig_init(&rig);
		rig.reply = replies[i];
		connect_client(&rig, &client, 40000);
		say(&rig, &client, MMDS_TCP_ACK, GET);
		expect(&rig, &client, MMDS_TCP_RST | MMDS_TCP_ACK, 0);
		/* One without bytes has an owner. */
		cr_expect_eq(rig.released, i);
		rig_destroy(&rig);
	}
}

Test(mmds_netstack, a_reset_of_the_guest_ends_the_connection)
{
	struct client client;
	struct rig rig;

	rig_init(&rig);
	connect_client(&rig, &client, 40000);
	say(&rig, &client, MMDS_TCP_ACK, GET);
	cr_expect_eq(rig.released, 0);
	say(&rig, &client, MMDS_TCP_RST, "");
	cr_expect_eq(rig.released, 1);
	cr_expect_eq(COUNT(&rig, connections_destroyed), 1);
	cr_expect_not(hear(&rig));
	rig_destroy(&rig);
}

Test(mmds_netstack, a_reply_is_sent_again_until_the_guest_answers)
{
	struct client client;
	struct rig rig;

	rig_init(&rig);
	connect_client(&rig, &client, 40000);
	say(&rig, &client, MMDS_TCP_ACK, GET);
	expect(&rig, &client, MMDS_TCP_ACK | MMDS_TCP_PSH, strlen(rig.reply));
	cr_expect_not(hear(&rig));
	for (unsigned i = 0; i < 15; i++) {
		rig.now_ns = mmds_stack_deadline(rig.stack) - 1;
		cr_expect_not(hear(&rig));
		rig.now_ns++;
		expect(&rig, &client, MMDS_TCP_ACK | MMDS_TCP_PSH, strlen(rig.reply));
	}
	cr_expect_eq(rig.now_ns / MS, 300 + 600 + 1200 + 2400 + 11 * 4800);
	rig.now_ns = mmds_stack_deadline(rig.stack);
	expect(&rig, &client, MMDS_TCP_RST | MMDS_TCP_ACK, 0);
	cr_expect_eq(mmds_stack_deadline(rig.stack), UINT64_MAX);
	cr_expect_eq(rig.released, 1);
	rig_destroy(&rig);
}

Test(mmds_netstack, arp_is_answered_once_to_who_asked)
{
	static const uint8_t request[MMDS_HEAD_LEN] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,   5,	  0x08, 0x06,
		0,    1,    0x08, 0,	6,    4,    0, 1, 2, 0, 0,   0,	  0,	5,
		169,  254,  1,	  2,	0,    0,    0, 0, 0, 0, 169, 254, 169,	254};
	struct rig rig;

	rig_init(&rig);
	give(&rig, request, sizeof(request));
	cr_expect(hear(&rig));
	cr_expect_eq(rig.frame_len, MMDS_HEAD_LEN);
	cr_expect_eq(rig.frame[21], 2);
	cr_expect_arr_eq(rig.frame, request + 6, MMDS_MAC_LEN);
	cr_expect_arr_eq(rig.frame + 28, service, MMDS_IPV4_LEN);
	cr_expect_not(hear(&rig));
	cr_expect_eq(COUNT(&rig, rx_count), 0);
	cr_expect_eq(COUNT(&rig, tx_bytes), MMDS_HEAD_LEN);
	rig_destroy(&rig);
}

Test(mmds_netstack, frames_that_are_none_of_tcp_are_counted)
{
	struct client client = new_client(40000);
	struct mmds_address to = {.ipv4 = {169, 254, 169, 254}, .port = MMDS_PORT};
	struct mmds_segment syn = {.flags = MMDS_TCP_SYN};
	uint8_t frame[MMDS_FRAME_MAX];
	struct rig rig;
	size_t len = mmds_packet_write_tcp(frame, &client.address, &to, &syn);

	rig_init(&rig);
	frame[50] ^= 1;
	give(&rig, frame, len);
	cr_expect_eq(COUNT(&rig, rx_accepted_err), 1);
	frame[14] = 0x46;
	give(&rig, frame, len);
	cr_expect_eq(COUNT(&rig, rx_accepted_unusual), 1);
	mmds_stack_receive(rig.stack, &(struct mmds_frame){.data = frame, .len = 13}, rig.now_ns);
	cr_expect_eq(COUNT(&rig, rx_bad_eth), 1);
	cr_expect_eq(COUNT(&rig, rx_accepted), 3);
	cr_expect_eq(COUNT(&rig, rx_count), 0);
	cr_expect_not(hear(&rig));
	rig_destroy(&rig);
}

Test(mmds_netstack, other_ports_are_refused)
{
	struct client client = new_client(40000);
	struct rig rig;

	rig_init(&rig);
	say_to(&rig, &client, 443, (struct mmds_segment){.seq = 7, .flags = MMDS_TCP_SYN});
	expect(&rig, &client, MMDS_TCP_RST | MMDS_TCP_ACK, 0);
	cr_expect_eq(rig.sent.segment.ack, 8);
	cr_expect_eq(rig.sent.from.port, 443);
	cr_expect_eq(COUNT(&rig, rx_accepted_err), 1);
	cr_expect_eq(COUNT(&rig, connections_created), 0);
	rig_destroy(&rig);
}

Test(mmds_netstack, segments_of_no_connection_are_refused)
{
	static const uint8_t flags[] = {MMDS_TCP_ACK, MMDS_TCP_SYN | MMDS_TCP_ACK, MMDS_TCP_FIN, 0,
					MMDS_TCP_SYN | MMDS_TCP_FIN};
	struct client client = new_client(40000);
	struct rig rig;

	rig_init(&rig);
	for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
		say(&rig, &client, flags[i], "");
		cr_assert(hear(&rig), "case %zu", i);
		cr_expect_neq(rig.sent.segment.flags & MMDS_TCP_RST, 0, "case %zu", i);
	}
	say(&rig, &client, MMDS_TCP_RST, "");
	say(&rig, &client, MMDS_TCP_RST | MMDS_TCP_SYN, "");
	cr_expect_not(hear(&rig));
	cr_expect_eq(COUNT(&rig, connections_created), 0);
	cr_expect_eq(COUNT(&rig, rx_accepted_unusual), ARRAY_COUNT(flags) + 2);
	rig_destroy(&rig);
}

Test(mmds_netstack, a_syn_with_flags_of_congestion_is_one)
{
	struct client client = new_client(40000);
	struct rig rig;

	rig_init(&rig);
	say(&rig, &client, MMDS_TCP_SYN | 0xc0, "");
	expect(&rig, &client, MMDS_TCP_SYN | MMDS_TCP_ACK, 0);
	rig_destroy(&rig);
}

Test(mmds_netstack, a_hundred_resets_wait_and_no_more)
{
	struct client client;
	struct rig rig;

	rig_init(&rig);
	for (uint16_t i = 0; i < MMDS_RESETS_MAX + 5; i++) {
		client = new_client(i);
		say(&rig, &client, MMDS_TCP_ACK, "");
	}
	for (uint16_t i = 0; i < MMDS_RESETS_MAX; i++) {
		client = new_client(i);
		expect(&rig, &client, MMDS_TCP_RST, 0);
	}
	cr_expect_not(hear(&rig));
	rig_destroy(&rig);
}

Test(mmds_netstack, a_wrong_handshake_is_refused_and_the_connection_stays)
{
	struct client client = new_client(40000);
	struct rig rig;

	rig_init(&rig);
	say(&rig, &client, MMDS_TCP_SYN, "");
	expect(&rig, &client, MMDS_TCP_SYN | MMDS_TCP_ACK, 0);
	client.ack += 7;
	say(&rig, &client, MMDS_TCP_ACK, "");
	expect(&rig, &client, MMDS_TCP_RST, 0);
	cr_expect_eq(rig.sent.segment.seq, ISN + 8);
	client.ack = ISN + 1;
	ask(&rig, &client);
	rig_destroy(&rig);
}

Test(mmds_netstack, clients_take_turns)
{
	struct client clients[3];
	struct rig rig;
	char *reply = calloc(1, 2 * MSS + 1);

	rig_init(&rig);
	memset(reply, 'r', (size_t)2 * MSS);
	rig.reply = reply;
	for (uint16_t i = 0; i < 3; i++) {
		connect_client(&rig, &clients[i], (uint16_t)(40000 + i));
	}
	for (uint16_t i = 0; i < 3; i++) {
		say(&rig, &clients[i], MMDS_TCP_ACK, GET);
	}
	for (uint16_t i = 0; i < 6; i++) {
		cr_assert(hear(&rig));
		cr_expect_eq(rig.sent.to_port, 40000 + i % 3, "%u", rig.sent.to_port);
	}
	rig_destroy(&rig);
	free(reply);
}

Test(mmds_netstack, clients_are_told_apart_by_address_and_port)
{
	struct client clients[3];
	struct rig rig;

	rig_init(&rig);
	for (uint16_t i = 0; i < 3; i++) {
		clients[i] = new_client(40000 + (i == 1));
		clients[i].address.ipv4[3] = i == 2 ? 9 : 2;
		say(&rig, &clients[i], MMDS_TCP_SYN, "");
		expect(&rig, &clients[i], MMDS_TCP_SYN | MMDS_TCP_ACK, 0);
		cr_expect_arr_eq(rig.frame + 30, clients[i].address.ipv4, MMDS_IPV4_LEN);
	}
	for (uint16_t i = 0; i < 3; i++) {
		ask(&rig, &clients[i]);
	}
	cr_expect_eq(COUNT(&rig, connections_created), 3);
	rig_destroy(&rig);
}

/* --- more clients than places --- */

/* Lets all places be taken by clients of ports from 0 on. */
static void crowd(struct rig *rig, struct client *clients)
{
	for (uint16_t i = 0; i < MMDS_CONNECTIONS_MAX; i++) {
		connect_client(rig, &clients[i], i);
		rig->now_ns += MS;
	}
}

/* A newcomer gets in, and this client is reset for it; NULL: it does not. */
static void expect_evicted(struct rig *rig, struct client *victim)
{
	struct client newcomer = new_client(999);

	say(rig, &newcomer, MMDS_TCP_SYN, "");
	if (victim != NULL) {
		expect(rig, victim, MMDS_TCP_RST | MMDS_TCP_ACK, 0);
		expect(rig, &newcomer, MMDS_TCP_SYN | MMDS_TCP_ACK, 0);
	}
	cr_assert_not(hear(rig));
}

Test(mmds_netstack, a_crowd_that_just_came_keeps_its_places)
{
	struct client clients[MMDS_CONNECTIONS_MAX];
	struct rig rig;

	rig_init(&rig);
	crowd(&rig, clients);
	expect_evicted(&rig, NULL);
	cr_expect_eq(COUNT(&rig, rx_accepted_unusual), 1);
	for (size_t i = 0; i < MMDS_CONNECTIONS_MAX; i++) {
		ask(&rig, &clients[i]);
	}
	rig_destroy(&rig);
}

Test(mmds_netstack, the_quiet_client_that_was_useful_last_gives_way)
{
	struct client clients[MMDS_CONNECTIONS_MAX];
	struct rig rig;

	rig_init(&rig);
	crowd(&rig, clients);
	ask(&rig, &clients[0]);
	ask(&rig, &clients[1]);
	rig.now_ns += 1000 * MS;
	expect_evicted(&rig, &clients[2]);
	cr_expect_eq(COUNT(&rig, connections_created), MMDS_CONNECTIONS_MAX + 1);
	cr_expect_eq(COUNT(&rig, connections_destroyed), 1);
	rig_destroy(&rig);
}

Test(mmds_netstack, a_quiet_client_has_half_a_second)
{
	struct client clients[MMDS_CONNECTIONS_MAX];
	struct rig rig;

	rig_init(&rig);
	crowd(&rig, clients);
	rig.now_ns += 469 * MS; /* the first came 30 ms before */
	expect_evicted(&rig, NULL);
	rig.now_ns += MS;
	expect_evicted(&rig, &clients[0]);
	rig_destroy(&rig);
}

Test(mmds_netstack, a_half_open_connection_gives_way_first)
{
	struct client clients[MMDS_CONNECTIONS_MAX];
	struct rig rig;

	rig_init(&rig);
	for (uint16_t i = 0; i < MMDS_CONNECTIONS_MAX; i++) {
		clients[i] = new_client(i);
		say(&rig, &clients[i], MMDS_TCP_SYN, "");
		expect(&rig, &clients[i], MMDS_TCP_SYN | MMDS_TCP_ACK, 0);
		if (i != 7) {
			say(&rig, &clients[i], MMDS_TCP_ACK, "");
		}
		rig.now_ns += 10 * MS;
	}
	rig.now_ns += 270 * MS;
	expect(&rig, &clients[7], MMDS_TCP_SYN | MMDS_TCP_ACK, 0);
	expect_evicted(&rig, &clients[7]);
	rig_destroy(&rig);
}

Test(mmds_netstack, a_half_open_connection_has_half_a_second)
{
	struct client clients[MMDS_CONNECTIONS_MAX];
	struct rig rig;

	rig_init(&rig);
	for (uint16_t i = 0; i < MMDS_CONNECTIONS_MAX; i++) {
		clients[i] = new_client(i);
		say(&rig, &clients[i], MMDS_TCP_SYN, "");
		expect(&rig, &clients[i], MMDS_TCP_SYN | MMDS_TCP_ACK, 0);
	}
	rig.now_ns += 299 * MS;
	expect_evicted(&rig, NULL);
	rig.now_ns += 201 * MS;
	for (uint16_t i = 0; i < MMDS_CONNECTIONS_MAX; i++) {
		expect(&rig, &clients[i], MMDS_TCP_SYN | MMDS_TCP_ACK, 0);
	}
	clients[0].ack = ISN + 1;
	expect_evicted(&rig, &clients[0]);
	rig_destroy(&rig);
}

Test(mmds_netstack, a_client_in_the_middle_gives_way_when_it_does_not_come_on)
{
	struct client clients[MMDS_CONNECTIONS_MAX];
	struct rig rig;

	rig_init(&rig);
	crowd(&rig, clients);
	/* From the last on, as a request under way keeps its buffer and a reply does not. */
	for (size_t i = MMDS_CONNECTIONS_MAX; i-- > 0;) {
		say(&rig, &clients[i], MMDS_TCP_ACK, i < BUFFERS ? "GET /" : GET);
		cr_assert(hear(&rig));
		rig.now_ns += MS;
	}
	rig.now_ns += 9969 * MS;
	for (size_t i = BUFFERS; i < MMDS_CONNECTIONS_MAX; i++) {
		cr_assert(hear(&rig)); /* the replies again */
	}
	expect_evicted(&rig, NULL);
	rig.now_ns += MS;
	expect_evicted(&rig, &clients[MMDS_CONNECTIONS_MAX - 1]);
	rig_destroy(&rig);
}

Test(mmds_netstack, a_flood_of_syns_creates_nothing_that_stays)
{
	struct client client;
	struct rig rig;

	rig_init(&rig);
	for (unsigned i = 0; i < 100000; i++) {
		struct client flooder = new_client((uint16_t)i);

		flooder.address.ipv4[2] = (uint8_t)(i >> 16);
		say(&rig, &flooder, MMDS_TCP_SYN, "");
		while (i % 16 == 0 && hear(&rig)) {
		}
		rig.now_ns += MS / 10;
	}
	/* Somebody who tries again gets in. */
	rig.now_ns += 1000 * MS;
	while (hear(&rig)) {
	}
	client = new_client(80);
	client.address.ipv4[2] = 77;
	say(&rig, &client, MMDS_TCP_SYN, "");
	while (hear(&rig) && rig.sent.segment.flags != (MMDS_TCP_SYN | MMDS_TCP_ACK)) {
	}
	client.ack = ISN + 1;
	ask(&rig, &client);
	cr_expect_leq(COUNT(&rig, connections_created) - COUNT(&rig, connections_destroyed),
		      MMDS_CONNECTIONS_MAX);
	rig_destroy(&rig);
}

Test(mmds_netstack, requests_under_way_share_buffers)
{
	struct client clients[MMDS_CONNECTIONS_MAX];
	struct client *late = &clients[BUFFERS];
	struct rig rig;

	rig_init(&rig);
	crowd(&rig, clients);
	for (size_t i = 0; i < BUFFERS; i++) {
		say(&rig, &clients[i], MMDS_TCP_ACK, "GET / ");
		expect(&rig, &clients[i], MMDS_TCP_ACK, 0);
	}
	/* One more finds none: it is not acknowledged, and comes again later. */
	say(&rig, late, MMDS_TCP_ACK, GET);
	expect(&rig, late, MMDS_TCP_ACK, 0);
	cr_expect_eq(rig.sent.segment.ack, GUEST_ISN + 1);
	cr_expect_eq(rig.requests, 0);
	say(&rig, &clients[3], MMDS_TCP_ACK, "HTTP/1.1\r\n\r\n");
	expect_reply(&rig, &clients[3]);
	late->seq = GUEST_ISN + 1;
	ask(&rig, late);
	/* Who holds one and does not come on loses it. */
	say(&rig, &clients[3], MMDS_TCP_ACK, "GET / ");
	expect(&rig, &clients[3], MMDS_TCP_ACK, 0);
	rig.now_ns += 10000 * MS;
	say(&rig, late, MMDS_TCP_ACK, GET);
	expect(&rig, &clients[0], MMDS_TCP_RST | MMDS_TCP_ACK, 0);
	expect_reply(&rig, late);
	rig_destroy(&rig);
}

Test(mmds_netstack, a_short_buffer_gets_no_frame_and_loses_none)
{
	struct client client = new_client(40000);
	uint8_t buf[MMDS_FRAME_MAX];
	struct rig rig;

	rig_init(&rig);
	say(&rig, &client, MMDS_TCP_SYN, "");
	cr_expect_eq(mmds_stack_send(rig.stack, buf, MMDS_FRAME_MAX - 1, rig.now_ns), 0);
	cr_expect_eq(COUNT(&rig, tx_errors), 1);
	expect(&rig, &client, MMDS_TCP_SYN | MMDS_TCP_ACK, 0);
	rig_destroy(&rig);
}

Test(mmds_netstack, replies_that_are_under_way_are_released_at_the_end)
{
	struct client client;
	struct rig rig;

	rig_init(&rig);
	connect_client(&rig, &client, 40000);
	say(&rig, &client, MMDS_TCP_ACK, GET);
	cr_expect_eq(rig.released, 0);
	rig_destroy(&rig);
	mmds_stack_free(NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata service on an interface: what the guest sees through its queues, beside the TAP. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/alloc_guard.h"
#include "tests/unit/net_rig.h"
#include "vmm/base/bytes.h"

enum {
	BUFFER = 1536,
	GUEST_ISN = 1000,
	ISN = 5000, /* of the service */
	TCP_CHECKSUM = 14 + 20 + 16,
	NEEDS_CSUM = 1, /* of a frame's header */
	SYN = MMDS_TCP_SYN,
	ACK = MMDS_TCP_ACK,
	PSH = MMDS_TCP_PSH,
	FIN = MMDS_TCP_FIN,
};

#define GET "GET / HTTP/1.1\r\n\r\n"
#define REPLY "HTTP/1.1 200 \r\n\r\nhello"

static struct vdriver *const driver = &rig.driver;
static const struct mmds_address service = {{6, 1, 0x23, 0x45, 0x67, 1}, {169, 254, 169, 254}, 80};
static const struct mmds_address guest = {{2, 0, 0, 0, 0, 5}, {169, 254, 1, 2}, 40000};

static const uint64_t feature_sets[] = {
	0,
	F_EVENT_IDX,
	F_MRG_RXBUF | F_OFFLOADS | F_INDIRECT_DESC | F_EVENT_IDX,
};

/* A request of the guest's for the service's hardware address. */
static const uint8_t arp_request[] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,	 0,   0,   0,	0, 5, 0x08, 0x06, //
	0,    1,    0x08, 0,	6,    4,    0,	 1,				  //
	2,    0,    0,	  0,	0,    5,    169, 254, 1,   2,			  //
	0,    0,    0,	  0,	0,    0,    169, 254, 169, 254,			  //
};

/* The state of a test: the service's counters, the client in the guest, the last frame it got. */
static struct {
	struct mmds_metrics metrics;
	unsigned requests;
	unsigned released;
	uint32_t seq;
	uint32_t ack;
	uint8_t got[BUFFER];
	uint32_t got_len; /* with the header */
	struct mmds_packet packet;
} state;

static int answer(void *arg, const char *request, size_t len, struct mmds_reply *reply)
{
	(void)arg;
	cr_assert_eq(len, strlen(GET));
	cr_assert_arr_eq(request, GET, len);
	state.requests++;
	*reply = (struct mmds_reply){.data = REPLY, .len = strlen(REPLY)};
	return 0;
}

static void release(void *arg, struct mmds_reply *reply)
{
	(void)arg;
	(void)reply;
	state.released++;
}

static uint32_t choose_isn(void *arg)
{
	(void)arg;
	return ISN;
}

/* NULL: no limits. */
static void start(const struct net_config *config, uint64_t features)
{
	struct mmds_stack_params params = {
		.service = {answer, release, choose_isn, NULL},
		.metrics = &state.metrics,
	};
	struct error err = {0};

	memcpy(params.mac, service.mac, sizeof(params.mac));
	memcpy(params.ipv4, service.ipv4, sizeof(params.ipv4));
	rig_make(config);
	cr_assert_eq(net_set_mmds(rig.net, &params, &err), 0, "%s", err.msg);
	state.seq = GUEST_ISN;
	state.ack = 0;
	rig_start(features);
}

static void again(void)
{
	rig_tear_down();
	rig_set_up();
	memset(&state, 0, sizeof(state));
}

TestSuite(net_mmds, .init = rig_set_up, .fini = rig_tear_down);

static void run(unsigned queue)
{
	vdriver_kick(driver, queue);
	alloc_guard_begin();
	vdriver_run(driver);
	cr_assert_eq(alloc_guard_end(), 0);
}

static void post(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		rig_post(BUFFER, 1);
	}
	run(RX);
}

/* Sends a frame behind a header with these flags, in segments of up to `segment` bytes. */
static void send_in(const uint8_t *frame, size_t len, uint32_t segment, uint8_t flags)
{
	static uint8_t whole[FRAME_MAX];
	struct vbuf bufs[64];
	struct vring_used used;
	unsigned count = 0;

	memset(whole, 0, HEADER_LEN);
	whole[0] = flags;
	memcpy(whole + HEADER_LEN, frame, len);
	for (size_t at = 0; at < HEADER_LEN + len; at += segment) {
		cr_assert_lt(count, ARRAY_COUNT(bufs));
		bufs[count++] = (struct vbuf){
			.data = whole + at,
			.len = (uint32_t)min_u64(segment, HEADER_LEN + len - at),
		};
	}
	vdriver_add(driver, TX, bufs, count);
	run(TX);
	cr_assert(vdriver_used(driver, TX, &used), "the frame stays in its queue");
	cr_assert_eq(used.len, 0);
}

static void send_whole(const uint8_t *frame, size_t len)
{
	send_in(frame, len, FRAME_MAX, 0);
}

static bool tap_has_frame(void)
{
	static uint8_t frame[FRAME_MAX];

	return rig_receive(frame, sizeof(frame)) > 0;
}

/* Takes the next frame out of the used ring; false: there is none. */
static bool hear(void)
{
	struct vring_used used;

	if (!vdriver_used(driver, RX, &used)) {
		return false;
	}
	cr_assert_leq(used.len, BUFFER);
	state.got_len = used.len;
	vdriver_get(driver, RX, used.id, 0, state.got, used.len);
	return true;
}

/* The next frame is one of the service, of this kind. */
static void hear_packet(enum mmds_packet_kind kind)
{
	static const uint8_t header[HEADER_LEN] = {[10] = 1}; /* one buffer */

	cr_assert(hear(), "nothing is sent");
	cr_assert_arr_eq(state.got, header, HEADER_LEN);
	cr_assert_arr_eq(state.got + HEADER_LEN, guest.mac, MMDS_MAC_LEN);
	cr_assert_arr_eq(state.got + HEADER_LEN + MMDS_MAC_LEN, service.mac, MMDS_MAC_LEN);
	const struct mmds_frame frame = {.data = state.got + HEADER_LEN,
					 .len = state.got_len - HEADER_LEN};

	cr_assert_eq(mmds_packet_parse(&frame, &state.packet), kind);
}

static void hear_arp(void)
{
	hear_packet(MMDS_PACKET_UNUSUAL); /* to the service a reply would be so */
	cr_assert_eq(state.got_len, HEADER_LEN + sizeof(arp_request));
	cr_assert_eq(state.got[HEADER_LEN + 21], 2, "a reply");
}

/* The next frame is a segment of the service, which is acknowledged. */
static void hear_segment(unsigned flags, const char *payload)
{
	const struct mmds_segment *segment = &state.packet.segment;

	hear_packet(MMDS_PACKET_TCP);
	cr_assert_eq(segment->flags, flags, "flags %u", segment->flags);
	cr_assert_eq(segment->len, strlen(payload), "%u bytes", segment->len);
	cr_assert_arr_eq(segment->payload, payload, segment->len);
	cr_assert_eq(segment->ack, state.seq);
	state.ack = segment->seq + segment->len + ((flags & (SYN | FIN)) != 0);
}

/* Writes the client's next segment. */
static size_t write_segment(uint8_t frame[MMDS_FRAME_MAX], unsigned flags, const char *payload)
{
	const struct mmds_segment segment = {
		.seq = state.seq,
		.ack = state.ack,
		.flags = (uint8_t)flags,
		.window = 65535,
		.mss = (flags & SYN) != 0 ? 1460 : 0,
		.payload = (const uint8_t *)payload,
		.len = (uint16_t)strlen(payload),
	};

	return mmds_packet_write_tcp(frame, &guest, &service, &segment);
}

static void say(unsigned flags, const char *payload)
{
	uint8_t frame[MMDS_FRAME_MAX];

	send_whole(frame, write_segment(frame, flags, payload));
	state.seq += (uint32_t)strlen(payload) + ((flags & (SYN | FIN)) != 0);
}

/* A connection from its SYN to its end, with two requests. */
static void converse(void)
{
	say(SYN, "");
	hear_segment(SYN | ACK, "");
	say(ACK, "");
	for (unsigned i = 0; i < 2; i++) {
		say(ACK | PSH, GET);
		hear_segment(ACK | PSH, REPLY);
		say(ACK, "");
	}
	say(ACK | FIN, "");
	hear_segment(ACK | FIN, "");
	say(ACK, "");
	cr_assert_not(hear());
	cr_assert_eq(state.requests, 2);
	cr_assert_eq(state.released, 2);
	cr_assert_eq(metric_get(&state.metrics.connections_destroyed), 1);
}

/* --- which frames are the service's --- */

Test(net_mmds, frames_for_the_address_never_reach_the_tap)
{
	static const struct {
		size_t len;
		uint8_t type; /* of Ethernet: 0 for IPv4, 6 for ARP */
		size_t at;    /* of the address of the service */
		uint8_t last; /* byte of the address */
		bool is_taken;
	} cases[] = {
		{60, 0, 30, 254, true},	 {60, 6, 38, 254, true},   {42, 6, 38, 254, true},
		{34, 0, 30, 254, true},	 {1514, 0, 30, 254, true}, {65000, 0, 30, 254, true},
		{60, 0, 30, 253, false}, {60, 6, 38, 253, false},  {60, 0, 26, 254, false},
		{60, 6, 28, 254, false}, {60, 1, 30, 254, false},  {33, 0, 30, 254, false},
		{41, 6, 38, 254, false}, {14, 0, 30, 254, false},  {1, 0, 30, 254, false},
	};
	static uint8_t frame[FRAME_MAX];

	start(NULL, 0);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint64_t accepted = metric_get(&state.metrics.rx_accepted);
		uint64_t sent = metric_get(&rig.metrics->tx_packets_count);

		/* An ARP request, but for its address; IPv4 with what comes of that. */
		memset(frame, 0, sizeof(frame));
		memcpy(frame, arp_request, sizeof(arp_request) - MMDS_IPV4_LEN);
		frame[13] = cases[i].type;
		memcpy(frame + cases[i].at, service.ipv4, MMDS_IPV4_LEN);
		frame[cases[i].at + 3] = cases[i].last;
		send_whole(frame, cases[i].len);
		cr_expect_eq(tap_has_frame(), !cases[i].is_taken, "case %zu", i);
		cr_expect_eq(metric_get(&state.metrics.rx_accepted), accepted + cases[i].is_taken,
			     "case %zu", i);
		cr_expect_eq(metric_get(&rig.metrics->tx_packets_count), sent + !cases[i].is_taken,
			     "case %zu", i);
	}
}

Test(net_mmds, a_frame_may_lie_in_any_pieces)
{
	static const uint32_t segments[] = {1, 5, 12, 13, 20, 42, 54};

	start(NULL, F_INDIRECT_DESC);
	post(10);
	for (size_t i = 0; i < ARRAY_COUNT(segments); i++) {
		send_in(arp_request, sizeof(arp_request), segments[i], 0);
		hear_arp();
		cr_assert_not(tap_has_frame());
	}
}

/* --- conversations --- */

Test(net_mmds, a_guest_asks_and_is_answered)
{
	for (size_t i = 0; i < ARRAY_COUNT(feature_sets); i++) {
		start(NULL, feature_sets[i]);
		post(60);
		send_whole(arp_request, sizeof(arp_request));
		hear_arp();
		converse();
		cr_expect_not(tap_has_frame());
		cr_expect_eq(metric_get(&rig.metrics->tx_count), 0, "the TAP got none");
		cr_expect_eq(metric_get(&rig.metrics->rx_packets_count), 5);
		cr_expect_eq(metric_get(&rig.metrics->rx_bytes_count),
			     5 * HEADER_LEN + 42 + 58 + 2 * (54 + strlen(REPLY)) + 54);
		cr_expect_eq(metric_get(&rig.metrics->rx_fails), 0);
		cr_expect_eq(metric_get(&state.metrics.rx_accepted_err), 0);
		cr_expect_eq(metric_get(&state.metrics.rx_accepted_unusual), 0);
		again();
	}
}

Test(net_mmds, an_answer_interrupts_the_guest)
{
	start(NULL, 0);
	post(1);
	(void)vdriver_interrupts(driver);
	send_whole(arp_request, sizeof(arp_request));
	cr_assert_eq(vdriver_interrupts(driver), 2, "one for the frame sent, one for its answer");
}

/* A descriptor that can neither be read nor written stands for a TAP that was deleted. */
Test(net_mmds, the_tap_need_not_work)
{
	int broken = open("/", O_PATH | O_CLOEXEC);

	start(NULL, feature_sets[2]);
	cr_assert_geq(dup2(broken, rig.tap), 0);
	close(broken);
	post(60);
	converse();
	rig_offer(100, 100, 1);
	run(TX);
	cr_expect_eq(metric_get(&rig.metrics->tap_write_fails), 1);
}

Test(net_mmds, a_checksum_may_be_left_to_the_device)
{
	for (unsigned flags = 0; flags <= NEEDS_CSUM; flags++) {
		uint8_t frame[MMDS_FRAME_MAX];
		size_t len;

		start(NULL, F_CSUM);
		post(10);
		len = write_segment(frame, SYN, "");
		frame[TCP_CHECKSUM] ^= 0x55;
		send_in(frame, len, FRAME_MAX, (uint8_t)flags);
		cr_expect_eq(hear(), flags != 0);
		cr_expect_eq(metric_get(&state.metrics.rx_accepted_err), flags == 0);
		again();
	}
}

Test(net_mmds, what_is_not_acknowledged_is_sent_again)
{
	start(NULL, 0);
	post(10);
	say(SYN, "");
	hear_segment(SYN | ACK, "");
	cr_assert_not(hear());
	vdriver_wait_used(driver, RX);
	hear_segment(SYN | ACK, "");
	cr_assert_eq(state.packet.segment.seq, ISN);
}

/* --- beside the TAP --- */

Test(net_mmds, the_services_frames_come_before_the_taps)
{
	for (size_t i = 0; i < ARRAY_COUNT(feature_sets); i++) {
		start(NULL, feature_sets[i]);
		cr_assert(rig_send(100, 1));
		run(RX);
		send_whole(arp_request, sizeof(arp_request));
		cr_assert_not(hear());
		post(60);
		hear_arp();
		cr_assert(hear());
		cr_assert_eq(state.got_len, 100);
		cr_assert_not(hear());
		again();
	}
}

/* With merged buffers the device holds those that its next frame from the TAP may need. */
Test(net_mmds, buffers_that_are_held_are_used_in_their_order)
{
	unsigned heads[60];
	struct vring_used used;

	start(NULL, feature_sets[2]);
	for (unsigned i = 0; i < ARRAY_COUNT(heads); i++) {
		heads[i] = rig_post(BUFFER, 1);
	}
	run(RX);
	cr_assert_gt(virtq_held(&net_virtio(rig.net)->queues[RX].vq), 40);
	send_whole(arp_request, sizeof(arp_request));
	cr_assert(vdriver_used(driver, RX, &used));
	cr_expect_eq(used.id, heads[0]);
	cr_assert(rig_send(20000, 1));
	vdriver_run(driver);
	for (unsigned i = 1; i <= 20000 / BUFFER + 1; i++) {
		cr_assert(vdriver_used(driver, RX, &used));
		cr_expect_eq(used.id, heads[i]);
	}
	cr_assert_not(vdriver_used(driver, RX, &used));
}

Test(net_mmds, no_limit_holds_the_service_back)
{
	static char name[] = "eth0";
	static const struct limiter_config slow = {.ops = {.size = 1, .refill_time_ms = 3600000},
						   .has_ops = true};
	const struct net_config config = {
		.iface_id = name,
		.rx_rate_limiter = slow,
		.has_rx_rate_limiter = true,
		.tx_rate_limiter = slow,
		.has_tx_rate_limiter = true,
	};

	for (size_t i = 0; i < ARRAY_COUNT(feature_sets); i++) {
		start(&config, feature_sets[i]);
		post(60);
		cr_assert(rig_send(100, 1));
		vdriver_run(driver);
		cr_assert(hear());
		rig_offer(100, 100, 2);
		run(TX);
		cr_assert(tap_has_frame());
		while (vdriver_used(driver, TX, &(struct vring_used){0})) {
		}
		converse();
		/* They took nothing, and the limits hold. */
		rig_offer(100, 100, 3);
		run(TX);
		cr_expect_not(tap_has_frame());
		cr_assert(rig_send(100, 4));
		vdriver_run(driver);
		cr_expect_not(hear());
		again();
	}
}

/* A guest that keeps the service busy gets no more from the TAP than its limit lets. */
Test(net_mmds, a_frame_that_goes_before_the_services_is_paid_for_later)
{
	enum {
		PERIOD_MS = 200,
		PERIODS = 5,
	};
	static char name[] = "eth0";
	static const struct net_config config = {
		.iface_id = name,
		.rx_rate_limiter = {.ops = {.size = 1, .refill_time_ms = PERIOD_MS},
				    .has_ops = true},
		.has_rx_rate_limiter = true,
	};
	uint64_t start_ns;
	uint64_t allowed;
	unsigned frames = 0;

	start(&config, 0);
	start_ns = driver->clock.now_ns(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < 100; i++) {
		cr_assert(rig_send(100, i));
	}
	post(100);
	while (driver->clock.now_ns(CLOCK_MONOTONIC) - start_ns < NS_PER_MS * PERIODS * PERIOD_MS) {
		struct vring_used used;

		send_whole(arp_request, sizeof(arp_request));
		while (vdriver_used(driver, RX, &used)) {
			frames += used.len == 100;
			post(1);
		}
	}
	/* Those of the time, the one that was there, and the one that goes before. */
	allowed = (driver->clock.now_ns(CLOCK_MONOTONIC) - start_ns) / (PERIOD_MS * NS_PER_MS) + 2;
	cr_assert_leq(frames, allowed, "%u frames", frames);
	cr_assert_geq(frames, 2);
}

/* --- guests without buffers --- */

Test(net_mmds, a_guest_without_buffers_gets_its_frames_later)
{
	start(NULL, F_EVENT_IDX);
	for (unsigned i = 0; i < 1000; i++) {
		send_whole(arp_request, sizeof(arp_request));
	}
	say(SYN, "");
	cr_assert_not(hear());
	post(10);
	hear_arp();
	hear_arp();
	hear_segment(SYN | ACK, "");
	cr_assert_not(hear());
}

/* While a frame waits for a buffer, the service's timer could do nothing. */
Test(net_mmds, a_guest_that_never_has_buffers_does_not_keep_the_loop_busy)
{
	struct pollfd loop = {.fd = driver->loop.epoll_fd, .events = POLLIN};

	start(NULL, 0);
	post(1);
	say(SYN, "");
	hear_segment(SYN | ACK, "");
	send_whole(arp_request, sizeof(arp_request));
	cr_assert_eq(poll(&loop, 1, 500), 0, "the loop rests when the segment should be repeated");
	post(2);
	hear_arp();
	hear_segment(SYN | ACK, "");
}

Test(net_mmds, a_frame_that_does_not_fit_is_lost)
{
	for (size_t i = 0; i < 2; i++) {
		start(NULL, 0);
		/* A buffer, for the device to find that the TAP has no frame. */
		post(1);
		send_whole(arp_request, sizeof(arp_request));
		hear_arp();
		if (i == 0) {
			rig_post(HEADER_LEN + 41, 1);
		} else {
			vdriver_add(driver, RX, &(struct vbuf){.len = BUFFER}, 1); /* to be read */
		}
		run(RX);
		send_whole(arp_request, sizeof(arp_request));
		cr_expect_not(hear(), "case %zu", i);
		cr_expect_eq(metric_get(&rig.metrics->rx_fails), 1, "case %zu", i);
		/* The TAP's next frame has the chain. */
		cr_assert(rig_send(30, 1));
		vdriver_run(driver);
		cr_assert(hear(), "case %zu", i);
		cr_expect_eq(state.got_len, i == 0 ? 30 : 0, "case %zu", i);
		again();
	}
}

/* --- pauses and resets --- */

Test(net_mmds, a_pause_in_the_midst_of_a_conversation_loses_nothing)
{
	for (size_t i = 0; i < ARRAY_COUNT(feature_sets); i++) {
		start(NULL, feature_sets[i]);
		say(SYN, "");
		vdriver_pause(driver);
		vdriver_resume(driver);
		vdriver_run(driver);
		post(60);
		hear_segment(SYN | ACK, "");
		say(ACK, "");
		say(ACK | PSH, GET);
		vdriver_pause(driver);
		cr_expect_eq(virtq_held(&net_virtio(rig.net)->queues[RX].vq), 0);
		vdriver_resume(driver);
		vdriver_run(driver);
		hear_segment(ACK | PSH, REPLY);
		say(ACK, "");
		cr_expect_eq(state.released, 1);
		again();
	}
}

Test(net_mmds, a_frame_that_waits_is_not_the_next_drivers)
{
	start(NULL, 0);
	send_whole(arp_request, sizeof(arp_request));
	rig_start(0);
	post(60);
	cr_assert_not(hear());
	converse();
}

Test(net_mmds, a_device_may_go_with_all_that_is_under_way)
{
	start(NULL, 0);
	post(1);
	say(SYN, "");
	hear_segment(SYN | ACK, "");
	say(ACK | PSH, GET);
	cr_assert_eq(state.requests, 1);
	cr_assert_eq(state.released, 0);
	rig_tear_down();
	cr_assert_eq(state.released, 1);
	rig_set_up();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The network device: features, configuration, transmitting, limits, reset, a real TAP. */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fake/alloc_guard.h"
#include "tests/unit/net_rig.h"
#include "vmm/base/bytes.h"

TestSuite(net, .init = rig_set_up, .fini = rig_tear_down);

static struct vdriver *const driver = &rig.driver;
static uint8_t frame[FRAME_MAX + 100];
static uint8_t expected[FRAME_MAX + 100];

static uint64_t count_of(const struct metric *metric)
{
	return metric_get(metric);
}

static unsigned count_used(unsigned queue)
{
	struct vring_used used;
	unsigned count = 0;

	for (; vdriver_used(driver, queue, &used); count++) {
	}
	return count;
}

/* --- MAC addresses --- */

Test(net, a_mac_is_six_pairs_of_hexadecimal_digits)
{
	static const struct {
		const char *text;
		const char *normal; /* NULL: refused */
	} cases[] = {
		{"06:00:ac:10:00:02", "06:00:ac:10:00:02"},
		{"AA:bB:Cc:DD:EE:FF", "aa:bb:cc:dd:ee:ff"},
		{"00:00:00:00:00:00", "00:00:00:00:00:00"},
		{"", NULL},
		{"aa:bb:cc:dd:ee", NULL},
		{"aa:bb:cc:dd:ee:", NULL},
		{"aa:bb:cc:dd:ee:f", NULL},
		{"aa:bb:cc:dd:ee:ff:", NULL},
		{"aa:bb:cc:dd:ee:ff:00", NULL},
		{"aa-bb-cc-dd-ee-ff", NULL},
		{"aabb:cc:dd:ee:fff", NULL},
		{"aa:bb:cc:dd:ee:0x", NULL},
		{"aa:bb:cc:dd:ee:fg", NULL},
		{"aa:bb:cc:dd:ee:+f", NULL},
		{"aa:bb:cc:dd:ee: f", NULL},
		{":aa:bb:cc:dd:ee:f", NULL},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char text[32];
		uint8_t mac[NET_MAC_LEN];
		struct error err = {0};

		snprintf(text, sizeof(text), "%s", cases[i].text);
		int result = net_mac_parse(text, mac, &err);

		cr_assert_eq(result, cases[i].normal != NULL ? 0 : -1, "%s", cases[i].text);
		if (cases[i].normal == NULL) {
			cr_assert_str_eq(err.msg, "The provided MAC address is invalid.");
			cr_assert_str_eq(text, cases[i].text);
			continue;
		}
		cr_assert_str_eq(text, cases[i].normal);
		snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
			 mac[2], mac[3], mac[4], mac[5]);
		cr_assert_str_eq(text, cases[i].normal);
	}
}

/* --- features and configuration --- */

#define F_ALWAYS                                                                                   \
	(F_CSUM | F_HOST_TSO4 | F_HOST_TSO6 | F_HOST_UFO | F_MRG_RXBUF | F_INDIRECT_DESC |         \
	 F_EVENT_IDX | F_VERSION_1)

Test(net, what_is_offered_depends_on_the_host_and_the_configuration)
{
	static char mac[] = "02:00:00:00:00:01";
	static char name[] = "eth0";
	static const struct {
		uint32_t known;
		char *mac;
		uint16_t mtu;
		uint64_t offered;
	} cases[] = {
		{0, NULL, 0, F_ALWAYS},
		{NET_OFFLOAD_CSUM, NULL, 0, F_ALWAYS | F_GUEST_CSUM},
		{NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_UFO, NULL, 0,
		 F_ALWAYS | F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_UFO},
		{NET_OFFLOAD_CSUM | NET_OFFLOAD_USO, NULL, 0,
		 F_ALWAYS | F_GUEST_CSUM | F_GUEST_USO4 | F_GUEST_USO6 | F_HOST_USO},
		{0, mac, 0, F_ALWAYS | F_MAC},
		{0, NULL, 9000, F_ALWAYS | F_MTU},
		{0, mac, 65535, F_ALWAYS | F_MAC | F_MTU},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct net_config config = {
			.iface_id = name, .guest_mac = cases[i].mac, .mtu = cases[i].mtu};

		rig_tap.known = cases[i].known;
		rig_make(&config);
		cr_assert_eq(net_virtio(rig.net)->offered, cases[i].offered, "case %zu: %llx", i,
			     (unsigned long long)net_virtio(rig.net)->offered);
		net_free(rig.net);
		rig.net = NULL;
	}
}

Test(net, the_taps_offloads_are_what_the_guest_accepted_and_linux_takes)
{
	static const struct {
		uint64_t features;
		uint32_t offloads;
	} cases[] = {
		{0, 0},
		{F_CSUM | F_HOST_TSO4, 0},
		{F_GUEST_CSUM, NET_OFFLOAD_CSUM},
		{F_GUEST_TSO4 | F_GUEST_TSO6, 0}, /* of no use without checksums */
		{F_GUEST_CSUM | F_GUEST_TSO4, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4},
		{F_GUEST_CSUM | F_GUEST_TSO6, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO6},
		{F_GUEST_CSUM | F_GUEST_UFO, NET_OFFLOAD_CSUM | NET_OFFLOAD_UFO},
		{F_GUEST_CSUM | F_GUEST_USO4, NET_OFFLOAD_CSUM},
		{F_GUEST_CSUM | F_GUEST_USO4 | F_GUEST_USO6, NET_OFFLOAD_CSUM | NET_OFFLOAD_USO},
		{F_GUEST_CSUM | F_HOST_USO, NET_OFFLOAD_CSUM},
	};

	rig_tap.known = UINT32_MAX;
	rig_make(NULL);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		rig_start(cases[i].features);
		cr_assert_eq(rig_tap.in_force, cases[i].offloads, "case %zu: %#x", i,
			     rig_tap.in_force);
		vdriver_stop(driver);
		cr_assert_eq(rig_tap.in_force, 0, "case %zu", i);
	}
}

Test(net, a_tap_that_refuses_offloads_fails_the_activation_until_it_does_not)
{
	rig_make(NULL);
	rig_tap.is_failing = true;
	cr_assert_not(vdriver_start(driver, net_virtio(rig.net), F_GUEST_CSUM));
	cr_assert(vdriver_status(driver) & NEEDS_RESET);
	cr_assert_eq(count_of(&rig.metrics->activate_fails), 1);
	vdriver_run(driver);
	rig_tap.is_failing = false;
	rig_start(F_GUEST_CSUM);
	cr_assert_eq(rig_tap.in_force, NET_OFFLOAD_CSUM);
}

Test(net, the_configuration_has_mac_and_mtu_and_takes_a_new_mac)
{
	static char mac[] = "02:03:04:05:06:07";
	static char name[] = "eth0";
	const struct net_config config = {.iface_id = name, .guest_mac = mac, .mtu = 1400};
	static const uint8_t told[12] = {2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0x78, 0x05};
	static const uint8_t changed[12] = {2, 3, 4, 9, 8, 7, 0, 0, 0, 0, 0x78, 0x05};
	uint8_t got[12];

	rig_make(&config);
	rig_start(F_MAC | F_MTU);
	vdriver_read_config(driver, 0, got, sizeof(got));
	cr_assert_arr_eq(got, told, sizeof(got));
	for (unsigned i = 3; i < 6; i++) {
		vdriver_write_config(driver, i, &changed[i], 1);
	}
	cr_assert_eq(count_of(&rig.metrics->cfg_fails), 0);
	/* Nothing else is written, from wherever it begins. */
	vdriver_write_config(driver, 6, told, 1);
	vdriver_write_config(driver, 4, told, 4);
	vdriver_write_config(driver, 10, told, 2);
	cr_assert_eq(count_of(&rig.metrics->cfg_fails), 3);
	vdriver_read_config(driver, 0, got, sizeof(got));
	cr_assert_arr_eq(got, changed, sizeof(got));
}

/* --- transmitting --- */

Test(net, frames_of_any_cut_are_sent_whole_or_counted_malformed)
{
	static const struct {
		const char *name;
		size_t len;
		uint32_t segment;
		bool is_sent;
	} cases[] = {
		{"a byte", 1, 1, false},
		{"not quite a header", 11, 11, false},
		{"a header alone", 12, 12, true},
		{"a header in bytes", 13, 1, true},
		{"an ordinary frame", 1526, 2000, true},
		{"the header apart", 1526, 12, true},
		{"bytes", 256, 1, true},
		{"the longest", FRAME_MAX, FRAME_MAX, true},
		{"the longest in pages", FRAME_MAX, 4096, true},
		{"one byte too long", FRAME_MAX + 1, FRAME_MAX + 1, false},
		{"too long in pieces", FRAME_MAX + 1, 300, false},
	};
	uint64_t malformed = 0;

	rig_start(F_INDIRECT_DESC | F_EVENT_IDX);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct vring_used used;
		unsigned chain = rig_offer(cases[i].len, cases[i].segment, 9);

		vdriver_kick(driver, TX);
		vdriver_run(driver);
		cr_assert(vdriver_used(driver, TX, &used), "%s", cases[i].name);
		cr_assert(used.id == chain && used.len == 0, "%s", cases[i].name);
		cr_assert_eq(vdriver_interrupts(driver), 1, "%s", cases[i].name);
		ssize_t got = rig_receive(frame, sizeof(frame));

		cr_assert_eq(got, cases[i].is_sent ? (ssize_t)cases[i].len : -1, "%s",
			     cases[i].name);
		malformed += !cases[i].is_sent;
		cr_assert_eq(count_of(&rig.metrics->tx_malformed_frames), malformed);
		rig_fill(expected, cases[i].len, 9);
		cr_assert(got < 0 || memcmp(frame, expected, cases[i].len) == 0, "%s",
			  cases[i].name);
	}
	cr_assert_eq(count_of(&rig.metrics->tx_packets_count), ARRAY_COUNT(cases) - malformed);
	cr_assert_eq(count_of(&rig.metrics->tx_count), ARRAY_COUNT(cases) - malformed);
	cr_assert_eq(count_of(&rig.metrics->tap_write_fails), 0);
}

Test(net, chains_that_are_no_frames_come_back_and_do_not_hold_up_the_next)
{
	static const struct vring_desc cases[] = {
		{.addr = 0x10000, .len = 100, .flags = VRING_WRITE},
		{.addr = VDRIVER_HOLE, .len = 100},
		{.addr = VDRIVER_HOLE - 50, .len = 100},
		{.addr = UINT64_MAX - 50, .len = 100},
		{.addr = 0x10000, .len = 0},
		{.addr = 0x10000, .len = 16, .flags = VRING_INDIRECT},
	};
	struct vring_used used;

	rig_start(F_EVENT_IDX);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		unsigned bad = rig_offer(100, 100, 1);

		vring_set_desc(&driver->queues[TX].ring, (uint16_t)bad, cases[i]);
		rig_offer(200, 200, 2);
		vdriver_kick(driver, TX);
		vdriver_run(driver);
		cr_assert(vdriver_used(driver, TX, &used), "case %zu", i);
		cr_assert(used.id == bad && used.len == 0, "case %zu", i);
		cr_assert_eq(count_used(TX), 1, "case %zu", i);
		cr_assert_eq(vdriver_interrupts(driver), 1, "case %zu", i);
		cr_assert_eq(rig_receive(frame, sizeof(frame)), 200, "case %zu", i);
		cr_assert_eq(count_of(&rig.metrics->tx_fails), i + 1);
	}
}

Test(net, a_batch_is_one_interrupt_and_leaves_others_their_turn)
{
	struct error err = {0};

	rig_start(F_EVENT_IDX);
	vdriver_interrupts(driver);
	for (unsigned i = 0; i < 200; i++) {
		rig_offer(100, 100, i);
	}
	vdriver_kick(driver, TX);
	cr_assert_eq(evloop_run_once(&driver->loop, 0, &err), 0);
	unsigned first = count_used(TX);

	cr_assert(first > 0 && first < 200, "%u in one turn", first);
	cr_assert_eq(vdriver_interrupts(driver), 1);
	vdriver_run(driver);
	cr_assert_eq(first + count_used(TX), 200);
	for (unsigned i = 0; i < 200; i++) {
		cr_assert_eq(rig_receive(frame, sizeof(frame)), 100);
		rig_fill(expected, 100, i);
		cr_assert_arr_eq(frame, expected, 100);
	}
}

Test(net, a_frame_that_the_tap_refuses_is_counted_and_given_back)
{
	rig_start(0);
	signal(SIGPIPE, SIG_IGN);
	close(rig.host);
	rig.host = -1;
	vdriver_run(driver);
	rig_offer(100, 100, 1);
	vdriver_kick(driver, TX);
	vdriver_run(driver);
	cr_assert_eq(count_used(TX), 1);
	cr_assert_eq(count_of(&rig.metrics->tap_write_fails), 1);
	cr_assert_eq(count_of(&rig.metrics->tx_packets_count), 0);
}

Test(net, another_source_address_is_counted_and_sent)
{
	static char mac[] = "02:03:04:05:06:07";
	static char name[] = "eth0";
	const struct net_config config = {.iface_id = name, .guest_mac = mac};
	uint8_t honest[60] = {[18] = 2, 3, 4, 5, 6, 7};
	const struct vbuf buf = {.data = honest, .len = sizeof(honest)};

	rig_make(&config);
	rig_start(0);
	vdriver_add(driver, TX, &buf, 1);
	vdriver_kick(driver, TX);
	vdriver_run(driver);
	cr_assert_eq(count_of(&rig.metrics->tx_spoofed_mac_count), 0);
	rig_offer(60, 60, 1);
	rig_offer(23, 23, 1); /* has no whole address */
	vdriver_kick(driver, TX);
	vdriver_run(driver);
	cr_assert_eq(count_of(&rig.metrics->tx_spoofed_mac_count), 1);
	cr_assert_eq(count_of(&rig.metrics->tx_packets_count), 3);
	cr_assert_eq(count_used(TX), 3);
}

Test(net, frames_pass_without_an_allocation)
{
	rig_start(F_MRG_RXBUF | F_OFFLOADS | F_INDIRECT_DESC | F_EVENT_IDX);
	for (unsigned i = 0; i < 100; i++) {
		rig_post(700, 2);
		rig_offer(5000, 100, i);
	}
	rig_offer(5, 5, 0);
	cr_assert(rig_send(FRAME_MAX, 1));
	cr_assert(rig_send(100, 2));
	alloc_guard_begin();
	vdriver_kick(driver, RX);
	vdriver_kick(driver, TX);
	vdriver_run(driver);
	cr_assert_eq(alloc_guard_end(), 0);
	cr_assert_eq(count_used(TX), 101);
	cr_assert_eq(count_used(RX), 47 + 1);
}

/* --- limits --- */

static const struct limiter_config slow = {.ops = {.size = 2, .refill_time_ms = 3600000},
					   .has_ops = true};
static const struct limiter_config hundred = {.ops = {.size = 100, .refill_time_ms = 3600000},
					      .has_ops = true};
static const struct limiter_config quick = {.bandwidth = {.size = 2000, .refill_time_ms = 20},
					    .has_bandwidth = true};
static const struct limiter_config unlimited = {.has_ops = true, .has_bandwidth = true};

static void make_limited(const struct limiter_config *rx, const struct limiter_config *tx)
{
	static char name[] = "eth0";
	struct net_config config = {.iface_id = name,
				    .has_rx_rate_limiter = rx != NULL,
				    .has_tx_rate_limiter = tx != NULL};

	if (rx != NULL) {
		config.rx_rate_limiter = *rx;
	}
	if (tx != NULL) {
		config.tx_rate_limiter = *tx;
	}
	rig_make(&config);
	rig_start(F_EVENT_IDX);
}

static void set_limits(const struct limiter_config *rx, const struct limiter_config *tx)
{
	struct error err = {0};

	cr_assert_eq(net_set_limits(rig.net, rx, tx, &err), 0, "%s", err.msg);
	vdriver_run(driver);
}

static void offer_frames(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		rig_offer(100, 100, i);
	}
	vdriver_kick(driver, TX);
	vdriver_run(driver);
}

static void post_and_send(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		rig_post(1000, 1);
		cr_assert(rig_send(100, i));
	}
	vdriver_kick(driver, RX);
	vdriver_run(driver);
}

Test(net, a_limit_holds_the_guests_frames_in_its_queue_until_it_is_lifted)
{
	make_limited(NULL, &slow);
	offer_frames(5);
	cr_assert_eq(count_used(TX), 2);
	cr_assert_gt(count_of(&rig.metrics->tx_rate_limiter_throttled), 0);
	vdriver_notify(driver, TX);
	vdriver_run(driver);
	cr_assert_eq(count_used(TX), 0);
	set_limits(NULL, NULL);
	cr_assert_eq(count_used(TX), 0);
	set_limits(NULL, &unlimited);
	cr_assert_eq(count_used(TX), 3);
	for (unsigned i = 0; i < 5; i++) {
		cr_assert_eq(rig_receive(frame, sizeof(frame)), 100);
		rig_fill(expected, 100, i);
		cr_assert_arr_eq(frame, expected, 100);
	}
}

Test(net, a_limit_holds_the_hosts_frames_until_it_is_lifted)
{
	struct vring_used used;

	make_limited(&slow, NULL);
	post_and_send(5);
	cr_assert_eq(vring_used_idx(&driver->queues[RX].ring), 2);
	cr_assert_gt(count_of(&rig.metrics->rx_rate_limiter_throttled), 0);
	vdriver_notify(driver, RX);
	vdriver_run(driver);
	cr_assert_eq(vring_used_idx(&driver->queues[RX].ring), 2);
	set_limits(&unlimited, NULL);
	for (unsigned i = 0; i < 5; i++) {
		cr_assert(vdriver_used(driver, RX, &used));
		rig_gather(used.id, 1, 1000, frame, used.len);
		rig_fill(expected, 100, i);
		expected[10] = 1;
		cr_assert_arr_eq(frame, expected, 100);
	}
	cr_assert_not(vdriver_used(driver, RX, &used));
	cr_assert_eq(count_of(&rig.metrics->rx_packets_count), 5);
}

static bool has_twenty(void *arg)
{
	return vring_used_idx(&driver->queues[*(unsigned *)arg].ring) == 20;
}

Test(net, the_limiters_timer_goes_on_with_both_directions)
{
	unsigned queue = RX;

	make_limited(&quick, &quick);
	for (unsigned i = 0; i < 20; i++) {
		rig_post(1000, 1);
		cr_assert(rig_send(500, i));
		rig_offer(500, 500, i);
	}
	vdriver_kick(driver, RX);
	vdriver_kick(driver, TX);
	vdriver_wait(driver, has_twenty, &queue);
	queue = TX;
	vdriver_wait(driver, has_twenty, &queue);
	cr_assert_gt(count_of(&rig.metrics->rx_event_rate_limiter_count), 0);
	cr_assert_gt(count_of(&rig.metrics->tx_rate_limiter_event_count), 0);
}

Test(net, frames_wait_for_a_tap_that_is_full)
{
	int room = 1;
	unsigned received = 0;
	bool is_partial = false;

	setsockopt(rig.tap, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	/* As many operations as frames: trying again costs nothing. */
	make_limited(NULL, &hundred);
	for (unsigned i = 0; i < 100; i++) {
		rig_offer(1000, 1000, i);
	}
	vdriver_kick(driver, TX);
	while (received < 100) {
		vdriver_run(driver);
		unsigned before = received;

		for (; rig_receive(frame, sizeof(frame)) == 1000; received++) {
			rig_fill(expected, 1000, received);
			cr_assert_arr_eq(frame, expected, 1000);
		}
		cr_assert_gt(received, before, "stalled");
		is_partial |= received < 100;
	}
	cr_assert(is_partial, "the socket was never full");
	vdriver_run(driver);
	cr_assert_eq(count_used(TX), 100);
	cr_assert_eq(count_of(&rig.metrics->tap_write_fails), 0);
	cr_assert_eq(count_of(&rig.metrics->tx_packets_count), 100);
}

Test(net, limits_are_set_on_a_device_that_no_driver_runs)
{
	rig_make(NULL);
	set_limits(&slow, &slow);
	rig_start(0);
	offer_frames(5);
	cr_assert_eq(count_used(TX), 2);
}

/* --- reset --- */

Test(net, a_reset_forgets_frames_and_buffers_that_it_held)
{
	uint8_t pattern[100];

	make_limited(&slow, &slow);
	for (unsigned round = 0; round < 3; round++) {
		post_and_send(5);
		offer_frames(5);
		vdriver_stop(driver);
		while (rig_receive(frame, sizeof(frame)) >= 0) {
		}
		vdriver_run(driver);
		rig_start(F_EVENT_IDX);
	}
	set_limits(&unlimited, &unlimited);
	for (unsigned i = 0; i < 20; i++) {
		rig_post(1000, 1);
	}
	vdriver_kick(driver, RX);
	vdriver_run(driver);
	/* One of each round's was read already. */
	cr_assert_eq(count_used(RX), 3 * 5 - 2 - 1);
	gpa_t held = vdriver_segment(driver, RX, rig_post(1000, 1), 0);

	vdriver_stop(driver);
	cr_assert(rig_send(100, 1));
	vdriver_run(driver);
	memset(pattern, 0xee, sizeof(pattern));
	cr_assert_eq(gmem_read(driver->mem, held, frame, sizeof(pattern)), 0);
	cr_assert_arr_eq(frame, pattern, sizeof(pattern));
}

Test(net, a_reset_drops_the_frames_that_wait_for_the_last_drivers_offloads)
{
	struct vring_used used;

	rig_start(F_OFFLOADS);
	cr_assert(rig_send(FRAME_MAX, 1));
	cr_assert(rig_send(100, 2));
	vdriver_stop(driver);
	cr_assert(rig_send(200, 3));
	rig_start(0);
	rig_post(FRAME_MAX, 1);
	vdriver_kick(driver, RX);
	vdriver_run(driver);
	cr_assert(vdriver_used(driver, RX, &used));
	cr_assert_eq(used.len, 200);
}

static atomic_bool is_vcpu_done;

/* Touches no more than a driver does: registers, rings and its own memory. */
static void *reset_again_and_again(void *arg)
{
	unsigned *started = arg;

	for (unsigned round = 0; round < 100; round++) {
		*started += vdriver_start(driver, net_virtio(rig.net),
					  round % 2 == 0 ? F_MRG_RXBUF | F_OFFLOADS : 0);
		for (unsigned i = 0; i < 60; i++) {
			rig_post(1600, 1);
			rig_offer(100, 50, i);
			vdriver_kick(driver, i % 2);
		}
		/* Else the scheduler might never let the loop do anything. */
		while (round % 10 == 0 && (vring_used_idx(&driver->queues[RX].ring) == 0 ||
					   vring_used_idx(&driver->queues[TX].ring) == 0)) {
			sched_yield();
		}
		vdriver_stop(driver);
	}
	is_vcpu_done = true;
	return NULL;
}

Test(net, a_vcpu_resets_the_device_in_the_middle_of_its_traffic)
{
	unsigned started = 0;
	struct error err = {0};
	pthread_t vcpu;

	rig_make(NULL);
	cr_assert_eq(pthread_create(&vcpu, NULL, reset_again_and_again, &started), 0);
	while (!is_vcpu_done) {
		static const uint8_t short_frame[100];

		(void)!send(rig.host, short_frame, sizeof(short_frame), MSG_NOSIGNAL);
		(void)rig_receive(frame, sizeof(frame));
		cr_assert_eq(evloop_run_once(&driver->loop, 1, &err), 0, "%s", err.msg);
	}
	pthread_join(vcpu, NULL);
	cr_assert_eq(started, 100);
	vdriver_run(driver);
	cr_assert_gt(count_of(&rig.metrics->rx_packets_count), 0);
	cr_assert_gt(count_of(&rig.metrics->tx_packets_count), 0);
}

Test(net, a_device_may_be_freed_while_it_holds_frames)
{
	make_limited(&slow, &slow);
	post_and_send(5);
	offer_frames(5);
}

/* --- a real TAP --- */

static void link_up(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_UP | IFF_NOARP};
	int control = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	cr_assert_eq(ioctl(control, SIOCSIFFLAGS, &ifr), 0, "%s", strerror(errno));
	close(control);
}

static void link_delete(const char *name)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
	} request = {
		.head = {.nlmsg_len = sizeof(request),
			 .nlmsg_type = RTM_DELLINK,
			 .nlmsg_flags = NLM_F_REQUEST},
		.info = {.ifi_index = (int)if_nametoindex(name)},
	};
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	cr_assert_eq(send(fd, &request, sizeof(request), 0), (ssize_t)sizeof(request));
	close(fd);
}

/* All frames of one interface, of a protocol that nobody speaks. */
static int open_packets(const char *name)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(0x88b5));
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(0x88b5),
		.sll_ifindex = (int)if_nametoindex(name),
	};

	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0, "%s",
		     strerror(errno));
	return fd;
}

static bool has_experimental(void *arg)
{
	static uint8_t got[2000];
	struct vring_used used;

	(void)arg;
	while (vdriver_used(driver, RX, &used)) {
		vdriver_get(driver, RX, used.id, 0, got, used.len);
		if (used.len == HEADER_LEN + 100 && got[24] == 0x88 && got[25] == 0xb5) {
			return true;
		}
	}
	return false;
}

Test(net, a_real_tap_carries_frames_both_ways_and_may_be_deleted)
{
	static char name[] = "tap0";
	const struct net_config config = {.iface_id = name, .host_dev_name = name};
	uint8_t sent[HEADER_LEN + 100] = {[24] = 0x88, [25] = 0xb5};
	const struct vbuf buf = {.data = sent, .len = sizeof(sent)};
	struct error err = {0};
	struct net_tap tap;

	if (unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", R_OK | W_OK) < 0) {
		cr_skip_test("no TAP can be made here: %s", strerror(errno));
	}
	cr_assert_eq(net_tap_open(name, 1, &tap, &err), 0, "%s", err.msg);
	close(rig.tap);
	rig.tap = tap.fd[0];
	link_up(name);
	int packets = open_packets(name);

	cr_assert_eq(net_new(vdriver_env(driver), &config, &tap, &rig.net, &err), 0, "%s", err.msg);
	rig.metrics = net_metrics(rig.net);
	cr_assert(net_virtio(rig.net)->offered & F_GUEST_TSO4);
	rig_start(F_MRG_RXBUF | F_OFFLOADS | F_EVENT_IDX);
	memset(sent + HEADER_LEN, 0xff, 6); /* to all */
	vdriver_add(driver, TX, &buf, 1);
	vdriver_kick(driver, TX);
	vdriver_run(driver);
	cr_assert_eq(count_of(&rig.metrics->tap_write_fails), 0);
	cr_assert_eq(count_of(&rig.metrics->tx_count), 1);
	cr_assert_eq(recv(packets, frame, sizeof(frame), 0), 100, "%s", strerror(errno));

	for (unsigned i = 0; i < 100; i++) {
		rig_post(1536, 1);
	}
	vdriver_kick(driver, RX);
	cr_assert_eq(send(packets, sent + HEADER_LEN, 100, 0), 100);
	vdriver_wait(driver, has_experimental, NULL);

	/* A header that makes no sense is the kernel's to refuse. */
	memset(sent, 0xff, HEADER_LEN);
	vdriver_add(driver, TX, &buf, 1);
	vdriver_kick(driver, TX);
	vdriver_run(driver);
	cr_assert_eq(count_of(&rig.metrics->tap_write_fails), 1);

	link_delete(name);
	vdriver_add(driver, TX, &buf, 1);
	vdriver_kick(driver, TX);
	vdriver_run(driver);
	cr_assert_eq(count_of(&rig.metrics->tap_write_fails), 2);
	vdriver_notify(driver, RX);
	vdriver_run(driver);
	close(packets);
}

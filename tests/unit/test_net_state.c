/* SPDX-License-Identifier: Apache-2.0 */
/* An interface that is saved and loaded. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/net_rig.h"
#include "tests/unit/state_bed.h"
#include "vmm/base/bytes.h"

enum {
	BUFFER = 1536,
	BUFFERS = 60,
};

TestSuite(net_state, .init = rig_set_up, .fini = rig_tear_down);

static struct vdriver *const driver = &rig.driver;
static struct state_bed bed;

static const uint64_t feature_sets[] = {
	0,
	F_EVENT_IDX,
	/* Without offloads: a device that goes drops the frames that wait in their TAP. */
	F_MRG_RXBUF | F_INDIRECT_DESC | F_EVENT_IDX,
};

static void make_again(const struct net_config *config)
{
	net_free(rig.net);
	rig_make(config);
}

static void move(const struct net_config *config)
{
	state_bed_take(&bed, driver);
	make_again(config);
	state_bed_give(&bed, driver, net_virtio(rig.net));
}

static void refuse(const struct net_config *config, const char *sentence)
{
	struct error err = {0};

	state_bed_take(&bed, driver);
	make_again(config);
	cr_assert(state_bed_load(&bed, driver, net_virtio(rig.net), &err) < 0);
	cr_expect_str_eq(err.msg, sentence);
}

static void post(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		rig_post(BUFFER, 1);
	}
	vdriver_kick(driver, RX);
}

static bool take_frame(size_t len, unsigned seed)
{
	static uint8_t got[BUFFER];
	static uint8_t expected[BUFFER];
	struct vring_used used;

	if (!vdriver_used(driver, RX, &used)) {
		return false;
	}
	cr_assert_eq(used.len, len);
	vdriver_get(driver, RX, used.id, 0, got, len);
	rig_fill(expected, len, seed);
	store_le16(expected + 10, 1);
	cr_assert_arr_eq(got, expected, len);
	return true;
}

Test(net_state, frames_of_both_directions_arrive_in_their_order)
{
	static uint8_t frame[FRAME_MAX];

	for (size_t i = 0; i < ARRAY_COUNT(feature_sets); i++) {
		rig_start(feature_sets[i]);
		post(BUFFERS);
		vdriver_run(driver);
		for (unsigned round = 0; round < 30; round++) {
			cr_assert(rig_send(100, round));
			if (round % 3 == 0) {
				vdriver_run(driver);
			}
			rig_offer(200 + round, 64, round); /* nobody is notified of it */
			move(NULL);
			cr_assert(rig_send(60, 100 + round));
			vdriver_run(driver);
			cr_assert(take_frame(100, round), "set %zu, round %u", i, round);
			cr_assert(take_frame(60, 100 + round), "set %zu, round %u", i, round);
			cr_assert_eq(rig_receive(frame, sizeof(frame)), 200 + round);
			post(2);
		}
		rig_tear_down();
		rig_set_up();
	}
}

Test(net_state, the_tap_gets_the_offloads_that_the_driver_took)
{
	rig_start(F_MRG_RXBUF | F_OFFLOADS);
	state_bed_take(&bed, driver);
	make_again(NULL);
	cr_assert_eq(rig_tap.in_force, 0, "the old device has dropped them");
	state_bed_give(&bed, driver, net_virtio(rig.net));
	cr_expect_eq(rig_tap.in_force, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6);
	/* The loaded device drops them as well when its driver goes. */
	vdriver_stop(driver);
	cr_expect_eq(rig_tap.in_force, 0);
}

Test(net_state, a_tap_that_does_not_know_them_is_named_or_its_failure_is)
{
	rig_start(F_MRG_RXBUF | F_OFFLOADS);
	rig_tap.known = NET_OFFLOAD_CSUM;
	refuse(NULL, "The net device eth0 can't be loaded: its driver uses features that it does "
		     "not have here: VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6");
	rig_tap.known = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6;
	make_again(NULL);
	rig_start(F_MRG_RXBUF | F_OFFLOADS);
	rig_tap.is_failing = true;
	refuse(NULL, "The net device eth0 can't be loaded: Setting tap interface offload flags "
		     "failed: No offloads today: Invalid argument (os error 22)");
}

Test(net_state, addresses_and_mtu_are_those_that_the_driver_knows)
{
	static char name[] = "eth0";
	static char mac[] = "02:00:00:00:00:05";
	static char other_mac[] = "02:00:00:00:00:06";
	static const uint8_t written[] = {6, 5, 4, 3, 2, 1};
	const struct net_config config = {.iface_id = name, .guest_mac = mac, .mtu = 1400};
	const struct net_config other = {.iface_id = name, .guest_mac = other_mac, .mtu = 1400};
	const struct net_config longer = {.iface_id = name, .guest_mac = mac, .mtu = 1500};
	uint8_t got[6];

	rig_make(&config);
	rig_start(F_MAC | F_MTU);
	refuse(&other, "The net device eth0 can't be loaded: it has another MAC address now than "
		       "its driver knows");
	rig_start(F_MAC | F_MTU);
	make_again(&config);
	rig_start(F_MAC | F_MTU);
	refuse(&longer, "The net device eth0 can't be loaded: it has another MTU now than its "
			"driver knows");
	/* One that the driver has written itself is its own, with or without a configured one. */
	for (size_t i = 0; i < 2; i++) {
		const struct net_config *made = i == 0 ? &config : NULL;

		make_again(made);
		rig_start(F_MAC | F_MTU);
		vdriver_write_config(driver, 0, written, sizeof(written));
		move(made);
		vdriver_read_config(driver, 0, got, sizeof(got));
		cr_expect_arr_eq(got, written, sizeof(got));
		rig_offer(60, 60, 1);
		vdriver_kick(driver, TX);
		vdriver_run(driver);
		cr_expect_eq(metric_get(&rig.metrics->tx_spoofed_mac_count), 1, "it is known");
	}
}

static uint64_t now_ns;

static uint64_t still(clockid_t id)
{
	(void)id;
	return now_ns;
}

/* Two frames at once, and one more each half hour. */
static struct net_config slow(void)
{
	static char name[] = "eth0";
	const struct limiter_config limit = {.ops = {.size = 2, .refill_time_ms = 3600000},
					     .has_ops = true};

	now_ns = 1000000;
	driver->clock.now_ns = still;
	return (struct net_config){
		.iface_id = name,
		.rx_rate_limiter = limit,
		.has_rx_rate_limiter = true,
		.tx_rate_limiter = limit,
		.has_tx_rate_limiter = true,
	};
}

/* Moves, and lets half an hour pass before the loaded device looks at its queues. */
static void move_slowly(const struct net_config *config)
{
	struct error err = {0};

	state_bed_take(&bed, driver);
	make_again(config);
	cr_assert(state_bed_load(&bed, driver, net_virtio(rig.net), &err) == 0, "%s", err.msg);
	now_ns += 1800 * NS_PER_S;
	vdriver_resume(driver);
	vdriver_run(driver);
}

Test(net_state, a_frame_that_went_before_the_save_is_paid_for_after_the_load)
{
	const struct net_config config = slow();
	struct error err = {0};

	rig_make(&config);
	rig_start(0);
	post(BUFFERS);
	for (unsigned seed = 0; seed < 5; seed++) {
		cr_assert(rig_send(100, seed));
	}
	vdriver_run(driver);
	move_slowly(&config);
	cr_assert(take_frame(100, 0) && take_frame(100, 1));
	cr_assert(take_frame(100, 2), "it was read before");
	cr_assert_not(take_frame(100, 3), "what came in half an hour has paid for it");
	move_slowly(&config);
	cr_assert(take_frame(100, 3));
	cr_assert_not(take_frame(100, 4));
	state_bed_take(&bed, driver);
	bed.state.own[24] = FRAME_MAX + 1; /* behind both limiters */
	make_again(&config);
	cr_assert(state_bed_load(&bed, driver, net_virtio(rig.net), &err) < 0);
	cr_expect(strstr(err.msg, "a frame has at most 65562 bytes, and not 65563") != NULL, "%s",
		  err.msg);
}

Test(net_state, the_limit_of_what_the_guest_sends_goes_on_too)
{
	static uint8_t frame[FRAME_MAX];
	const struct net_config config = slow();
	unsigned sent = 0;

	rig_make(&config);
	rig_start(F_EVENT_IDX);
	for (unsigned i = 0; i < 5; i++) {
		rig_offer(100, 100, i);
	}
	vdriver_kick(driver, TX);
	vdriver_run(driver);
	move(&config);
	vdriver_run(driver);
	while (rig_receive(frame, sizeof(frame)) > 0) {
		sent++;
	}
	cr_expect_eq(sent, 2);
	move_slowly(&config);
	cr_expect_eq(rig_receive(frame, sizeof(frame)), 100);
	cr_expect_eq(rig_receive(frame, sizeof(frame)), -1);
}

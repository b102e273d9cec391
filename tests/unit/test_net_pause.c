/* SPDX-License-Identifier: Apache-2.0 */
/* Pauses of the network device: no frame is lost, and no buffer stays with the device. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/net_rig.h"
#include "vmm/base/bytes.h"

enum {
	BUFFER = 1536,
	BUFFERS = 60, /* more than the longest frame needs */
};

TestSuite(net_pause, .init = rig_set_up, .fini = rig_tear_down);

static struct vdriver *const driver = &rig.driver;

static const uint64_t feature_sets[] = {
	0,
	F_EVENT_IDX,
	F_MRG_RXBUF | F_OFFLOADS | F_INDIRECT_DESC,
	F_MRG_RXBUF | F_OFFLOADS | F_INDIRECT_DESC | F_EVENT_IDX,
};

static void post(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		rig_post(BUFFER, 1);
	}
	vdriver_kick(driver, RX);
	vdriver_run(driver);
}

/* Takes a frame out of the used ring, and offers its buffers again; false if there is none. */
static bool take_frame(size_t len, unsigned seed)
{
	static uint8_t got[FRAME_MAX];
	static uint8_t expected[FRAME_MAX];
	struct vring_used used;
	unsigned chains = 0;

	for (size_t done = 0; done < len; chains++) {
		if (!vdriver_used(driver, RX, &used)) {
			return false;
		}
		cr_assert(used.len > 0 && used.len <= len - done, "%u bytes", used.len);
		rig_gather(used.id, 1, BUFFER, got + done, used.len);
		done += used.len;
	}
	rig_fill(expected, len, seed);
	store_le16(expected + 10, (uint16_t)chains);
	cr_assert_arr_eq(got, expected, len);
	post(chains);
	return true;
}

static void pause_and_resume(void)
{
	vdriver_pause(driver);
	vdriver_resume(driver);
}

Test(net_pause, frames_before_during_and_after_a_pause_arrive_in_their_order)
{
	for (size_t i = 0; i < ARRAY_COUNT(feature_sets); i++) {
		bool is_merged = (feature_sets[i] & F_MRG_RXBUF) != 0;

		rig_start(feature_sets[i]);
		post(BUFFERS);
		for (unsigned round = 0; round < 100; round++) {
			size_t len = 20 + round * (is_merged ? 600 : 15);

			cr_assert(rig_send(len, round));
			if (round % 3 == 0) {
				vdriver_run(driver);
			}
			vdriver_pause(driver);
			cr_assert(rig_send(60, 1000 + round));
			vdriver_resume(driver);
			vdriver_run(driver);
			cr_assert(take_frame(len, round), "set %zu, round %u", i, round);
			cr_assert(take_frame(60, 1000 + round), "set %zu, round %u", i, round);
		}
		cr_assert_eq(metric_get(&rig.metrics->rx_fails), 0);
		rig_tear_down();
		rig_set_up();
	}
}

Test(net_pause, buffers_that_wait_for_a_frame_are_in_their_queue)
{
	const struct virtq *vq;

	rig_start(feature_sets[3]);
	post(BUFFERS);
	vq = &net_virtio(rig.net)->queues[RX].vq;
	cr_assert_gt(virtq_held(vq), 40);
	vdriver_pause(driver);
	cr_assert_eq(virtq_held(vq), 0);
	cr_assert_eq(vring_used_idx(&driver->queues[RX].ring), 0);
	vdriver_resume(driver);
	cr_assert(rig_send(100, 1));
	vdriver_run(driver);
	cr_assert(take_frame(100, 1));
	cr_assert_gt(virtq_held(vq), 40);
}

Test(net_pause, a_frame_that_waits_for_the_limiter_is_delivered)
{
	static char name[] = "eth0";
	const struct limiter_config slow = {.ops = {.size = 2, .refill_time_ms = 3600000},
					    .has_ops = true};
	const struct limiter_config unlimited = {.has_ops = true};
	const struct net_config config = {
		.iface_id = name, .rx_rate_limiter = slow, .has_rx_rate_limiter = true};
	struct error err = {0};

	for (size_t i = 0; i < ARRAY_COUNT(feature_sets); i++) {
		rig_make(&config);
		rig_start(feature_sets[i]);
		post(BUFFERS);
		for (unsigned seed = 0; seed < 5; seed++) {
			cr_assert(rig_send(100, seed));
		}
		vdriver_run(driver);
		cr_assert(take_frame(100, 0) && take_frame(100, 1));
		cr_assert_not(take_frame(100, 2), "it is read, and not paid for");
		(void)vdriver_interrupts(driver);
		vdriver_pause(driver);
		cr_expect_eq(vdriver_interrupts(driver), 1);
		vdriver_resume(driver);
		cr_assert(take_frame(100, 2));
		vdriver_run(driver);
		cr_assert_not(take_frame(100, 3), "the limit holds after it");
		cr_assert_eq(net_set_limits(rig.net, &unlimited, NULL, &err), 0);
		vdriver_run(driver);
		cr_assert(take_frame(100, 3) && take_frame(100, 4));
		rig_tear_down();
		rig_set_up();
	}
}

/* A chain that is no buffer is given back at once: what is held by then goes before it. */
Test(net_pause, a_bad_buffer_among_good_ones_is_given_back_in_its_place)
{
	static const struct vring_desc bad[] = {
		{0, 8, 0, 0},				/* to be read */
		{0, 8, VRING_WRITE, 0},			/* no room for a header */
		{VDRIVER_HOLE, BUFFER, VRING_WRITE, 0}, /* no memory */
	};

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		struct vring_used used;
		unsigned heads[5];

		rig_start(feature_sets[2]);
		for (unsigned j = 0; j < ARRAY_COUNT(heads); j++) {
			heads[j] = rig_post(BUFFER, 1);
		}
		vring_set_desc(&driver->queues[RX].ring, (uint16_t)heads[3], bad[i]);
		vdriver_kick(driver, RX);
		vdriver_run(driver);
		vdriver_pause(driver);
		for (unsigned j = 0; j < 4; j++) {
			cr_assert(vdriver_used(driver, RX, &used), "case %zu", i);
			cr_expect(used.id == heads[j] && used.len == 0, "case %zu", i);
		}
		cr_assert_not(vdriver_used(driver, RX, &used), "case %zu", i);
		vdriver_resume(driver);
		post(BUFFERS);
		cr_assert(rig_send(2000, 7));
		vdriver_run(driver);
		cr_assert(take_frame(2000, 7), "case %zu", i);
		rig_tear_down();
		rig_set_up();
	}
}

Test(net_pause, frames_of_the_guest_that_wait_stay_in_their_queue)
{
	static uint8_t frame[FRAME_MAX];
	unsigned sent = 0;
	unsigned taken = 0;

	rig_start(F_EVENT_IDX);
	/* Until the socket is full. */
	for (; sent < 200; sent++) {
		rig_offer(60000, 60000, sent);
		vdriver_kick(driver, TX);
		vdriver_run(driver);
	}
	cr_assert_lt(vring_used_idx(&driver->queues[TX].ring), 200);
	for (unsigned tries = 0; taken < sent && tries < 10000; tries++) {
		pause_and_resume();
		vdriver_run(driver);
		taken += rig_receive(frame, sizeof(frame)) > 0;
	}
	cr_assert_eq(taken, 200);
}

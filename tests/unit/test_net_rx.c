/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving: every layout of buffers that a driver may think of, floods, and too little of all. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/virtio/net/net_rx.h"
#include "tests/unit/net_rig.h"
#include "vmm/base/bytes.h"

TestSuite(net_rx, .init = rig_set_up, .fini = rig_tear_down);

#define MERGEABLE (F_MRG_RXBUF | F_OFFLOADS | F_INDIRECT_DESC)

static struct vdriver *const driver = &rig.driver;

static uint64_t count_of(const struct metric *metric)
{
	return metric_get(metric);
}

/* `chains` buffers of `segments` segments of `segment` bytes each. */
struct layout {
	const char *name;
	uint64_t features;
	uint32_t segment;
	unsigned segments;
	unsigned chains;
	size_t frame;
	unsigned used; /* chains; 0: it is dropped */
};

/* Takes a frame out of the used ring and compares it; returns how many chains it had. */
static unsigned expect_frame(const char *name, const struct layout *layout, size_t len,
			     unsigned seed)
{
	static uint8_t got[FRAME_MAX];
	static uint8_t expected[FRAME_MAX];
	struct vring_used used;
	unsigned chains = 0;
	size_t done = 0;

	for (; done < len; chains++) {
		cr_assert(vdriver_used(driver, RX, &used), "%s: %zu of %zu bytes", name, done, len);
		cr_assert(used.len > 0 && used.len <= len - done, "%s: %u bytes", name, used.len);
		rig_gather(used.id, layout->segments, layout->segment, got + done, used.len);
		done += used.len;
	}
	rig_fill(expected, len, seed);
	store_le16(expected + 10, (uint16_t)chains);
	cr_assert_arr_eq(got, expected, len, "%s", name);
	return chains;
}

static void receive_in(const struct layout *layout)
{
	static uint8_t pattern[FRAME_MAX];
	struct vring_used used;

	memset(pattern, 0xee, sizeof(pattern));
	for (unsigned i = 0; i < layout->chains; i++) {
		rig_post(layout->segment, layout->segments);
	}
	vdriver_kick(driver, RX);
	vdriver_run(driver);
	vdriver_interrupts(driver);
	cr_assert(rig_send(layout->frame, 3));
	vdriver_run(driver);
	if (layout->used == 0) {
		cr_assert_not(vdriver_used(driver, RX, &used), "%s", layout->name);
		cr_assert_eq(count_of(&rig.metrics->rx_fails), 1, "%s", layout->name);
		cr_assert_eq(vdriver_interrupts(driver), 0, "%s", layout->name);
		return;
	}
	cr_assert_eq(expect_frame(layout->name, layout, layout->frame, 3), layout->used, "%s",
		     layout->name);
	cr_assert_eq(vdriver_interrupts(driver), 1, "%s", layout->name);
	cr_assert_not(vdriver_used(driver, RX, &used), "%s", layout->name);
	cr_assert_eq(count_of(&rig.metrics->rx_bytes_count), layout->frame, "%s", layout->name);
	cr_assert_eq(count_of(&rig.metrics->rx_packets_count), 1, "%s", layout->name);
	cr_assert_eq(count_of(&rig.metrics->rx_fails), 0, "%s", layout->name);
}

Test(net_rx, a_frame_arrives_in_whatever_buffers_there_are)
{
	static const struct layout layouts[] = {
		{"Linux's small buffers", MERGEABLE, 1536, 1, 43, 100, 1},
		{"a page each", MERGEABLE, 4096, 1, 17, 9000, 3},
		{"an exact fit", MERGEABLE, 1600, 1, 41, 1600, 1},
		{"one byte more", MERGEABLE, 1600, 1, 41, 1601, 2},
		{"two buffers exactly", MERGEABLE, 1600, 1, 41, 3200, 2},
		{"the longest frame", MERGEABLE, 1536, 1, 43, FRAME_MAX, 43},
		{"the longest frame in one", MERGEABLE, FRAME_MAX, 1, 1, FRAME_MAX, 1},
		{"a huge buffer", MERGEABLE, 1 << 20, 1, 1, FRAME_MAX, 1},
		{"two segments each", MERGEABLE, 800, 2, 41, 5000, 4},
		{"a header alone", MERGEABLE, 1536, 1, 43, 12, 1},
		{"a split header", MERGEABLE, 5, 200, 70, 3000, 3},
		{"num_buffers in two segments", MERGEABLE, 11, 200, 30, 5000, 3},
		{"bytes", MERGEABLE, 1, 256, 10, 700, 3},
		{"bytes, as many as a readv takes", MERGEABLE, 1, 256, 10, 768, 3},
		{"bytes, one too many", MERGEABLE, 1, 256, 10, 769, 0},
		{"headers only, the whole queue", MERGEABLE, 12, 1, 256, 3000, 250},
		{"headers only, all of them", MERGEABLE, 12, 1, 256, 3072, 256},
		{"headers only, too many", MERGEABLE, 12, 1, 256, 3073, 0},
		{"no offloads, few buffers", F_MRG_RXBUF, 1526, 1, 1, 1526, 1},
		{"no offloads, too few", F_MRG_RXBUF, 1526, 1, 1, 1527, 0},
		{"no offloads, a jumbo frame", F_MRG_RXBUF, 1526, 1, 7, 9018, 6},
		{"with event index", MERGEABLE | F_EVENT_IDX, 1536, 1, 50, 5000, 4},
		{"not merged", F_OFFLOADS, FRAME_MAX, 1, 2, FRAME_MAX, 1},
		{"not merged, plain", 0, 1526, 1, 2, 1526, 1},
		{"not merged, an exact fit", 0, 100, 1, 2, 100, 1},
		{"not merged, one too many", 0, 100, 1, 2, 101, 0},
		{"not merged, bytes", F_INDIRECT_DESC, 1, 256, 2, 256, 1},
		{"not merged, event index", F_EVENT_IDX, 2000, 1, 2, 1000, 1},
	};

	for (size_t i = 0; i < ARRAY_COUNT(layouts); i++) {
		rig_start(layouts[i].features);
		receive_in(&layouts[i]);
		rig_tear_down();
		rig_set_up();
	}
}

Test(net_rx, a_frame_that_does_not_fit_costs_no_buffer)
{
	const struct layout layout = {.segment = 100, .segments = 1};

	rig_start(0);
	rig_post(100, 1);
	vdriver_kick(driver, RX);
	cr_assert(rig_send(101, 1));
	cr_assert(rig_send(FRAME_MAX, 2));
	cr_assert(rig_send(11, 3));
	cr_assert(rig_send(60, 4));
	vdriver_run(driver);
	expect_frame("the one that fits", &layout, 60, 4);
	cr_assert_eq(count_of(&rig.metrics->rx_fails), 3);
	cr_assert_eq(count_of(&rig.metrics->rx_count), 1);
}

Test(net_rx, nothing_is_read_before_the_longest_frame_has_room)
{
	const struct layout layout = {.segment = 1536, .segments = 1};

	for (int i = 0; i < 2; i++) {
		rig_start(MERGEABLE | (i == 1 ? F_EVENT_IDX : 0));
		for (unsigned j = 0; j < 42; j++) {
			rig_post(1536, 1);
		}
		vdriver_kick(driver, RX);
		cr_assert(rig_send(100, 1));
		cr_assert(rig_send(200, 2));
		vdriver_run(driver);
		cr_assert_eq(vring_used_idx(&driver->queues[RX].ring), 0);
		cr_assert_gt(count_of(&rig.metrics->no_rx_avail_buffer), 0);

		/* The kick is asked for, or this one would not be made. */
		rig_post(1536, 1);
		vdriver_kick(driver, RX);
		vdriver_run(driver);
		expect_frame("first", &layout, 100, 1);
		rig_post(1536, 1);
		vdriver_kick(driver, RX);
		vdriver_run(driver);
		expect_frame("second", &layout, 200, 2);
		vdriver_stop(driver);
		vdriver_run(driver);
	}
}

Test(net_rx, buffers_that_are_none_come_back_empty)
{
	static const struct {
		const char *name;
		struct vring_desc desc;
	} cases[] = {
		{"shorter than a header", {.addr = 0x10000, .len = 11, .flags = VRING_WRITE}},
		{"not writable", {.addr = 0x10000, .len = 4096}},
		{"no memory there", {.addr = VDRIVER_HOLE, .len = 4096, .flags = VRING_WRITE}},
		{"ends in the hole",
		 {.addr = VDRIVER_HOLE - 64, .len = 4096, .flags = VRING_WRITE}},
		{"a wrapping address",
		 {.addr = UINT64_MAX - 64, .len = 4096, .flags = VRING_WRITE}},
		{"no bytes", {.addr = 0x10000, .len = 0, .flags = VRING_WRITE}},
	};
	const struct layout layout = {.segment = 2000, .segments = 1};
	struct vring_used used;

	for (int merging = 0; merging < 2; merging++) {
		rig_start(merging == 1 ? F_MRG_RXBUF : 0);
		for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
			unsigned bad = rig_post(2000, 1);

			vring_set_desc(&driver->queues[RX].ring, (uint16_t)bad, cases[i].desc);
			unsigned good = rig_post(2000, 1);

			cr_assert_neq(bad, good);
			cr_assert(rig_send(1000, 5));
			vdriver_kick(driver, RX);
			vdriver_run(driver);
			cr_assert(vdriver_used(driver, RX, &used), "%s", cases[i].name);
			cr_assert(used.id == bad && used.len == 0, "%s", cases[i].name);
			expect_frame(cases[i].name, &layout, 1000, 5);
		}
		vdriver_stop(driver);
	}
	cr_assert_eq(count_of(&rig.metrics->rx_fails), 2 * ARRAY_COUNT(cases));
}

Test(net_rx, a_buffer_with_a_readable_part_comes_back_empty)
{
	const struct vbuf bufs[] = {{.len = 100}, {.len = 2000, .flags = VBUF_WRITABLE}};
	struct vring_used used;

	rig_start(0);
	unsigned chain = vdriver_add(driver, RX, bufs, ARRAY_COUNT(bufs));

	cr_assert(rig_send(100, 1));
	vdriver_kick(driver, RX);
	vdriver_run(driver);
	cr_assert(vdriver_used(driver, RX, &used));
	cr_assert(used.id == chain && used.len == 0);
	cr_assert_eq(count_of(&rig.metrics->rx_fails), 1);
}

Test(net_rx, the_longest_frame_has_room_after_any_number_of_short_ones)
{
	const struct layout layout = {.segment = 1536, .segments = 1};

	rig_start(MERGEABLE);
	for (unsigned i = 0; i < 100; i++) {
		rig_post(1536, 1);
	}
	vdriver_kick(driver, RX);
	/* Up to where the iovecs of 43 buffers would no longer follow those of these frames. */
	for (unsigned i = 0; i < 1000; i++) {
		cr_assert(rig_send(100, i));
		vdriver_run(driver);
		expect_frame("short", &layout, 100, i);
		rig_post(1536, 1);
		vdriver_kick(driver, RX);
	}
	cr_assert(rig_send(FRAME_MAX, 1));
	vdriver_run(driver);
	cr_assert_eq(expect_frame("long", &layout, FRAME_MAX, 1), 43);
}

Test(net_rx, a_buffer_may_lie_across_regions_that_touch)
{
	static uint8_t got[1000];
	static uint8_t expected[1000];
	const uint64_t border = VDRIVER_MEM_LEN / 2;
	struct vring_used used;

	rig_start(F_MRG_RXBUF);
	/* Its header, its num_buffers and its data are divided in turn. */
	for (uint64_t before = 1; before <= 14; before++) {
		unsigned chain = rig_post(2000, 1);
		const struct vring_desc desc = {
			.addr = border - before, .len = 2000, .flags = VRING_WRITE};

		vring_set_desc(&driver->queues[RX].ring, (uint16_t)chain, desc);
		cr_assert(rig_send(sizeof(got), (unsigned)before));
		vdriver_kick(driver, RX);
		vdriver_run(driver);
		cr_assert(vdriver_used(driver, RX, &used));
		cr_assert_eq(used.len, sizeof(got));
		cr_assert_eq(gmem_read(driver->mem, GPA(desc.addr), got, sizeof(got)), 0);
		rig_fill(expected, sizeof(expected), (unsigned)before);
		expected[10] = 1;
		cr_assert_arr_eq(got, expected, sizeof(got), "%u before the border",
				 (unsigned)before);
	}
}

/* As CVE-2020-16843, where heavy traffic made receiving stop for good. */
Test(net_rx, a_flood_passes_without_stall_or_loss)
{
	enum {
		FRAMES = 10000,
		BUFFERS = 200,
	};
	const struct layout layout = {.segment = 1536, .segments = 1};

	for (int i = 0; i < 2; i++) {
		unsigned sent = 0;
		unsigned taken = 0;

		rig_start(MERGEABLE | (i == 1 ? F_EVENT_IDX : 0));
		for (unsigned j = 0; j < BUFFERS; j++) {
			rig_post(1536, 1);
		}
		vdriver_kick(driver, RX);
		while (taken < FRAMES) {
			for (; sent < FRAMES && rig_send(64 + sent % 1400, sent); sent++) {
			}
			vdriver_run(driver);
			unsigned before = taken;

			for (; vring_used_idx(&driver->queues[RX].ring) !=
			       driver->queues[RX].ring.used_idx;
			     taken++) {
				expect_frame("flood", &layout, 64 + taken % 1400, taken);
				rig_post(1536, 1);
			}
			cr_assert_gt(taken, before, "stalled after %u frames", taken);
			vdriver_kick(driver, RX);
		}
		vdriver_stop(driver);
	}
	cr_assert_eq(count_of(&rig.metrics->rx_fails), 0);
	cr_assert_eq(count_of(&rig.metrics->rx_packets_count), 2 * FRAMES);
}

Test(net_rx, a_flood_without_buffers_lets_the_loop_rest)
{
	const struct layout layout = {.segment = 1536, .segments = 1};

	rig_start(F_MRG_RXBUF | F_EVENT_IDX);
	for (unsigned round = 0; round < 50; round++) {
		(void)rig_send(100, round);
		/* Aborts if it never does. */
		vdriver_run(driver);
	}
	rig_post(1536, 1);
	vdriver_kick(driver, RX);
	vdriver_run(driver);
	expect_frame("the oldest", &layout, 100, 0);
}

Test(net_rx, frames_that_came_before_the_driver_are_delivered)
{
	const struct layout layout = {.segment = 1536, .segments = 1};

	rig_make(NULL);
	cr_assert(rig_send(100, 1));
	vdriver_run(driver);
	rig_start(0);
	rig_post(1536, 1);
	vdriver_kick(driver, RX);
	vdriver_run(driver);
	expect_frame("early", &layout, 100, 1);
}

static void count_call(struct ev_source *source, uint32_t ready)
{
	eventfd_t count;

	(void)ready;
	(void)eventfd_read(source->fd, &count);
	ev_mod(&driver->loop, source, 0);
}

Test(net_rx, a_flood_lets_other_sources_have_their_turn)
{
	struct ev_source other = {.fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC), .fn = count_call};
	struct error err = {0};

	rig_start(0);
	for (unsigned i = 0; i < VDRIVER_QUEUE_SIZE; i++) {
		rig_post(200, 1);
	}
	vdriver_kick(driver, RX);
	vdriver_run(driver);
	for (unsigned i = 0; i < VDRIVER_QUEUE_SIZE; i++) {
		cr_assert(rig_send(100, i));
	}
	cr_assert_eq(ev_add(&driver->loop, &other, EPOLLIN, &err), 0);
	for (unsigned i = 0; i < 3 && other.mask != 0; i++) {
		cr_assert_eq(evloop_run_once(&driver->loop, 0, &err), 0);
		cr_assert_lt(vring_used_idx(&driver->queues[RX].ring), VDRIVER_QUEUE_SIZE);
	}
	cr_assert_eq(other.mask, 0);
	ev_del(&driver->loop, &other);
	close(other.fd);
	vdriver_run(driver);
	cr_assert_eq(vring_used_idx(&driver->queues[RX].ring), VDRIVER_QUEUE_SIZE);
}

/* As CVE-2024-3446, where a device was made to work on what it was using. */
Test(net_rx, buffers_that_are_the_rings_themselves_do_no_harm)
{
	const struct vring *ring = &driver->queues[RX].ring;

	for (unsigned i = 0; i < 3; i++) {
		rig_start(F_MRG_RXBUF | F_EVENT_IDX);
		const gpa_t targets[] = {ring->desc, ring->avail, ring->used};

		for (unsigned j = 0; j < 8; j++) {
			unsigned chain = rig_post(4096, 1);
			const struct vring_desc desc = {
				.addr = targets[i].v, .len = 4096, .flags = VRING_WRITE};

			vring_set_desc(&driver->queues[RX].ring, (uint16_t)chain, desc);
		}
		vdriver_kick(driver, RX);
		for (unsigned j = 0; j < 8; j++) {
			cr_assert(rig_send(4000, j));
		}
		vdriver_run(driver);
		vdriver_stop(driver);
		vdriver_run(driver);
	}
}

Test(net_rx, the_same_buffer_offered_without_end_fills_nothing_up)
{
	struct vring *ring = &driver->queues[RX].ring;

	rig_start(MERGEABLE);
	unsigned chain = rig_post(12, 1);

	for (unsigned i = 0; i < 20; i++) {
		for (unsigned j = 0; j < 200; j++) {
			vring_offer(ring, (uint16_t)chain);
		}
		vdriver_notify(driver, RX);
		(void)rig_send(5000, i);
		vdriver_run(driver);
	}
	vdriver_stop(driver);
}

Test(net_rx, a_broken_index_stops_the_device_until_its_reset)
{
	const struct layout layout = {.segment = 1536, .segments = 1};

	rig_start(F_MRG_RXBUF);
	rig_post(1536, 1);
	vring_set_avail_idx(&driver->queues[RX].ring, 300);
	vdriver_notify(driver, RX);
	cr_assert(rig_send(100, 1));
	vdriver_run(driver);
	cr_assert(vdriver_status(driver) & NEEDS_RESET);
	cr_assert(rig_send(100, 2));
	vdriver_run(driver);
	rig_start(F_MRG_RXBUF);
	rig_post(1536, 1);
	vdriver_kick(driver, RX);
	vdriver_run(driver);
	expect_frame("after reset", &layout, 100, 1);
}

Test(net_rx, a_tap_that_is_gone_lets_the_loop_rest)
{
	rig_start(0);
	rig_post(1536, 1);
	vdriver_kick(driver, RX);
	close(rig.host);
	rig.host = -1;
	vdriver_run(driver);
	cr_assert_gt(count_of(&rig.metrics->tap_read_fails), 0);
	vdriver_notify(driver, RX);
	vdriver_run(driver);
}

Test(net_rx, buffers_that_touch_share_an_iovec)
{
	enum {
		BUFFER = 1536,
		BUFFERS = 40,
		GAP_AT = 20, /* from here on they are a page further */
	};
	const struct gmem_range range = {GPA(0), 1 << 20};
	static struct net_rx rx;
	static struct virtq_chain chain;
	struct virtq vq = {0};
	struct gmem *mem = NULL;
	struct error err = {0};
	size_t count;

	cr_assert_eq(gmem_new(&range, 1, GMEM_ANON, &mem, &err), 0, "%s", err.msg);
	for (unsigned i = 0; i < BUFFERS; i++) {
		uint64_t gpa = (uint64_t)i * BUFFER + (i >= GAP_AT ? 4096 : 0);

		chain.head = (uint16_t)i;
		chain.count = 1;
		chain.write_len = BUFFER;
		chain.segs[0] = (struct virtq_seg){GPA(gpa), BUFFER};
		cr_assert(net_rx_add(&rx, mem, &chain));
	}
	const struct iovec *iov = net_rx_iov(&rx, &count);
	const uint8_t *first = iov[0].iov_base;

	cr_assert_eq(count, 3, "%zu, with the one for the surplus", count);
	cr_assert_eq(iov[0].iov_len, GAP_AT * BUFFER);
	/* One frame takes two buffers, others the rest up to the gap, and one beyond it. */
	net_rx_deliver(&rx, mem, &vq, BUFFER + 1);
	iov = net_rx_iov(&rx, &count);
	cr_assert_eq(iov[0].iov_base, first + 2 * BUFFER);
	cr_assert_eq(iov[0].iov_len, (GAP_AT - 2) * BUFFER);
	net_rx_deliver(&rx, mem, &vq, (GAP_AT - 2) * BUFFER + 1);
	iov = net_rx_iov(&rx, &count);
	cr_assert_eq(count, 2);
	cr_assert_eq(iov[0].iov_base, first + (GAP_AT + 1) * BUFFER + 4096);
	cr_assert_eq(iov[0].iov_len, (BUFFERS - GAP_AT - 1) * BUFFER);
	net_rx_clear(&rx);
	gmem_free(mem);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/virtio/virtq.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/virtio/virtq.h"
#include "tests/lib/vring.h"
#include "vmm/base/bytes.h"

enum {
	INDIRECT_DESC = 28,
	EVENT_IDX = 29,
	SIZE = 16,
};

#define INDIRECT (UINT64_C(1) << INDIRECT_DESC)
#define EVENTS (UINT64_C(1) << EVENT_IDX)

#define RING_AT 0x10000
#define TABLE_AT 0x20000
#define DATA_AT 0x40000
#define BORDER MIB	 /* two regions touch here */
#define GAP (2 * MIB)	 /* no RAM from here... */
#define BEHIND (4 * MIB) /* ...to here */
#define END (5 * MIB)

static const struct gmem_range ranges[] = {{{0}, MIB}, {{BORDER}, MIB}, {{BEHIND}, MIB}};

static struct gmem *mem;
static struct vring ring;
static struct virtq vq;
static struct virtq_chain chain;

static void set_up(void)
{
	struct error err = {0};

	cr_assert(gmem_new(ranges, ARRAY_COUNT(ranges), GMEM_ANON, &mem, &err) == 0, "%s", err.msg);
	vring_init(&ring, mem, GPA(RING_AT), SIZE);
}

static void tear_down(void)
{
	virtq_stop(&vq);
	gmem_free(mem);
}

TestSuite(virtq, .init = set_up, .fini = tear_down);

static void start(uint64_t features)
{
	struct virtq_config config = vring_config(&ring);
	struct error err = {0};

	cr_assert(virtq_start(&vq, &config, mem, features, &err) == 0, "%s", err.msg);
}

/* All indexes, ours included, as after `index` chains. */
static void seek(uint16_t index)
{
	vring_seek(&ring, index);
	vq.next_avail = index;
	vq.next_used = index;
	vq.published = index;
}

Test(virtq, rings_are_checked_before_they_are_used)
{
	static const struct {
		struct virtq_config config;
		const char *sentence; /* NULL: fine */
	} cases[] = {
		{{256, true, {0}, {0x1000}, {0x2000}}, NULL},
		{{1, true, {16}, {2}, {4}}, NULL},
		{{0, true, {0}, {0x1000}, {0x2000}},
		 "A queue size of 0 is not a power of two up to 256"},
		{{3, true, {0}, {0x1000}, {0x2000}}, "A queue size of 3 is"},
		{{512, true, {0}, {0x1000}, {0x2000}}, "A queue size of 512 is"},
		{{0x8000, true, {0}, {0x1000}, {0x2000}}, "A queue size of 32768 is"},
		{{16, true, {8}, {0x1000}, {0x2000}},
		 "The descriptor table at guest address 0x8 is"},
		{{16, true, {0}, {0x1001}, {0x2000}}, "The available ring at guest address 0x1001"},
		{{16, true, {0}, {0x1000}, {0x2002}}, "The used ring at guest address 0x2002 is"},
		/* The last byte is within the region, or one more is not. */
		{{16, true, {BORDER - 256}, {BORDER - 38}, {BORDER - 136}}, NULL},
		{{16, true, {BORDER - 240}, {0x1000}, {0x2000}}, "descriptor table"},
		{{16, true, {0}, {BORDER - 36}, {0x2000}}, "available ring"},
		{{16, true, {0}, {0x1000}, {BORDER - 132}}, "used ring"},
		{{16, true, {END - 256}, {END - 38}, {END - 136}}, NULL},
		{{16, true, {END - 240}, {0x1000}, {0x2000}}, "descriptor table"},
		/* Not RAM: the gap that devices are in, and the end of the address space. */
		{{16, true, {GAP}, {0x1000}, {0x2000}}, "descriptor table"},
		{{16, true, {0}, {BEHIND - 2}, {0x2000}}, "available ring"},
		{{16, true, {0}, {0x1000}, {UINT64_MAX - 3}}, "used ring"},
		{{16, true, {UINT64_MAX - 15}, {0x1000}, {0x2000}}, "descriptor table"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct virtq tried = {0};
		struct error err = {0};
		int result = virtq_start(&tried, &cases[i].config, mem, 0, &err);

		cr_expect(result == (cases[i].sentence == NULL ? 0 : -1), "case %zu: %s", i,
			  err.msg);
		if (cases[i].sentence != NULL) {
			cr_expect(err.kind == ERR_GUEST, "case %zu", i);
			cr_expect(strstr(err.msg, cases[i].sentence) != NULL, "case %zu: %s", i,
				  err.msg);
			cr_expect(tried.size == 0, "case %zu: started", i);
		}
	}
}

Test(virtq, a_stopped_queue_is_empty_and_harmless)
{
	for (int i = 0; i < 2; i++) {
		cr_expect(virtq_pop(&vq, &chain) == VIRTQ_EMPTY);
		cr_expect(virtq_pending(&vq) == 0);
		virtq_push(&vq, 1, 2);
		cr_expect(!virtq_publish(&vq));
		cr_expect(!virtq_arm_kick(&vq));
		virtq_disarm_kick(&vq);
		start(0);
		vring_offer(&ring, 0);
		virtq_stop(&vq);
		virtq_stop(&vq);
	}
}

Test(virtq, chains_are_taken_in_order_and_given_back)
{
	struct vring_used used;

	start(0);
	vring_set_desc(&ring, 5, (struct vring_desc){DATA_AT, 100, VRING_NEXT, 2});
	vring_set_desc(&ring, 2, (struct vring_desc){DATA_AT + 0x1000, 50, VRING_NEXT, 9});
	vring_set_desc(&ring, 9, (struct vring_desc){DATA_AT + 0x2000, 7, VRING_WRITE, 77});
	vring_set_desc(&ring, 3, (struct vring_desc){DATA_AT, 1, VRING_WRITE, 0});
	vring_enter(&ring, 5);
	vring_offer(&ring, 3);
	cr_assert(virtq_pending(&vq) == 2);
	cr_assert(virtq_pop(&vq, &chain) == VIRTQ_OK);
	cr_expect(chain.head == 5 && chain.count == 3 && chain.readable == 2);
	cr_expect(chain.read_len == 150 && chain.write_len == 7);
	cr_expect(chain.segs[1].gpa.v == DATA_AT + 0x1000 && chain.segs[1].len == 50);
	virtq_push(&vq, chain.head, 7);
	cr_assert(virtq_pop(&vq, &chain) == VIRTQ_OK);
	cr_expect(chain.head == 3 && chain.count == 1 && chain.readable == 0);
	virtq_push(&vq, chain.head, 1);
	cr_assert(virtq_pop(&vq, &chain) == VIRTQ_EMPTY);
	cr_expect(!vring_take_used(&ring, &used), "shown before virtq_publish");
	cr_assert(virtq_publish(&vq));
	cr_assert(vring_take_used(&ring, &used) && used.id == 5 && used.len == 7);
	cr_assert(vring_take_used(&ring, &used) && used.id == 3 && used.len == 1);
	cr_assert(!vring_take_used(&ring, &used));
	cr_assert(!virtq_publish(&vq), "nothing new");
}

Test(virtq, indexes_wrap)
{
	static const uint64_t features[] = {0, EVENTS};

	for (size_t i = 0; i < ARRAY_COUNT(features); i++) {
		vring_init(&ring, mem, GPA(RING_AT), SIZE);
		start(features[i]);
		for (unsigned round = 0; round < 70000; round++) {
			uint16_t head = (uint16_t)(round * 7 % SIZE);
			struct vring_used used;

			vring_set_desc(&ring, head, (struct vring_desc){DATA_AT, round + 1, 0, 0});
			vring_set_used_event(&ring, (uint16_t)round);
			vring_offer(&ring, head);
			cr_assert(virtq_pop(&vq, &chain) == VIRTQ_OK, "round %u", round);
			cr_assert(chain.head == head && chain.read_len == round + 1);
			cr_assert(virtq_pop(&vq, &chain) == VIRTQ_EMPTY);
			virtq_push(&vq, head, round);
			cr_assert(virtq_publish(&vq), "round %u", round);
			cr_assert(vring_take_used(&ring, &used), "round %u", round);
			cr_assert(used.id == head && used.len == round);
		}
	}
}

/* `base` chains were given back before; then `count` more are published at once. */
Test(virtq, the_event_index_says_who_wants_an_interrupt)
{
	static const struct {
		uint16_t base;
		uint16_t count;
		uint16_t event;
		bool is_wanted;
	} cases[] = {
		{0, 1, 0, true},	   {0, 1, 1, false},	      {0, 1, 0xffff, false},
		{0, 4, 0, true},	   {0, 4, 3, true},	      {0, 4, 4, false},
		{100, 4, 99, false},	   {100, 4, 100, true},	      {100, 4, 103, true},
		{100, 4, 104, false},	   {0xfffe, 1, 0xfffe, true}, {0xfffe, 1, 0xffff, false},
		{0xfffe, 4, 0xfffe, true}, {0xfffe, 4, 0xffff, true}, {0xfffe, 4, 0, true},
		{0xfffe, 4, 1, true},	   {0xfffe, 4, 2, false},     {0xfffe, 4, 0xfffd, false},
		{0xffff, 1, 0xffff, true}, {0xffff, 1, 0, false},     {0xffff, 16, 14, true},
		{0xffff, 16, 15, false},   {0x7fff, 2, 0x8000, true}, {0x7fff, 2, 0xffff, false},
	};

	start(EVENTS);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		seek(cases[i].base);
		vring_set_used_event(&ring, cases[i].event);
		for (unsigned j = 0; j < cases[i].count; j++) {
			virtq_push(&vq, (uint16_t)j, 0);
		}
		cr_expect(virtq_publish(&vq) == cases[i].is_wanted, "case %zu", i);
		cr_expect(vring_used_idx(&ring) == (uint16_t)(cases[i].base + cases[i].count));
	}
}

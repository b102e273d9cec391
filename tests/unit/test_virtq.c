/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/virtio/core/virtq.c. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/core/virtq.h"
#include "tests/fake/alloc_guard.h"
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
#define DATA_AT UINT64_C(0x40000)
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

Test(virtq, without_the_event_index_a_flag_says_it)
{
	start(0);
	virtq_push(&vq, 0, 0);
	cr_expect(virtq_publish(&vq));
	vring_set_no_interrupt(&ring, true);
	virtq_push(&vq, 0, 0);
	cr_expect(!virtq_publish(&vq));
	vring_set_no_interrupt(&ring, false);
	cr_expect(!virtq_publish(&vq), "nothing new");
	virtq_push(&vq, 0, 0);
	cr_expect(virtq_publish(&vq));
}

Test(virtq, kicks_are_asked_for_and_chains_that_came_before_are_told)
{
	static const uint64_t features[] = {0, EVENTS};

	for (size_t i = 0; i < ARRAY_COUNT(features); i++) {
		vring_init(&ring, mem, GPA(RING_AT), SIZE);
		start(features[i]);
		seek(0xffff);
		cr_expect(!virtq_arm_kick(&vq));
		cr_expect(i == 0 || vring_avail_event(&ring) == 0xffff);
		virtq_disarm_kick(&vq);
		cr_expect(vring_is_no_notify(&ring) == (i == 0));
		vring_set_desc(&ring, 1, (struct vring_desc){DATA_AT, 1, 0, 0});
		vring_offer(&ring, 1);
		cr_expect(virtq_arm_kick(&vq), "one is there already");
		cr_expect(!vring_is_no_notify(&ring));
		cr_expect(virtq_pop(&vq, &chain) == VIRTQ_OK);
		cr_expect(!virtq_arm_kick(&vq));
		cr_expect(i == 0 || vring_avail_event(&ring) == 0);
	}
}

Test(virtq, chains_that_are_held_can_be_put_back_together)
{
	struct vring_used used;

	start(EVENTS);
	seek(0xfffd);
	for (unsigned i = 0; i < 5; i++) {
		vring_set_desc(&ring, (uint16_t)i, (struct vring_desc){DATA_AT, 10 + i, 0, 0});
		vring_offer(&ring, (uint16_t)i);
	}
	for (unsigned i = 0; i < 5; i++) {
		cr_assert(virtq_held(&vq) == i);
		cr_assert(virtq_pop(&vq, &chain) == VIRTQ_OK);
	}
	virtq_push(&vq, 0, 7);
	virtq_push(&vq, 1, 8);
	cr_assert(virtq_held(&vq) == 3);
	virtq_rewind(&vq, 0);
	virtq_rewind(&vq, virtq_held(&vq));
	cr_assert(virtq_held(&vq) == 0 && virtq_pending(&vq) == 3);
	for (unsigned i = 2; i < 5; i++) {
		cr_assert(virtq_pop(&vq, &chain) == VIRTQ_OK);
		cr_assert(chain.head == i && chain.read_len == 10 + i);
		virtq_push(&vq, chain.head, i);
	}
	cr_assert(virtq_pop(&vq, &chain) == VIRTQ_EMPTY);
	(void)!virtq_publish(&vq);
	for (unsigned i = 0; i < 5; i++) {
		cr_assert(vring_take_used(&ring, &used) && used.id == i);
	}
	virtq_stop(&vq);
	virtq_rewind(&vq, 1);
	cr_assert(virtq_pop(&vq, &chain) == VIRTQ_EMPTY && virtq_held(&vq) == 0);
}

Test(virtq, putting_back_what_is_not_held_is_a_bug, .signal = SIGABRT)
{
	start(0);
	vring_offer(&ring, 0);
	vring_offer(&ring, 0);
	cr_assert(virtq_pop(&vq, &chain) != VIRTQ_EMPTY);
	cr_assert(virtq_pop(&vq, &chain) != VIRTQ_EMPTY);
	virtq_push(&vq, 0, 0);
	virtq_rewind(&vq, 2);
}

Test(virtq, a_saved_queue_goes_on_where_it_was)
{
	static const uint64_t features[] = {0, EVENTS, INDIRECT, EVENTS | INDIRECT};

	for (size_t i = 0; i < ARRAY_COUNT(features); i++) {
		struct virtq_state state = {0};
		struct vring_used used = {0};
		struct error err = {0};

		vring_init(&ring, mem, GPA(RING_AT), SIZE);
		start(features[i]);
		seek(0xffff);
		for (uint16_t head = 0; head < 3; head++) {
			vring_set_desc(&ring, head, (struct vring_desc){DATA_AT, 20, 0, 0});
			vring_offer(&ring, head);
		}
		cr_assert(virtq_pop(&vq, &chain) == VIRTQ_OK);
		virtq_push(&vq, chain.head, 1);
		(void)!virtq_publish(&vq);
		virtq_save(&vq, &state);
		struct virtq before = vq;

		virtq_stop(&vq);
		cr_assert(virtq_restore(&vq, &state, mem, &err) == 0, "%s", err.msg);
		cr_assert(memcmp(&vq, &before, sizeof(vq)) == 0, "features %zu", i);
		for (uint16_t head = 1; head < 3; head++) {
			cr_assert(virtq_pop(&vq, &chain) == VIRTQ_OK && chain.head == head);
			virtq_push(&vq, chain.head, 2);
		}
		cr_assert(virtq_pop(&vq, &chain) == VIRTQ_EMPTY);
		(void)!virtq_publish(&vq);
		for (uint16_t head = 0; head < 3; head++) {
			cr_assert(vring_take_used(&ring, &used) && used.id == head);
		}
		cr_assert(!vring_take_used(&ring, &used));
	}
}

Test(virtq, a_state_is_checked_before_a_queue_goes_on_from_it)
{
	static const struct {
		struct virtq_state state; /* size, features, rings, indexes */
		const char *sentence;	  /* NULL: fine */
		enum error_kind kind;
	} cases[] = {
		{{16, true, true, {0}, {0x1000}, {0x2000}, 7, 7}, NULL, ERR_NONE},
		{{16, false, false, {0}, {0x1000}, {0x2000}, 16, 0}, NULL, ERR_NONE},
		{{16, true, false, {0}, {0x1000}, {0x2000}, 3, 0xfff3}, NULL, ERR_NONE},
		{{16, true, true, {0}, {0x1000}, {0x2000}, 17, 0},
		 "A queue of 16 entries can't have taken 17 chains and given back 0",
		 ERR_CORRUPT},
		{{16, true, true, {0}, {0x1000}, {0x2000}, 4, 0xfff3},
		 "can't have taken 4",
		 ERR_CORRUPT},
		{{16, true, true, {0}, {0x1000}, {0x2000}, 7, 8},
		 "taken 7 chains and given back 8",
		 ERR_CORRUPT},
		{{0, true, true, {0}, {0x1000}, {0x2000}, 0, 0}, "A queue size of 0 is", ERR_GUEST},
		{{512, true, true, {0}, {0x1000}, {0x2000}, 0, 0},
		 "A queue size of 512 is",
		 ERR_GUEST},
		{{16, true, true, {8}, {0x1000}, {0x2000}, 0, 0}, "descriptor table", ERR_GUEST},
		{{16, true, true, {0}, {GAP}, {0x2000}, 0, 0}, "available ring", ERR_GUEST},
		{{16, true, true, {0}, {0x1000}, {END - 132}, 0, 0}, "used ring", ERR_GUEST},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct virtq tried = {0};
		struct error err = {0};
		int result = virtq_restore(&tried, &cases[i].state, mem, &err);

		cr_expect(result == (cases[i].sentence == NULL ? 0 : -1), "case %zu: %s", i,
			  err.msg);
		cr_expect(err.kind == cases[i].kind, "case %zu", i);
		if (cases[i].sentence != NULL) {
			cr_expect(strstr(err.msg, cases[i].sentence) != NULL, "case %zu: %s", i,
				  err.msg);
			cr_expect(tried.size == 0, "case %zu: started", i);
		} else {
			cr_expect(tried.published == cases[i].state.next_used, "case %zu", i);
		}
	}
}

enum {
	N = VRING_NEXT,
	W = VRING_WRITE,
	I = VRING_INDIRECT,
	DESCS = 4,
};

/* A chain from descriptor 0 on, and a table at TABLE_AT. */
static const struct {
	const char *name;
	struct vring_desc direct[DESCS];
	struct vring_desc indirect[DESCS];
	unsigned segments; /* 0: the chain is bad */
	unsigned readable;
} chains[] = {
	{"one", {{DATA_AT, 1, 0, 0}}, {{0}}, 1, 1},
	{"unknown flags are ignored", {{DATA_AT, 1, 0xfff8, 0}}, {{0}}, 1, 1},
	{"without NEXT, next is nothing", {{DATA_AT, 1, W, 0xffff}}, {{0}}, 1, 0},
	{"read, then write", {{DATA_AT, 1, N, 1}, {DATA_AT, 1, W, 0}}, {{0}}, 2, 1},
	{"write, then read", {{DATA_AT, 1, N | W, 1}, {DATA_AT, 1, 0, 0}}, {{0}}, 0, 0},
	{"read, write, read",
	 {{DATA_AT, 1, N, 1}, {DATA_AT, 1, N | W, 2}, {DATA_AT, 1, 0, 0}},
	 {{0}},
	 0,
	 0},
	{"nothing", {{DATA_AT, 0, 0, 0}}, {{0}}, 0, 0},
	{"nothing, in a table", {{TABLE_AT, 32, I, 0}}, {{0, 0, N, 1}, {0, 0, W, 0}}, 0, 0},
	{"nothing at the end", {{DATA_AT, 1, N, 1}, {DATA_AT, 0, W, 0}}, {{0}}, 1, 1},
	{"nothing in between, nowhere",
	 {{DATA_AT, 1, N, 1}, {GAP, 0, N | W, 2}, {DATA_AT, 1, W, 0}},
	 {{0}},
	 2,
	 1},
	{"nothing to read behind what is written",
	 {{DATA_AT, 1, N | W, 1}, {DATA_AT, 0, 0, 0}},
	 {{0}},
	 0,
	 0},
	{"a loop of nothing in a table",
	 {{TABLE_AT, 32, I, 0}},
	 {{0, 0, N, 1}, {0, 0, N, 0}},
	 0,
	 0},
	{"itself", {{DATA_AT, 1, N, 0}}, {{0}}, 0, 0},
	{"a loop behind",
	 {{DATA_AT, 1, N, 1}, {DATA_AT, 1, N, 2}, {DATA_AT, 1, N, 1}},
	 {{0}},
	 0,
	 0},
	{"next is no descriptor", {{DATA_AT, 1, N, SIZE}}, {{0}}, 0, 0},
	{"next is far away", {{DATA_AT, 1, N, 0xffff}}, {{0}}, 0, 0},
	{"all of a region", {{BORDER, MIB, 0, 0}}, {{0}}, 1, 1},
	{"over a border of regions", {{BORDER - 1, 2, W, 0}}, {{0}}, 1, 0},
	{"to the end of a region", {{GAP - 1, 1, 0, 0}}, {{0}}, 1, 1},
	{"into the gap", {{GAP - 1, 2, 0, 0}}, {{0}}, 0, 0},
	{"in the gap", {{0xd0000000, 4, W, 0}}, {{0}}, 0, 0},
	{"out of the gap", {{BEHIND - 1, 2, 0, 0}}, {{0}}, 0, 0},
	{"over the gap", {{GAP - 1, BEHIND - GAP + 2, 0, 0}}, {{0}}, 0, 0},
	{"behind all memory", {{END, 1, 0, 0}}, {{0}}, 0, 0},
	{"over the end of all addresses", {{UINT64_MAX, 2, 0, 0}}, {{0}}, 0, 0},
	{"to the end of all addresses", {{UINT64_MAX, 1, 0, 0}}, {{0}}, 0, 0},
	{"as long as can be", {{0, UINT32_MAX, 0, 0}}, {{0}}, 0, 0},
	{"the used ring", {{RING_AT + 0x100, 200, W, 0}}, {{0}}, 1, 0},
	{"its own descriptor", {{RING_AT, 16, W, 0}}, {{0}}, 1, 0},

	{"a table", {{TABLE_AT, 16, I, 0}}, {{DATA_AT, 1, 0, 0}}, 1, 1},
	{"a table that is writable", {{TABLE_AT, 16, I | W, 0}}, {{DATA_AT, 1, 0, 0}}, 1, 1},
	{"a table after descriptors",
	 {{DATA_AT, 5, N, 2}, {0}, {TABLE_AT, 32, I, 0}},
	 {{DATA_AT, 1, N, 1}, {DATA_AT, 1, W, 0}},
	 3,
	 2},
	{"a table whose end is not used",
	 {{TABLE_AT, 0x10000, I, 0}},
	 {{DATA_AT, 1, N, 3}, {0}, {0}, {DATA_AT, 1, W, 0}},
	 2,
	 1},
	{"a table walked backwards",
	 {{TABLE_AT, 64, I, 0}},
	 {{DATA_AT, 1, N, 3}, {DATA_AT, 3, W, 0}, {DATA_AT, 2, N, 1}, {DATA_AT, 1, N, 2}},
	 4,
	 3},
	{"a table with NEXT",
	 {{TABLE_AT, 16, I | N, 1}, {DATA_AT, 1, 0, 0}},
	 {{DATA_AT, 1, 0, 0}},
	 0,
	 0},
	{"a table in a table", {{TABLE_AT, 16, I, 0}}, {{TABLE_AT, 16, I, 0}}, 0, 0},
	{"a table in a table's end",
	 {{TABLE_AT, 32, I, 0}},
	 {{DATA_AT, 1, N, 1}, {TABLE_AT, 32, I, 0}},
	 0,
	 0},
	{"an empty table", {{TABLE_AT, 0, I, 0}}, {{DATA_AT, 1, 0, 0}}, 0, 0},
	{"half an entry", {{TABLE_AT, 8, I, 0}}, {{DATA_AT, 1, 0, 0}}, 0, 0},
	{"an entry and a half", {{TABLE_AT, 24, I, 0}}, {{DATA_AT, 1, 0, 0}}, 0, 0},
	{"next is behind the table", {{TABLE_AT, 16, I, 0}}, {{DATA_AT, 1, N, 1}}, 0, 0},
	{"a loop in a table",
	 {{TABLE_AT, 32, I, 0}},
	 {{DATA_AT, 1, N, 1}, {DATA_AT, 1, N, 0}},
	 0,
	 0},
	{"write before a table that reads",
	 {{DATA_AT, 1, N | W, 1}, {TABLE_AT, 16, I, 0}},
	 {{DATA_AT, 1, 0, 0}},
	 0,
	 0},
	{"nothing in a table", {{TABLE_AT, 16, I, 0}}, {{DATA_AT, 0, 0, 0}}, 0, 0},
	{"a table in the gap", {{GAP, 16, I, 0}}, {{0}}, 0, 0},
	{"a table into the gap", {{GAP - 16, 32, I, 0}}, {{0}}, 0, 0},
	{"a table over the end of all addresses", {{UINT64_MAX - 15, 32, I, 0}}, {{0}}, 0, 0},
	{"a table as long as can be", {{TABLE_AT, 0xfffffff0, I, 0}}, {{DATA_AT, 1, 0, 0}}, 0, 0},
	{"a table's segment in the gap", {{TABLE_AT, 16, I, 0}}, {{GAP, 1, 0, 0}}, 0, 0},
};

/* A bad chain must not leave anything of itself behind. */
static void expect_empty(const char *name)
{
	cr_expect(chain.count == 0 && chain.readable == 0 && chain.read_len == 0 &&
			  chain.write_len == 0,
		  "%s: has something", name);
}

Test(virtq, chains_are_good_or_bad)
{
	start(INDIRECT);
	for (size_t i = 0; i < ARRAY_COUNT(chains); i++) {
		const char *name = chains[i].name;

		for (uint16_t j = 0; j < DESCS; j++) {
			vring_set_desc(&ring, j, chains[i].direct[j]);
			vring_set_indirect(&ring, GPA(TABLE_AT), j, chains[i].indirect[j]);
		}
		vring_offer(&ring, 0);
		enum virtq_result result = virtq_pop(&vq, &chain);

		cr_expect(result == (chains[i].segments > 0 ? VIRTQ_OK : VIRTQ_BAD), "%s: %d", name,
			  (int)result);
		cr_expect(chain.head == 0, "%s", name);
		cr_expect(chain.count == chains[i].segments, "%s: %u", name, chain.count);
		cr_expect(chain.readable == chains[i].readable, "%s: %u", name, chain.readable);
		if (chains[i].segments == 0) {
			expect_empty(name);
		}
		cr_expect(virtq_pop(&vq, &chain) == VIRTQ_EMPTY, "%s", name);
	}
}

Test(virtq, a_table_is_bad_if_it_was_not_negotiated)
{
	start(EVENTS);
	vring_set_desc(&ring, 0, (struct vring_desc){TABLE_AT, 16, I, 0});
	vring_set_indirect(&ring, GPA(TABLE_AT), 0, (struct vring_desc){DATA_AT, 1, 0, 0});
	vring_offer(&ring, 0);
	cr_assert(virtq_pop(&vq, &chain) == VIRTQ_BAD);
}

/* Of `count` segments in a table after one descriptor, with every way to place the table. */
Test(virtq, chains_are_as_long_as_can_be_and_no_longer)
{
	static const struct {
		uint16_t before; /* descriptors before the table */
		uint16_t count;
		bool is_good;
	} cases[] = {
		{0, VIRTQ_CHAIN_MAX, true},	  {0, VIRTQ_CHAIN_MAX + 1, false},
		{1, VIRTQ_CHAIN_MAX - 1, true},	  {1, VIRTQ_CHAIN_MAX, false},
		{15, VIRTQ_CHAIN_MAX - 15, true}, {15, VIRTQ_CHAIN_MAX - 14, false},
	};
	static const uint64_t tables[] = {TABLE_AT, TABLE_AT + 1, BORDER - 24, BORDER - 16,
					  BORDER - 1};

	start(INDIRECT);
	for (size_t i = 0; i < ARRAY_COUNT(cases) * ARRAY_COUNT(tables); i++) {
		uint64_t table = tables[i % ARRAY_COUNT(tables)];
		uint16_t before = cases[i / ARRAY_COUNT(tables)].before;
		uint16_t count = cases[i / ARRAY_COUNT(tables)].count;

		for (uint16_t j = 0; j < before; j++) {
			vring_set_desc(&ring, j,
				       (struct vring_desc){DATA_AT + j, 1, N, (uint16_t)(j + 1)});
		}
		vring_set_desc(&ring, before, (struct vring_desc){table, count * 16u, I, 0});
		for (uint16_t j = 0; j < count; j++) {
			struct vring_desc desc = {DATA_AT + before + j, 1, N, (uint16_t)(j + 1)};

			desc.flags = j + 1 < count ? N : 0;
			vring_set_indirect(&ring, GPA(table), j, desc);
		}
		vring_offer(&ring, 0);
		bool is_good = cases[i / ARRAY_COUNT(tables)].is_good;

		cr_expect(virtq_pop(&vq, &chain) == (is_good ? VIRTQ_OK : VIRTQ_BAD), "case %zu",
			  i);
		for (uint16_t j = 0; j < chain.count; j++) {
			cr_assert(chain.segs[j].gpa.v == DATA_AT + j, "case %zu, segment %u", i, j);
		}
		cr_expect(chain.count == (is_good ? before + count : 0));
	}
}

/* A whole ring in one chain: as many steps as descriptors are no loop. */
Test(virtq, a_chain_may_take_all_descriptors)
{
	start(0);
	for (uint16_t i = 0; i < SIZE; i++) {
		uint16_t flags = i + 1 < SIZE ? N : 0;

		vring_set_desc(&ring, i, (struct vring_desc){DATA_AT, 1, flags, (uint16_t)(i + 1)});
	}
	vring_offer(&ring, 0);
	cr_assert(virtq_pop(&vq, &chain) == VIRTQ_OK && chain.count == SIZE);
}

/* Both sides: 2^32 - 1 bytes fit, one more does not. */
Test(virtq, lengths_do_not_overflow)
{
	for (int is_more = 0; is_more < 2; is_more++) {
		for (uint16_t side = 0; side <= W; side += W) {
			struct gmem_range big = {GPA(0), 2 * GIB};
			struct gmem *large = NULL;
			struct error err = {0};
			struct virtq_config config;

			cr_assert(gmem_new(&big, 1, GMEM_ANON, &large, &err) == 0);
			vring_init(&ring, large, GPA(0), 4);
			config = vring_config(&ring);
			cr_assert(virtq_start(&vq, &config, large, 0, &err) == 0);
			vring_set_desc(&ring, 0, (struct vring_desc){0, 0x7fffffff, N | side, 1});
			vring_set_desc(&ring, 1, (struct vring_desc){0, 0x7fffffff, N | side, 2});
			vring_set_desc(&ring, 2, (struct vring_desc){0, is_more ? 2 : 1, side, 0});
			vring_offer(&ring, 0);
			cr_expect(virtq_pop(&vq, &chain) == (is_more ? VIRTQ_BAD : VIRTQ_OK));
			cr_expect(is_more || chain.read_len + chain.write_len == UINT32_MAX);
			virtq_stop(&vq);
			gmem_free(large);
		}
	}
}

Test(virtq, impossible_indexes_break_the_queue_and_nothing_is_taken)
{
	static const struct {
		uint16_t taken;
		uint16_t index;
		uint16_t head;
		enum virtq_result result;
	} cases[] = {
		{0, 0, 0, VIRTQ_EMPTY},
		{0, SIZE, 0, VIRTQ_OK},
		{0, SIZE + 1, 0, VIRTQ_BROKEN},
		{0, 0xffff, 0, VIRTQ_BROKEN}, /* went back by one */
		{0xfff8, 8, 0, VIRTQ_OK},
		{0xfff8, 9, 0, VIRTQ_BROKEN},
		{0xffff, 0xfffe, 0, VIRTQ_BROKEN},
		{0, 1, SIZE - 1, VIRTQ_OK},
		{0, 1, SIZE, VIRTQ_BROKEN},
		{0, 1, 0xffff, VIRTQ_BROKEN},
	};

	start(0);
	for (uint16_t i = 0; i < SIZE; i++) {
		vring_set_desc(&ring, i, (struct vring_desc){DATA_AT, 1, 0, 0});
	}
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		seek(cases[i].taken);
		vring_enter(&ring, cases[i].head);
		vring_set_avail_idx(&ring, cases[i].index);
		for (int round = 0; round < 2; round++) {
			uint16_t pending = virtq_pending(&vq);
			enum virtq_result result = virtq_pop(&vq, &chain);

			cr_expect(result == cases[i].result, "case %zu: %d", i, (int)result);
			cr_expect(pending <= SIZE, "case %zu: %u", i, pending);
			cr_expect(vq.next_avail ==
				  (uint16_t)(cases[i].taken + (result == VIRTQ_OK)));
			if (result == VIRTQ_OK) {
				break;
			}
		}
	}
}

/* Three readable segments and two writable ones, the second of each over the border. */
static void take_five(void)
{
	static const struct virtq_seg segs[] = {
		{{DATA_AT}, 10},	 {{BORDER - 5}, 10},	{{DATA_AT + 10}, 1},
		{{DATA_AT + 0x1000}, 3}, {{BORDER - 100}, 200},
	};

	start(0);
	for (uint16_t i = 0; i < ARRAY_COUNT(segs); i++) {
		uint16_t flags = (uint16_t)((i >= 3 ? W : 0) | (i < 4 ? N : 0));

		vring_set_desc(
			&ring, i,
			(struct vring_desc){segs[i].gpa.v, segs[i].len, flags, (uint16_t)(i + 1)});
	}
	vring_offer(&ring, 0);
	cr_assert(virtq_pop(&vq, &chain) == VIRTQ_OK);
	cr_assert(chain.read_len == 21 && chain.write_len == 203);
}

static const struct {
	uint32_t offset;
	size_t len;
	bool is_readable;
	bool is_writable;
} spans[] = {
	{0, 0, true, true},
	{0, 21, true, true},
	{21, 0, true, true},
	{20, 1, true, true},
	{9, 2, true, true},
	{10, 10, true, true},
	{15, 6, true, true},
	{0, 22, false, true},
	{21, 1, false, true},
	{0, 203, false, true},
	{203, 0, false, true},
	{204, 0, false, false},
	{0, 204, false, false},
	{203, 1, false, false},
	{UINT32_MAX, 1, false, false},
	{1, UINT32_MAX, false, false},
	{UINT32_MAX, UINT32_MAX, false, false},
	{0, (size_t)1 << 32, false, false},
	{0, ((size_t)1 << 32) + 1, false, false},
};

Test(virtq, bytes_are_copied_from_and_to_a_chain)
{
	uint8_t pattern[256];
	uint8_t before[256];
	uint8_t copy[256];

	take_five();
	for (size_t i = 0; i < sizeof(pattern); i++) {
		pattern[i] = (uint8_t)(i + 1);
	}
	cr_assert(gmem_write(mem, GPA(DATA_AT), pattern, 10) == 0);
	cr_assert(gmem_write(mem, GPA(BORDER - 5), pattern + 10, 10) == 0);
	cr_assert(gmem_write(mem, GPA(DATA_AT + 10), pattern + 20, 1) == 0);
	for (size_t i = 0; i < ARRAY_COUNT(spans); i++) {
		uint32_t offset = spans[i].offset;
		size_t len = spans[i].len;

		memset(copy, 0, sizeof(copy));
		cr_expect(virtq_chain_read(mem, &chain, offset, copy, len) ==
				  (spans[i].is_readable ? 0 : -1),
			  "span %zu", i);
		if (spans[i].is_readable) {
			cr_expect(memcmp(copy, pattern + offset, len) == 0, "span %zu", i);
		} else {
			cr_expect(copy[0] == 0, "span %zu: copied in part", i);
		}
		cr_assert(gmem_read(mem, GPA(BORDER - 100), before, 200) == 0);
		cr_expect(virtq_chain_write(mem, &chain, offset, pattern, len) ==
				  (spans[i].is_writable ? 0 : -1),
			  "span %zu", i);
		cr_assert(gmem_read(mem, GPA(DATA_AT + 0x1000), copy, 3) == 0);
		cr_assert(gmem_read(mem, GPA(BORDER - 100), copy + 3, 200) == 0);
		if (spans[i].is_writable) {
			cr_expect(memcmp(copy + offset, pattern, len) == 0, "span %zu", i);
		} else {
			cr_expect(memcmp(copy + 3, before, 200) == 0, "span %zu", i);
		}
		/* The readable side was written through its neighbour at the border. */
		cr_assert(gmem_write(mem, GPA(BORDER - 5), pattern + 10, 10) == 0);
	}
}

/* How many iovecs a span takes, and that their bytes are those of the chain. */
Test(virtq, a_chain_becomes_iovecs)
{
	static const struct {
		enum virtq_side side;
		uint32_t offset;
		uint32_t len;
		size_t cap;
		int count; /* -1: refused */
	} cases[] = {
		{VIRTQ_READABLE, 0, 21, 8, 4},	  {VIRTQ_READABLE, 0, 21, 3, -1},
		{VIRTQ_READABLE, 0, 10, 8, 1},	  {VIRTQ_READABLE, 0, 11, 8, 2},
		{VIRTQ_READABLE, 10, 10, 2, 2},	  {VIRTQ_READABLE, 15, 6, 8, 2},
		{VIRTQ_READABLE, 0, 0, 0, 0},	  {VIRTQ_READABLE, 21, 0, 0, 0},
		{VIRTQ_READABLE, 0, 22, 8, -1},	  {VIRTQ_READABLE, 22, 0, 8, -1},
		{VIRTQ_WRITABLE, 0, 203, 8, 3},	  {VIRTQ_WRITABLE, 0, 103, 2, 2},
		{VIRTQ_WRITABLE, 103, 100, 1, 1}, {VIRTQ_WRITABLE, 3, 200, 1, -1},
		{VIRTQ_WRITABLE, 1, 203, 8, -1},  {VIRTQ_WRITABLE, UINT32_MAX, UINT32_MAX, 8, -1},
	};

	take_five();
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct iovec list[9] = {{.iov_base = list, .iov_len = 77}};
		struct virtq_iov iov = {.iov = list, .cap = cases[i].cap + 1, .count = 1};
		struct virtq_span span = {cases[i].side, cases[i].offset, cases[i].len};
		int result = virtq_chain_iov(mem, &chain, span, &iov);
		size_t total = 0;

		cr_expect(result == (cases[i].count < 0 ? -1 : 0), "case %zu", i);
		cr_expect(iov.count == (cases[i].count < 0 ? 1 : (size_t)cases[i].count + 1),
			  "case %zu: %zu", i, iov.count);
		cr_expect(list[0].iov_base == list && list[0].iov_len == 77, "case %zu", i);
		for (size_t j = 1; j < iov.count; j++) {
			total += list[j].iov_len;
		}
		cr_expect(result < 0 || total == cases[i].len, "case %zu", i);
	}
}

Test(virtq, neighbours_in_memory_are_one_iovec)
{
	struct iovec list[2];
	struct virtq_iov iov = {.iov = list, .cap = 2};

	start(0);
	vring_set_desc(&ring, 0, (struct vring_desc){DATA_AT, 16, N, 1});
	vring_set_desc(&ring, 1, (struct vring_desc){DATA_AT + 16, 512, N, 2});
	vring_set_desc(&ring, 2, (struct vring_desc){DATA_AT + 528, 1, N, 3});
	vring_set_desc(&ring, 3, (struct vring_desc){DATA_AT, 1, 0, 0});
	vring_offer(&ring, 0);
	cr_assert(virtq_pop(&vq, &chain) == VIRTQ_OK);
	struct virtq_span all = {VIRTQ_READABLE, 0, 530};

	cr_assert(virtq_chain_iov(mem, &chain, all, &iov) == 0);
	cr_assert(iov.count == 2 && list[0].iov_len == 529 && list[1].iov_len == 1);
}

Test(virtq, nothing_is_allocated_on_the_way)
{
	struct iovec list[4];
	struct virtq_iov iov = {.iov = list, .cap = 4};
	struct virtq_span span = {VIRTQ_READABLE, 0, 8};
	uint8_t data[8];

	start(INDIRECT | EVENTS);
	vring_set_desc(&ring, 0, (struct vring_desc){TABLE_AT, 32, I, 0});
	vring_set_indirect(&ring, GPA(TABLE_AT), 0, (struct vring_desc){DATA_AT, 8, N, 1});
	vring_set_indirect(&ring, GPA(TABLE_AT), 1, (struct vring_desc){DATA_AT, 8, W, 0});
	vring_offer(&ring, 0);
	alloc_guard_begin();
	cr_assert(virtq_pop(&vq, &chain) == VIRTQ_OK);
	cr_assert(virtq_chain_read(mem, &chain, 0, data, 8) == 0);
	cr_assert(virtq_chain_write(mem, &chain, 0, data, 8) == 0);
	cr_assert(virtq_chain_iov(mem, &chain, span, &iov) == 0);
	virtq_push(&vq, chain.head, 8);
	cr_assert(virtq_publish(&vq) && !virtq_arm_kick(&vq));
	cr_assert(alloc_guard_end() == 0);
}

/* --- another vCPU changes everything while chains are taken --- */

static _Atomic bool is_over;

static void *scribble(void *arg)
{
	unsigned seed = 1;

	(void)arg;
	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		uint16_t index = (uint16_t)(rand_r(&seed) % SIZE);
		struct vring_desc desc = {
			.addr = rand_r(&seed) % 4 ? DATA_AT : GAP - 8,
			.len = (uint32_t)rand_r(&seed) % 32,
			.flags = (uint16_t)rand_r(&seed) % 8,
			.next = (uint16_t)(rand_r(&seed) % (SIZE + 1)),
		};

		if ((desc.flags & I) != 0) {
			desc.addr = TABLE_AT;
			desc.len = 16 * SIZE;
		}
		vring_set_desc(&ring, index, desc);
		desc.flags &= rand_r(&seed) % 8 ? N | W : 7;
		desc.addr = rand_r(&seed) % 8 ? DATA_AT : UINT64_MAX;
		vring_set_indirect(&ring, GPA(TABLE_AT), index, desc);
		vring_offer(&ring, (uint16_t)(rand_r(&seed) % SIZE));
		vring_set_avail_idx(&ring, (uint16_t)rand_r(&seed) % 32);
		vring_set_used_event(&ring, (uint16_t)rand_r(&seed));
	}
	return NULL;
}

static void check_chain(void)
{
	uint64_t sums[2] = {0};

	cr_assert(chain.head < SIZE && chain.count > 0 && chain.count <= VIRTQ_CHAIN_MAX);
	cr_assert(chain.readable <= chain.count);
	for (unsigned i = 0; i < chain.count; i++) {
		cr_assert(chain.segs[i].len > 0);
		cr_assert(gmem_contains(mem, chain.segs[i].gpa, chain.segs[i].len));
		sums[i >= chain.readable] += chain.segs[i].len;
	}
	cr_assert(sums[0] == chain.read_len && sums[1] == chain.write_len);
}

/* What was copied is what was checked, whatever the guest does in between. */
Test(virtq, chains_are_sound_while_another_vcpu_scribbles, .timeout = 60)
{
	unsigned results[4] = {0};
	pthread_t thread;

	start(INDIRECT | EVENTS);
	cr_assert(pthread_create(&thread, NULL, scribble, NULL) == 0);
	/* Until there was enough of all; who runs when is the scheduler's. */
	while (results[VIRTQ_OK] < 20000 || results[VIRTQ_BAD] < 1000 ||
	       results[VIRTQ_BROKEN] < 10) {
		uint8_t data[64];
		enum virtq_result result = virtq_pop(&vq, &chain);

		results[result]++;
		if (result == VIRTQ_OK) {
			check_chain();
			(void)!virtq_chain_read(mem, &chain, 0, data, min_u64(64, chain.read_len));
		}
		if (result == VIRTQ_OK || result == VIRTQ_BAD) {
			virtq_push(&vq, chain.head, 0);
		} else {
			uint16_t index = 0;

			/* On with what the guest shows, so that there is always work. */
			cr_assert(gmem_read(mem, GPA(ring.avail.v + 2), &index, 2) == 0);
			vq.next_avail = (uint16_t)(index - 4);
		}
		(void)!virtq_publish(&vq);
		(void)!virtq_arm_kick(&vq);
	}
	atomic_store(&is_over, true);
	pthread_join(thread, NULL);
}

/* --- a driver that keeps to the rules, on a thread of its own: no notification is lost --- */

enum {
	ROUNDS = 200000
};

static _Atomic unsigned kicks;	    /* of the driver */
static _Atomic unsigned interrupts; /* of the device */

static void wait_for(_Atomic unsigned *count)
{
	while (atomic_load(count) == 0) {
		sched_yield();
	}
	(void)atomic_exchange(count, 0);
}

/* Offers one after another, up to four ahead, and sleeps until it is told. */
static void *drive(void *arg)
{
	unsigned offered = 0;
	unsigned done = 0;

	(void)arg;
	while (done < ROUNDS) {
		struct vring_used used;

		while (offered < ROUNDS && offered - done < 4) {
			uint16_t before = ring.avail_idx;

			vring_offer(&ring, (uint16_t)(offered++ % SIZE));
			uint16_t event = vring_avail_event(&ring);

			if ((uint16_t)(ring.avail_idx - event - 1) <
			    (uint16_t)(ring.avail_idx - before)) {
				atomic_store(&kicks, 1);
			}
		}
		vring_set_used_event(&ring, ring.used_idx);
		if (!vring_take_used(&ring, &used)) {
			wait_for(&interrupts);
			continue;
		}
		done++;
	}
	return NULL;
}

Test(virtq, no_notification_is_lost_between_two_threads, .timeout = 120)
{
	unsigned done = 0;
	pthread_t thread;

	start(EVENTS);
	seek(0xff00);
	for (uint16_t i = 0; i < SIZE; i++) {
		vring_set_desc(&ring, i, (struct vring_desc){DATA_AT, 1, 0, 0});
	}
	cr_assert(!virtq_arm_kick(&vq));
	cr_assert(pthread_create(&thread, NULL, drive, NULL) == 0);
	while (done < ROUNDS) {
		wait_for(&kicks);
		do {
			while (virtq_pop(&vq, &chain) == VIRTQ_OK) {
				virtq_push(&vq, chain.head, 0);
				done++;
			}
			if (virtq_publish(&vq)) {
				atomic_store(&interrupts, 1);
			}
		} while (virtq_arm_kick(&vq));
	}
	pthread_join(thread, NULL);
	cr_assert(done == ROUNDS);
}

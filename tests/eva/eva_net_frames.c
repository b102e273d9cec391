/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of any bytes, taken and sent in any pieces. The longest frame has 15 bytes in place of
 * 65,550, so that each state that the members' rule allows can be tried: EVA, which relates no two
 * numbers, sees each offset with its length. What each call leaves keeps to the rule again.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-split-return full
 */
#include "tests/eva/eva.h"

/* In place of net_rx.h, which has these two. */
#define DEVICES_VIRTIO_NET_RX_H

enum {
	NET_HEADER_LEN = 12,
	NET_FRAME_MAX = NET_HEADER_LEN + 15,
};

#include "devices/virtio/net/net_frames.c"

static struct net_frames frames;

/* Any bytes in a state; a first frame that was found, if one has room. */
static void make(uint32_t begin, uint32_t end, bool is_found)
{
	fill(frames.bytes, sizeof(frames.bytes));
	frames.begin = begin;
	frames.end = end;
	frames.first_len = 0;
	if (is_found && end - begin >= NET_FRAMES_PREFIX) {
		frames.first_len = (uint32_t)any_between(
			NET_FRAMES_PREFIX,
			min_u64(end - begin, NET_FRAMES_PREFIX + NET_FRAMES_MAX));
	}
}

static void check(void)
{
	/*@ assert NET_FRAMES_HEAD <= frames.begin <= sizeof(frames.bytes); */
	/*@ assert frames.end <= sizeof(frames.bytes); */
}

static void come(uint32_t begin, uint32_t end)
{
	const uint8_t *frame;
	uint8_t *room;
	uint32_t len;

	make(begin, end, any_bool());
	switch (net_frames_first(&frames, &frame, &len)) {
	case NET_FRAMES_WHOLE:
		/*@ assert \valid_read(frame + (0 .. len - 1)); */
		keep(frame[0] + len);
		net_frames_drop(&frames);
		check();
		break;
	case NET_FRAMES_RUNT:
		net_frames_drop(&frames);
		check();
		break;
	case NET_FRAMES_PART:
	case NET_FRAMES_BROKEN:
		break;
	}
	make(begin, end, any_bool());
	size_t more = net_frames_room(&frames, &room);

	/*@ assert more == 0 || \valid(room + (0 .. more - 1)); */
	net_frames_added(&frames, any_between(0, more));
	check();
}

static void go(uint32_t begin, uint32_t end)
{
	const uint8_t *bytes;
	uint8_t *to;

	/*@ loop unroll NET_FRAMES_MAX - NET_FRAMES_MIN + 1; */
	for (uint32_t len = NET_FRAMES_MIN; len <= NET_FRAMES_MAX; len++) {
		make(begin, end, false);
		to = net_frames_add(&frames, len);
		if (to != NULL) {
			fill(to, len);
		}
		check();
	}
	make(begin, end, false);
	size_t unsent = net_frames_unsent(&frames, &bytes);

	/*@ assert unsent == 0 || \valid_read(bytes + (0 .. unsent - 1)); */
	net_frames_sent(&frames, any_between(0, unsent));
	check();
}

void main(void)
{
	enum {
		BYTES = sizeof(frames.bytes)
	};

	net_frames_clear(&frames);
	/*@ loop unroll BYTES; */
	for (uint32_t begin = NET_FRAMES_HEAD; begin <= BYTES; begin++) {
		/*@ loop unroll BYTES; */
		for (uint32_t end = begin; end <= BYTES; end++) {
			come(begin, end);
			go(begin, end);
		}
	}
}

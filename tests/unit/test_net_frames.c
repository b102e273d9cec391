/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/virtio/net/net_frames.c: frames in a byte stream. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/virtio/net/net_frames.h"
#include "vmm/base/bytes.h"

static struct net_frames frames;

static void set_up(void)
{
	memset(&frames, 0xee, sizeof(frames));
	net_frames_clear(&frames);
}

TestSuite(net_frames, .init = set_up);

/* Brings bytes as one read would; they have room. */
static void bring(const void *bytes, size_t len)
{
	uint8_t *room;

	cr_assert_leq(len, net_frames_room(&frames, &room));
	memcpy(room, bytes, len);
	net_frames_added(&frames, len);
}

static void bring_length(uint32_t len)
{
	const uint8_t bytes[] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
				 (uint8_t)len};

	bring(bytes, sizeof(bytes));
}

static enum net_frames_result look(void)
{
	const uint8_t *frame;
	uint32_t len;

	return net_frames_first(&frames, &frame, &len);
}

static void expect_frame(const uint8_t *body, uint32_t len)
{
	static const uint8_t header[NET_HEADER_LEN];
	const uint8_t *frame = NULL;
	uint32_t found = 0;

	/* Twice, as a frame may be looked at while buffers are collected. */
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(net_frames_first(&frames, &frame, &found), NET_FRAMES_WHOLE);
		cr_assert_eq(found, NET_HEADER_LEN + len);
		cr_assert_arr_eq(frame, header, sizeof(header));
		cr_assert_arr_eq(frame + NET_HEADER_LEN, body, len);
	}
	net_frames_drop(&frames);
}

Test(net_frames, a_frame_is_whole_with_its_last_byte)
{
	static uint8_t body[100];

	for (size_t i = 0; i < sizeof(body); i++) {
		body[i] = (uint8_t)(i + 1);
	}
	cr_expect_eq(look(), NET_FRAMES_PART);
	bring("\0\0", 2);
	cr_expect_eq(look(), NET_FRAMES_PART);
	bring("\0\x64", 2);
	for (size_t i = 0; i < sizeof(body); i++) {
		cr_assert_eq(look(), NET_FRAMES_PART, "%zu", i);
		bring(body + i, 1);
	}
	expect_frame(body, sizeof(body));
	cr_expect_eq(look(), NET_FRAMES_PART);
}

Test(net_frames, many_come_at_once_and_some_are_too_short)
{
	static const uint8_t body[14] = "abcdefghijklm";

	bring_length(sizeof(body));
	bring(body, sizeof(body));
	bring_length(0);
	bring_length(13);
	bring(body, 13);
	bring_length(sizeof(body));
	bring(body, sizeof(body));
	expect_frame(body, sizeof(body));
	cr_assert_eq(look(), NET_FRAMES_RUNT);
	net_frames_drop(&frames);
	cr_assert_eq(look(), NET_FRAMES_RUNT);
	net_frames_drop(&frames);
	expect_frame(body, sizeof(body));
	cr_expect_eq(look(), NET_FRAMES_PART);
}

Test(net_frames, a_length_that_no_frame_has_breaks_the_stream)
{
	static const uint32_t lengths[] = {NET_FRAMES_MAX + 1, 1u << 31, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
		set_up();
		bring_length(lengths[i]);
		cr_expect_eq(look(), NET_FRAMES_BROKEN, "%u", lengths[i]);
	}
	set_up();
	bring_length(NET_FRAMES_MAX);
	cr_expect_eq(look(), NET_FRAMES_PART);
}

/* Of all sizes, so that the begin of one comes to be at each distance from the buffer's end. */
Test(net_frames, there_is_always_room_for_the_rest_of_a_frame)
{
	static uint8_t body[NET_FRAMES_MAX];
	uint32_t len = NET_FRAMES_MIN;

	for (unsigned round = 0; round < 3000; round++) {
		uint32_t seed = round * 2654435761u;

		len = round % 7 == 0 ? NET_FRAMES_MAX - round % 5 : NET_FRAMES_MIN + seed % 3000;
		memset(body, (int)(round + 1), len);
		bring_length(len);
		for (uint32_t at = 0; at < len;) {
			uint8_t *room;
			uint32_t part = (uint32_t)min_u64(len - at, 1 + seed % 40000);

			cr_assert_eq(look(), NET_FRAMES_PART);
			part = (uint32_t)min_u64(part, net_frames_room(&frames, &room));
			cr_assert_gt(part, 0);
			bring(body + at, part);
			at += part;
		}
		expect_frame(body, len);
	}
}

Test(net_frames, what_is_added_is_sent_behind_its_length)
{
	static const uint8_t expected[] = "\0\0\0\x0e"
					  "abcdefghijklmn"
					  "\0\0\0\x10"
					  "abcdefghijklmnop";
	const uint8_t *bytes;
	size_t at = 0;

	memcpy(net_frames_add(&frames, 14), expected + 4, 14);
	memcpy(net_frames_add(&frames, 16), expected + 22, 16);
	/* In parts that end anywhere. */
	for (size_t part = 1; at < sizeof(expected) - 1; part = part % 5 + 1) {
		size_t len = net_frames_unsent(&frames, &bytes);

		cr_assert_eq(len, sizeof(expected) - 1 - at);
		part = min_u64(part, len);
		cr_assert_arr_eq(bytes, expected + at, part);
		net_frames_sent(&frames, part);
		at += part;
	}
	cr_expect_eq(net_frames_unsent(&frames, &bytes), 0);
}

Test(net_frames, there_is_room_for_two_of_the_longest_and_again_once_some_are_sent)
{
	const uint8_t *bytes;

	cr_assert_not_null(net_frames_add(&frames, NET_FRAMES_MAX));
	cr_assert_not_null(net_frames_add(&frames, NET_FRAMES_MAX));
	cr_assert_null(net_frames_add(&frames, NET_FRAMES_MIN));
	net_frames_sent(&frames, NET_FRAMES_PREFIX + NET_FRAMES_MIN - 1);
	cr_assert_null(net_frames_add(&frames, NET_FRAMES_MIN));
	net_frames_sent(&frames, 1);
	cr_assert_not_null(net_frames_add(&frames, NET_FRAMES_MIN));
	cr_expect_eq(net_frames_unsent(&frames, &bytes), NET_FRAMES_CAP);
}

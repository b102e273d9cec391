/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the frames of a byte stream, both directions of one at a time. The input is a program:
 * what a back-end sends, cut anywhere; frames that the guest sends, and how much of them the socket
 * takes. A plain copy of the stream says what must come out, byte for byte.
 */
#include "devices/virtio/net/net_frames.h"
#include "tests/fuzz/fuzz.h"

enum action {
	BRING, /* a piece of the input, as one read finds it */
	BRING_LENGTH,
	BRING_FRAME, /* its length, and as much of a pattern as has room */
	LOOK,
	ADD,
	SEND,
	CLEAR,
	ACTIONS
};

enum {
	COPY_LEN = 1 << 22,
};

static struct net_frames frames;
static uint8_t copy[COPY_LEN]; /* of the stream; what lies before `at` has come out */
static size_t at, end;
static bool is_out; /* what is in it is to be sent */

static void clear(bool for_out)
{
	net_frames_clear(&frames);
	at = 0;
	end = 0;
	is_out = for_out;
}

static void bring(const uint8_t *data, size_t len)
{
	uint8_t *room;
	size_t has = net_frames_room(&frames, &room);

	len = min_u64(min_u64(len, has), COPY_LEN - end);
	memcpy(room, data, len);
	memcpy(copy + end, data, len);
	net_frames_added(&frames, len);
	end += len;
}

static void bring_length(uint32_t len)
{
	const uint8_t bytes[] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
				 (uint8_t)len};

	bring(bytes, sizeof(bytes));
}

static void bring_frame(uint32_t len, uint8_t seed)
{
	static uint8_t body[NET_FRAMES_MAX];

	len %= NET_FRAMES_MAX + 1;
	memset(body, seed, len);
	bring_length(len);
	bring(body, len);
}

static enum net_frames_result expected(uint32_t *len)
{
	if (end - at < NET_FRAMES_PREFIX) {
		return NET_FRAMES_PART;
	}
	*len = (uint32_t)copy[at] << 24 | (uint32_t)copy[at + 1] << 16 |
	       (uint32_t)copy[at + 2] << 8 | copy[at + 3];
	if (*len > NET_FRAMES_MAX) {
		return NET_FRAMES_BROKEN;
	}
	if (end - at - NET_FRAMES_PREFIX < *len) {
		return NET_FRAMES_PART;
	}
	return *len < NET_FRAMES_MIN ? NET_FRAMES_RUNT : NET_FRAMES_WHOLE;
}

static void look(bool is_to_drop)
{
	static const uint8_t header[NET_HEADER_LEN];
	const uint8_t *frame = NULL;
	uint32_t found = 0;
	uint32_t len = 0;
	enum net_frames_result result = net_frames_first(&frames, &frame, &found);

	require(result == expected(&len));
	if (result == NET_FRAMES_WHOLE) {
		require(found == NET_HEADER_LEN + len &&
			memcmp(frame, header, sizeof(header)) == 0);
		require(memcmp(frame + NET_HEADER_LEN, copy + at + NET_FRAMES_PREFIX, len) == 0);
	}
	if (result == NET_FRAMES_PART) {
		uint8_t *room;

		require(net_frames_room(&frames, &room) > 0);
	}
	if (result == NET_FRAMES_BROKEN) {
		clear(false);
	} else if (result != NET_FRAMES_PART && is_to_drop) {
		net_frames_drop(&frames);
		at += NET_FRAMES_PREFIX + len;
	}
}

static void add(uint32_t len, uint8_t seed)
{
	len = NET_FRAMES_MIN + len % (NET_FRAMES_MAX - NET_FRAMES_MIN + 1);
	if (COPY_LEN - end < NET_FRAMES_PREFIX + len) {
		return;
	}
	uint8_t *to = net_frames_add(&frames, len);

	require((to == NULL) == (end - at + NET_FRAMES_PREFIX + len > NET_FRAMES_CAP));
	if (to != NULL) {
		memset(to, seed, len);
		const uint8_t bytes[] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16),
					 (uint8_t)(len >> 8), (uint8_t)len};

		memcpy(copy + end, bytes, sizeof(bytes));
		memset(copy + end + sizeof(bytes), seed, len);
		end += sizeof(bytes) + len;
	}
}

static void send_some(uint32_t len)
{
	const uint8_t *bytes;
	size_t unsent = net_frames_unsent(&frames, &bytes);

	require(unsent == end - at && memcmp(bytes, copy + at, unsent) == 0);
	if (unsent > 0) {
		len %= (uint32_t)unsent + 1;
		net_frames_sent(&frames, len);
		at += len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};

	clear(false);
	while (input.size > 0) {
		unsigned action = (unsigned)input_number(&input, 1);
		uint32_t value = (uint32_t)input_number(&input, 4);
		bool for_out = action % ACTIONS == ADD || action % ACTIONS == SEND;

		if (for_out != is_out) {
			clear(for_out);
		}
		switch (action % ACTIONS) {
		case BRING:
			value = (uint32_t)min_u64(value % 256, input.size);
			bring(input.data, value);
			input_skip(&input, value);
			break;
		case BRING_LENGTH:
			bring_length(value);
			break;
		case BRING_FRAME:
			bring_frame(value, (uint8_t)action);
			break;
		case LOOK:
			look(value % 4 != 0);
			break;
		case ADD:
			add(value, (uint8_t)action);
			break;
		case SEND:
			send_some(value);
			break;
		default:
			clear(false);
			break;
		}
	}
	return 0;
}

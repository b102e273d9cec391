/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of a byte stream.
 *
 * Theory of operation. The bytes from `begin` to `end` are those of the stream. The room holds two
 * of the longest frames, so that many short ones go by one system call. A frame is handed on where
 * it lies: the virtio header before it takes the place of its length and of what was dropped.
 *
 * The bytes move to the front when the longest frame has no room behind `begin`. What moves then is
 * less than one frame, or what was not sent since the last move.
 */
#include "devices/virtio/net/net_frames.h"

#include <assert.h>
#include <string.h>

#include "vmm/base/bytes.h"

void net_frames_clear(struct net_frames *frames)
{
	frames->begin = NET_FRAMES_HEAD;
	frames->end = NET_FRAMES_HEAD;
	frames->first_len = 0;
}

/* Takes `len` bytes off the front. */
static void take(struct net_frames *frames, uint32_t len)
{
	assert(len <= frames->end - frames->begin);
	frames->begin += len;
	if (frames->begin == frames->end) {
		net_frames_clear(frames);
	}
}

static void move_to_front(struct net_frames *frames)
{
	uint32_t len = frames->end - frames->begin;

	memmove(frames->bytes + NET_FRAMES_HEAD, frames->bytes + frames->begin, len);
	frames->begin = NET_FRAMES_HEAD;
	frames->end = NET_FRAMES_HEAD + len;
}

enum net_frames_result net_frames_first(struct net_frames *frames, const uint8_t **frame,
					uint32_t *len)
{
	uint32_t held = frames->end - frames->begin;
	uint8_t *header = frames->bytes + (frames->begin - NET_FRAMES_HEAD);

	if (frames->first_len == 0) {
		if (held < NET_FRAMES_PREFIX) {
			return NET_FRAMES_PART;
		}
		uint32_t frame_len = load_be32(frames->bytes + frames->begin);

		if (frame_len > NET_FRAMES_MAX) {
			return NET_FRAMES_BROKEN;
		}
		if (held - NET_FRAMES_PREFIX < frame_len) {
			return NET_FRAMES_PART;
		}
		frames->first_len = NET_FRAMES_PREFIX + frame_len;
	}
	if (frames->first_len < NET_FRAMES_PREFIX + NET_FRAMES_MIN) {
		return NET_FRAMES_RUNT;
	}
	memset(header, 0, NET_HEADER_LEN);
	*frame = header;
	*len = NET_FRAMES_HEAD + frames->first_len;
	return NET_FRAMES_WHOLE;
}

void net_frames_drop(struct net_frames *frames)
{
	uint32_t len = frames->first_len;

	assert(len > 0);
	frames->first_len = 0;
	take(frames, len);
}

size_t net_frames_room(struct net_frames *frames, uint8_t **room)
{
	if (sizeof(frames->bytes) - frames->begin < NET_FRAMES_PREFIX + NET_FRAMES_MAX) {
		move_to_front(frames);
	}
	*room = frames->bytes + frames->end;
	return sizeof(frames->bytes) - frames->end;
}

void net_frames_added(struct net_frames *frames, size_t len)
{
	assert(len <= sizeof(frames->bytes) - frames->end);
	frames->end += (uint32_t)len;
}

uint8_t *net_frames_add(struct net_frames *frames, uint32_t len)
{
	const uint32_t needed = NET_FRAMES_PREFIX + len;
	uint8_t *to;

	assert(len >= NET_FRAMES_MIN && len <= NET_FRAMES_MAX);
	if (sizeof(frames->bytes) - frames->end < needed) {
		move_to_front(frames);
	}
	if (sizeof(frames->bytes) - frames->end < needed) {
		return NULL;
	}
	to = frames->bytes + frames->end;
	store_be32(to, len);
	frames->end += needed;
	return to + NET_FRAMES_PREFIX;
}

size_t net_frames_unsent(const struct net_frames *frames, const uint8_t **bytes)
{
	*bytes = frames->bytes + frames->begin;
	return frames->end - frames->begin;
}

void net_frames_sent(struct net_frames *frames, size_t len)
{
	take(frames, (uint32_t)len);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames as a byte stream has them: each behind its length, 4 bytes, big endian [QEMU net/stream.c,
 * passt(1)]. A buffer of a fixed size for one direction. Pure.
 */
#ifndef DEVICES_VIRTIO_NET_FRAMES_H
#define DEVICES_VIRTIO_NET_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/net/net_rx.h"
#include "vmm/base/attr.h"

enum {
	NET_FRAMES_PREFIX = 4,					   /* the length before a frame */
	NET_FRAMES_MIN = 14,					   /* Ethernet's header alone */
	NET_FRAMES_MAX = NET_FRAME_MAX - NET_HEADER_LEN,	   /* the longest frame */
	NET_FRAMES_HEAD = NET_HEADER_LEN - NET_FRAMES_PREFIX,	   /* before the first frame */
	NET_FRAMES_CAP = 2 * (NET_FRAMES_PREFIX + NET_FRAMES_MAX), /* about 128 KiB */
};

/* Made by net_frames_clear; the members are net_frames.c's. begin <= end <= sizeof(bytes). */
struct net_frames {
	uint32_t begin; /* of the first frame's length; NET_FRAMES_HEAD at the least */
	uint32_t end;
	uint32_t first_len; /* with its prefix, of a first frame that is there; 0: unknown */
	uint8_t bytes[NET_FRAMES_HEAD + NET_FRAMES_CAP];
};

void net_frames_clear(struct net_frames *frames);

/* --- What comes --- */

enum net_frames_result {
	NET_FRAMES_PART,  /* the first frame is not whole */
	NET_FRAMES_WHOLE, /* it is */
	NET_FRAMES_RUNT,  /* it is whole, and too short for a frame: it can only be dropped */
	NET_FRAMES_BROKEN /* its length is that of no frame: where the next begins, nobody knows */
};

/*
 * Looks at the first frame. WHOLE: it is at *frame, behind a virtio header of zeroes, and has *len
 * bytes with it, until the next call of another function.
 */
MUST_CHECK enum net_frames_result net_frames_first(struct net_frames *frames, const uint8_t **frame,
						   uint32_t *len);

/* Takes the first frame, WHOLE or RUNT, out. */
void net_frames_drop(struct net_frames *frames);

/* Where more bytes go, and how many have room; of a first frame that is PART at least one. */
MUST_CHECK size_t net_frames_room(struct net_frames *frames, uint8_t **room);
void net_frames_added(struct net_frames *frames, size_t len);

/* --- What goes --- */

/*
 * Adds a frame of `len` bytes, NET_FRAMES_MIN to NET_FRAMES_MAX; the caller fills them in at the
 * place that is returned. NULL: there is no room until something is sent.
 */
MUST_CHECK uint8_t *net_frames_add(struct net_frames *frames, uint32_t len);

/* What is to be sent; 0: nothing. Any number of these bytes may be taken out. */
size_t net_frames_unsent(const struct net_frames *frames, const uint8_t **bytes);
void net_frames_sent(struct net_frames *frames, size_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the vhost-user protocol.
 *
 * A message is a header of three words (request, flags, length of the payload) and a payload. All
 * numbers are in the host's byte order, which is little-endian on both of our architectures.
 */
#include "devices/virtio/vhost/vhost_user_msg.h"

#include <assert.h>
#include <string.h>

#include "vmm/base/bytes.h"

enum {
	FLAGS = 4, /* offsets in the header */
	LENGTH = 8,

	VERSION = 1, /* bits of the flags */
	VERSION_MASK = 3,
	REPLY = 4,

	U64_LEN = 8,
	RING_LEN = 8,
	ADDR_LEN = 40,
	REGION_LEN = 32,
	CONFIG_HEAD = 12,  /* offset, length and flags */
	INFLIGHT_LEN = 24, /* with the padding of the struct that peers send as it is */
	INFLIGHT_PACKED = 20,
	STATE_LEN = 8, /* direction and phase */
};

static const struct {
	enum vhost_request request;
	const char *name;
} names[] = {
	{VHOST_GET_FEATURES, "GET_FEATURES"},
	{VHOST_SET_FEATURES, "SET_FEATURES"},
	{VHOST_SET_OWNER, "SET_OWNER"},
	{VHOST_SET_MEM_TABLE, "SET_MEM_TABLE"},
	{VHOST_SET_VRING_NUM, "SET_VRING_NUM"},
	{VHOST_SET_VRING_ADDR, "SET_VRING_ADDR"},
	{VHOST_SET_VRING_BASE, "SET_VRING_BASE"},
	{VHOST_GET_VRING_BASE, "GET_VRING_BASE"},
	{VHOST_SET_VRING_KICK, "SET_VRING_KICK"},
	{VHOST_SET_VRING_CALL, "SET_VRING_CALL"},
	{VHOST_GET_PROTOCOL_FEATURES, "GET_PROTOCOL_FEATURES"},
	{VHOST_SET_PROTOCOL_FEATURES, "SET_PROTOCOL_FEATURES"},
	{VHOST_GET_QUEUE_NUM, "GET_QUEUE_NUM"},
	{VHOST_SET_VRING_ENABLE, "SET_VRING_ENABLE"},
	{VHOST_GET_CONFIG, "GET_CONFIG"},
	{VHOST_GET_INFLIGHT_FD, "GET_INFLIGHT_FD"},
	{VHOST_SET_INFLIGHT_FD, "SET_INFLIGHT_FD"},
	{VHOST_SET_DEVICE_STATE_FD, "SET_DEVICE_STATE_FD"},
	{VHOST_CHECK_DEVICE_STATE, "CHECK_DEVICE_STATE"},
};

const char *vhost_request_name(enum vhost_request request)
{
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		if (names[i].request == request) {
			return names[i].name;
		}
	}
	return "no request";
}

/* --- Making --- */

/* Begins a message, whose payload of `len` bytes is zeroed and returned. */
static uint8_t *begin(struct vhost_msg *msg, enum vhost_request request, size_t len)
{
	assert(len <= VHOST_PAYLOAD_MAX);
	memset(msg->bytes, 0, VHOST_HEADER_LEN + len);
	msg->len = VHOST_HEADER_LEN + len;
	store_le32(msg->bytes, request);
	store_le32(msg->bytes + FLAGS, VERSION);
	store_le32(msg->bytes + LENGTH, (uint32_t)len);
	return msg->bytes + VHOST_HEADER_LEN;
}

void vhost_msg_plain(struct vhost_msg *msg, enum vhost_request request)
{
	begin(msg, request, 0);
}

void vhost_msg_u64(struct vhost_msg *msg, enum vhost_request request, uint64_t value)
{
	store_le64(begin(msg, request, U64_LEN), value);
}

void vhost_msg_ring(struct vhost_msg *msg, enum vhost_request request, uint32_t ring, uint32_t num)
{
	uint8_t *payload = begin(msg, request, RING_LEN);

	store_le32(payload, ring);
	store_le32(payload + 4, num);
}

void vhost_msg_addr(struct vhost_msg *msg, const struct vhost_ring_addr *addr)
{
	uint8_t *payload = begin(msg, VHOST_SET_VRING_ADDR, ADDR_LEN);

	/* Behind the ring are flags, and at the end the address of a log: there is none. */
	store_le32(payload, addr->ring);
	store_le64(payload + 8, addr->desc);
	store_le64(payload + 16, addr->used);
	store_le64(payload + 24, addr->avail);
}

void vhost_msg_memory(struct vhost_msg *msg, const struct vhost_region *regions, size_t count)
{
	assert(count > 0 && count <= VHOST_REGIONS_MAX);
	uint8_t *payload = begin(msg, VHOST_SET_MEM_TABLE, 8 + count * REGION_LEN);

	store_le32(payload, (uint32_t)count);
	payload += 8;
	for (size_t i = 0; i < count; i++) {
		store_le64(payload, regions[i].gpa);
		store_le64(payload + 8, regions[i].len);
		store_le64(payload + 16, regions[i].gpa); /* see struct vhost_ring_addr */
		store_le64(payload + 24, regions[i].offset);
		payload += REGION_LEN;
	}
}

void vhost_msg_config(struct vhost_msg *msg, size_t len)
{
	assert(len <= VHOST_CONFIG_MAX);
	store_le32(begin(msg, VHOST_GET_CONFIG, CONFIG_HEAD + len) + 4, (uint32_t)len);
}

void vhost_msg_inflight(struct vhost_msg *msg, enum vhost_request request,
			const struct vhost_inflight *inflight)
{
	uint8_t *payload = begin(msg, request, INFLIGHT_LEN);

	/* Behind the length is the offset in the file: 0. */
	store_le64(payload, inflight->len);
	store_le16(payload + 16, inflight->queues);
	store_le16(payload + 18, inflight->queue_size);
}

void vhost_msg_state(struct vhost_msg *msg, enum vhost_direction direction)
{
	/* Behind the direction is the phase: 0, the device is stopped. */
	store_le32(begin(msg, VHOST_SET_DEVICE_STATE_FD, STATE_LEN), direction);
}

/* --- Reading --- */

size_t vhost_msg_wanted(const struct vhost_msg *msg)
{
	if (msg->len < VHOST_HEADER_LEN) {
		return VHOST_HEADER_LEN;
	}
	uint32_t len = load_le32(msg->bytes + LENGTH);

	return len <= VHOST_PAYLOAD_MAX ? VHOST_HEADER_LEN + (size_t)len : 0;
}

/* The payload of a reply; NULL: it is none to `request`. */
static const uint8_t *payload_of(const struct vhost_msg *msg, enum vhost_request request,
				 size_t *len, struct error *err)
{
	if (msg->len < VHOST_HEADER_LEN || msg->len != vhost_msg_wanted(msg)) {
		error_set(err, ERR_HOST, "The back-end's reply to %s is cut off",
			  vhost_request_name(request));
		return NULL;
	}
	uint32_t got = load_le32(msg->bytes);
	uint32_t flags = load_le32(msg->bytes + FLAGS);

	if (got != (uint32_t)request || (flags & VERSION_MASK) != VERSION || (flags & REPLY) == 0) {
		error_set(err, ERR_HOST,
			  "The back-end sends a message %u with flags %#x in place of its reply to "
			  "%s",
			  got, flags, vhost_request_name(request));
		return NULL;
	}
	*len = msg->len - VHOST_HEADER_LEN;
	return msg->bytes + VHOST_HEADER_LEN;
}

static int wrong_len(enum vhost_request request, size_t len, size_t wanted, struct error *err)
{
	return error_set(err, ERR_HOST, "The back-end's reply to %s has %zu bytes in place of %zu",
			 vhost_request_name(request), len, wanted);
}

int vhost_reply_u64(const struct vhost_msg *msg, enum vhost_request request, uint64_t *value,
		    struct error *err)
{
	size_t len = 0;
	const uint8_t *payload = payload_of(msg, request, &len, err);

	if (payload == NULL) {
		return -1;
	}
	if (len != U64_LEN) {
		return wrong_len(request, len, U64_LEN, err);
	}
	*value = load_le64(payload);
	return 0;
}

int vhost_reply_base(const struct vhost_msg *msg, uint32_t ring, uint16_t *base, struct error *err)
{
	size_t len = 0;
	const uint8_t *payload = payload_of(msg, VHOST_GET_VRING_BASE, &len, err);

	if (payload == NULL) {
		return -1;
	}
	if (len != RING_LEN) {
		return wrong_len(VHOST_GET_VRING_BASE, len, RING_LEN, err);
	}
	if (load_le32(payload) != ring) {
		return error_set(err, ERR_HOST, "The back-end has stopped the ring %u, not %u",
				 load_le32(payload), ring);
	}
	*base = (uint16_t)load_le32(payload + 4);
	return 0;
}

int vhost_reply_config(const struct vhost_msg *msg, uint8_t *config, size_t len, struct error *err)
{
	size_t got = 0;
	const uint8_t *payload = payload_of(msg, VHOST_GET_CONFIG, &got, err);

	if (payload == NULL) {
		return -1;
	}
	if (got == 0) {
		return error_set(err, ERR_HOST, "The back-end refuses to tell its configuration");
	}
	if (got != CONFIG_HEAD + len) {
		return wrong_len(VHOST_GET_CONFIG, got, CONFIG_HEAD + len, err);
	}
	if (load_le32(payload) != 0 || load_le32(payload + 4) != len) {
		return error_set(err, ERR_HOST,
				 "The back-end tells %u bytes of its configuration from byte %u on "
				 "in place of the first %zu",
				 load_le32(payload + 4), load_le32(payload), len);
	}
	memcpy(config, payload + CONFIG_HEAD, len);
	return 0;
}

int vhost_reply_inflight(const struct vhost_msg *msg, struct vhost_inflight *inflight,
			 struct error *err)
{
	size_t len = 0;
	const uint8_t *payload = payload_of(msg, VHOST_GET_INFLIGHT_FD, &len, err);

	if (payload == NULL) {
		return -1;
	}
	if (len != INFLIGHT_LEN && len != INFLIGHT_PACKED) {
		return wrong_len(VHOST_GET_INFLIGHT_FD, len, INFLIGHT_LEN, err);
	}
	*inflight = (struct vhost_inflight){
		.len = load_le64(payload),
		.queues = load_le16(payload + 16),
		.queue_size = load_le16(payload + 18),
	};
	return 0;
}

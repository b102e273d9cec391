/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the vhost-user protocol [QEMU docs/interop/vhost-user.rst], as a front-end makes them
 * and as it reads replies. Pure. Nothing of a reply is trusted: its sender is another process.
 */
#ifndef DEVICES_VIRTIO_VHOST_USER_MSG_H
#define DEVICES_VIRTIO_VHOST_USER_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* Requests of a front-end; those with GET or DEVICE_STATE are answered. */
enum vhost_request {
	VHOST_NONE = 0,
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_GET_VRING_BASE = 11,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_GET_QUEUE_NUM = 17,
	VHOST_SET_VRING_ENABLE = 18,
	VHOST_GET_CONFIG = 24,
	VHOST_GET_INFLIGHT_FD = 31,
	VHOST_SET_INFLIGHT_FD = 32,
	VHOST_SET_DEVICE_STATE_FD = 42,
	VHOST_CHECK_DEVICE_STATE = 43,
};

/* A feature bit beside the device's, which is no driver's business. */
#define VHOST_F_PROTOCOL_FEATURES (UINT64_C(1) << 30)

/* Features of the protocol. */
#define VHOST_PROTOCOL_F_MQ (UINT64_C(1) << 0)
#define VHOST_PROTOCOL_F_CONFIG (UINT64_C(1) << 9)
#define VHOST_PROTOCOL_F_INFLIGHT_SHMFD (UINT64_C(1) << 12)
#define VHOST_PROTOCOL_F_DEVICE_STATE (UINT64_C(1) << 19)

enum {
	VHOST_HEADER_LEN = 12,
	VHOST_REGIONS_MAX = 8,
	VHOST_CONFIG_MAX = 64, /* bytes of a device's configuration that we ask for */
	VHOST_PAYLOAD_MAX = 8 + VHOST_REGIONS_MAX * 32,
	VHOST_MSG_MAX = VHOST_HEADER_LEN + VHOST_PAYLOAD_MAX,
};

/* A message, or as much of one as has arrived. */
struct vhost_msg {
	uint8_t bytes[VHOST_MSG_MAX];
	size_t len; /* with the header */
};

/* --- Making --- */

/* A message without payload, with a number, or with a number for a ring. */
void vhost_msg_plain(struct vhost_msg *msg, enum vhost_request request);
void vhost_msg_u64(struct vhost_msg *msg, enum vhost_request request, uint64_t value);
void vhost_msg_ring(struct vhost_msg *msg, enum vhost_request request, uint32_t ring, uint32_t num);

/*
 * Where a ring is. The protocol wants addresses of the front-end's process there; they are the
 * guest's, as the table of memory says so, and back-ends learn nothing of our address space.
 */
struct vhost_ring_addr {
	uint32_t ring;
	uint64_t desc, used, avail;
};

void vhost_msg_addr(struct vhost_msg *msg, const struct vhost_ring_addr *addr);

struct vhost_region {
	uint64_t gpa;
	uint64_t len;
	uint64_t offset; /* in the file that goes with it */
};

/* `count` is 1 to VHOST_REGIONS_MAX; a descriptor for each goes with the message. */
void vhost_msg_memory(struct vhost_msg *msg, const struct vhost_region *regions, size_t count);

/* Asks for the first `len` bytes (VHOST_CONFIG_MAX at most) of the configuration. */
void vhost_msg_config(struct vhost_msg *msg, size_t len);

/* Memory in which a back-end keeps which requests it has taken and not answered. */
struct vhost_inflight {
	uint64_t len; /* bytes */
	uint16_t queues;
	uint16_t queue_size;
};

/* `request` is GET_INFLIGHT_FD or SET_INFLIGHT_FD, with which the descriptor goes. */
void vhost_msg_inflight(struct vhost_msg *msg, enum vhost_request request,
			const struct vhost_inflight *inflight);

/* Who writes the state of a back-end, and who reads it. */
enum vhost_direction {
	VHOST_SAVE = 0, /* the back-end writes */
	VHOST_LOAD = 1, /* the back-end reads */
};

/* SET_DEVICE_STATE_FD, with which the back-end's end of a pipe goes; all queues are stopped. */
void vhost_msg_state(struct vhost_msg *msg, enum vhost_direction direction);

/* --- Reading --- */

/*
 * How many bytes a message has, by those that are there: a header's until that is whole. 0: it is
 * longer than any reply, and can't be one.
 */
size_t vhost_msg_wanted(const struct vhost_msg *msg);

/*
 * The value of a whole message as the reply to `request`. ERR_HOST names what is wrong with it:
 * another request, no reply, another length, or a ring or range that was not asked for.
 */
MUST_CHECK int vhost_reply_u64(const struct vhost_msg *msg, enum vhost_request request,
			       uint64_t *value, struct error *err);
MUST_CHECK int vhost_reply_base(const struct vhost_msg *msg, uint32_t ring, uint16_t *base,
				struct error *err);
MUST_CHECK int vhost_reply_config(const struct vhost_msg *msg, uint8_t *config, size_t len,
				  struct error *err);
MUST_CHECK int vhost_reply_inflight(const struct vhost_msg *msg, struct vhost_inflight *inflight,
				    struct error *err);

/* The request's name in the protocol, for messages. */
const char *vhost_request_name(enum vhost_request request);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, as many as there may be; any numbers in what is made.
 *
 * Options: -eva-precision 4 -eva-split-return full
 */
#include "tests/eva/error.h"
#include "tests/eva/eva.h"

#include "devices/virtio/vhost/vhost_user_msg.c"

static void make(struct vhost_msg *msg)
{
	struct vhost_region regions[VHOST_REGIONS_MAX];
	struct vhost_ring_addr addr;
	struct vhost_inflight inflight;

	fill(regions, sizeof(regions));
	fill(&addr, sizeof(addr));
	fill(&inflight, sizeof(inflight));
	vhost_msg_plain(msg, VHOST_SET_OWNER);
	vhost_msg_u64(msg, VHOST_SET_FEATURES, any_u64());
	vhost_msg_ring(msg, VHOST_SET_VRING_NUM, any_u32(), any_u32());
	vhost_msg_addr(msg, &addr);
	vhost_msg_inflight(msg, VHOST_SET_INFLIGHT_FD, &inflight);
	/*@ loop unroll VHOST_REGIONS_MAX + 1; */
	for (size_t count = 1; count <= VHOST_REGIONS_MAX; count++) {
		vhost_msg_memory(msg, regions, count);
	}
	vhost_msg_config(msg, VHOST_CONFIG_MAX);
	vhost_msg_state(msg, any_bool() ? VHOST_SAVE : VHOST_LOAD);
}

static void read(struct vhost_msg *msg)
{
	struct vhost_inflight inflight = {0}; /* EVA loses which of two lengths was right */
	uint8_t config[VHOST_CONFIG_MAX];
	struct error err;
	uint64_t value;

	keep(vhost_msg_wanted(msg));
	if (vhost_reply_u64(msg, VHOST_GET_FEATURES, &value, &err) == 0) {
		keep(value);
	}
	uint16_t base;

	if (vhost_reply_base(msg, any_u32(), &base, &err) == 0) {
		keep(base);
	}
	if (vhost_reply_config(msg, config, VHOST_CONFIG_MAX, &err) == 0) {
		keep(config[VHOST_CONFIG_MAX - 1]);
	}
	if (vhost_reply_inflight(msg, &inflight, &err) == 0) {
		keep(inflight.len);
	}
}

void main(void)
{
	struct vhost_msg msg;

	make(&msg);
	fill(msg.bytes, sizeof(msg.bytes));
	msg.len = any_u32();
	if (msg.len <= VHOST_MSG_MAX) {
		read(&msg);
	}
}

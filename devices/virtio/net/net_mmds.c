/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata service on an interface.
 *
 * Theory of operation. The service's network stack (devices/mmds/) is between the driver and the
 * port. A frame that the guest sends to the service's address is copied and goes to the stack, and
 * nowhere else; no limit counts it. Frames of the stack come before those of the port. One of them
 * waits here for a chain of the receive queue; until then the stack is asked for no other, so that
 * a guest without buffers makes nothing grow.
 *
 * Chains go back to their queue only in the order in which they were taken. So buffers that are
 * held for the port's next frame are put back first, and taken again afterwards.
 *
 * What the stack has to send later (a retransmission) comes by a timer.
 */
#include <stdlib.h>

#include "devices/virtio/net/net_internal.h"
#include "vmm/base/bytes.h"

/* Of struct virtio_net_hdr [virtio-1.2 §5.1.6]. */
enum {
	HEADER_FLAGS = 0,
	HEADER_NEEDS_CSUM = 1,
	HEADER_NUM_BUFFERS = 10,
};

struct net_mmds {
	struct net *net;
	struct mmds_stack *stack;
	struct ev_timer timer;
	uint64_t timer_ns; /* when it fires; UINT64_MAX: never */
	bool has_received; /* in the turn under way */
	uint32_t out_len;  /* of the frame that waits for a chain, with its header; 0: none */
	uint8_t out[NET_HEADER_LEN + MMDS_FRAME_MAX];
	uint8_t in[MMDS_FRAME_IN_MAX];
};

static uint64_t now_ns(const struct net *net)
{
	return net->dev.clock->now_ns(CLOCK_MONOTONIC);
}

/* --- From the guest --- */

bool net_mmds_take(struct net *net, const struct virtq_chain *chain)
{
	struct net_mmds *mmds = net->mmds;
	const struct gmem *mem = net->dev.mem;
	uint32_t len = (uint32_t)min_u64(chain->read_len - NET_HEADER_LEN, sizeof(mmds->in));
	uint32_t head_len = (uint32_t)min_u64(len, MMDS_HEAD_LEN);
	uint8_t flags;

	/* The head is read once: what was looked at is what goes to the stack. */
	if (virtq_chain_read(mem, chain, NET_HEADER_LEN, mmds->in, head_len) < 0 ||
	    !mmds_stack_takes(mmds->stack, mmds->in, head_len)) {
		return false;
	}
	if (virtq_chain_read(mem, chain, HEADER_FLAGS, &flags, sizeof(flags)) < 0 ||
	    virtq_chain_read(mem, chain, NET_HEADER_LEN + head_len, mmds->in + head_len,
			     len - head_len) < 0) {
		return false;
	}
	const struct mmds_frame frame = {
		.data = mmds->in,
		.len = len,
		.is_checksum_partial = (flags & HEADER_NEEDS_CSUM) != 0,
	};

	mmds_stack_receive(mmds->stack, &frame, now_ns(net));
	mmds->has_received = true;
	return true;
}

/* --- To the guest --- */

bool net_mmds_has_frame(struct net *net)
{
	struct net_mmds *mmds = net->mmds;

	if (mmds->out_len == 0) {
		size_t len = mmds_stack_send(mmds->stack, mmds->out + NET_HEADER_LEN,
					     sizeof(mmds->out) - NET_HEADER_LEN, now_ns(net));

		mmds->out_len = len > 0 ? (uint32_t)(NET_HEADER_LEN + len) : 0;
	}
	return mmds->out_len > 0;
}

enum virtio_step net_mmds_deliver(struct net *net, const struct virtq_chain *chain)
{
	struct net_mmds *mmds = net->mmds;
	uint32_t len = mmds->out_len;

	mmds->out_len = 0;
	/* A frame that does not fit is lost, as on any network; the stack sends it again. */
	if (chain->readable > 0 || virtq_chain_write(net->dev.mem, chain, 0, mmds->out, len) < 0) {
		metric_add(&net->metrics.rx_fails, 1);
		return VIRTIO_BACK;
	}
	virtq_push(net_queue(net, RX), chain->head, len);
	metric_add(&net->metrics.rx_count, 1);
	metric_add(&net->metrics.rx_packets_count, 1);
	metric_add(&net->metrics.rx_bytes_count, len);
	return VIRTIO_DONE;
}

/* --- Events --- */

void net_mmds_end_turn(struct net *net)
{
	struct net_mmds *mmds = net->mmds;
	/* While a frame waits for a chain, time changes nothing: the guest's next chain does. */
	uint64_t deadline_ns = mmds->out_len > 0 ? UINT64_MAX : mmds_stack_deadline(mmds->stack);

	if (mmds->has_received) {
		mmds->has_received = false;
		virtio_kick(&net->dev, RX);
	}
	if (deadline_ns != mmds->timer_ns) {
		uint64_t now = now_ns(net);
		uint64_t wait_ns = deadline_ns > now ? deadline_ns - now : 1;

		mmds->timer_ns = deadline_ns;
		ev_timer_set(&mmds->timer, deadline_ns == UINT64_MAX ? 0 : wait_ns, 0);
	}
}

static void on_timer(struct ev_timer *timer)
{
	struct net_mmds *mmds = container_of(timer, struct net_mmds, timer);

	virtio_lock(&mmds->net->dev);
	mmds->timer_ns = UINT64_MAX;
	net_receive_more(&mmds->net->pairs[0]);
	virtio_unlock(&mmds->net->dev);
}

/* --- Making and ending --- */

int net_set_mmds(struct net *net, const struct mmds_stack_params *params, struct error *err)
{
	struct net_mmds *mmds = calloc(1, sizeof(*mmds));

	if (mmds == NULL) {
		return error_sys(err, "Cannot allocate the metadata service of an interface");
	}
	mmds->net = net;
	mmds->timer_ns = UINT64_MAX;
	mmds->timer = (struct ev_timer){.fn = on_timer, .is_frozen_with_guest = true};
	/* One buffer, whether or not buffers are merged [virtio-1.2 §5.1.6.4]. */
	mmds->out[HEADER_NUM_BUFFERS] = 1;
	net->mmds = mmds;
	if (mmds_stack_new(params, &mmds->stack, err) < 0) {
		return -1;
	}
	return ev_timer_init(&mmds->timer, net->dev.loop, err);
}

void net_mmds_forget(struct net *net)
{
	if (net->mmds != NULL) {
		net->mmds->out_len = 0;
	}
}

void net_mmds_free(struct net *net)
{
	if (net->mmds != NULL) {
		ev_timer_destroy(&net->mmds->timer);
		mmds_stack_free(net->mmds->stack);
		free(net->mmds);
		net->mmds = NULL;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transmitting of the network device: from the guest to its port.
 *
 * Theory of operation. To a TAP a frame is written from the guest's buffers as it is; the kernel
 * judges its header. If the port has no room, the chain stays in the queue until it has.
 * Firecracker drops such a frame; holding it back instead lets the guest's own queue shape its
 * traffic. Of a TAP that happens only where whoever made it has limited its send buffer
 * (TUNSETSNDBUF), which asks for just that.
 */
#include "devices/virtio/net/net_internal.h"

#include <errno.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

enum {
	SOURCE_MAC = NET_HEADER_LEN + NET_MAC_LEN
};

/* The guest may send what it likes, from any address; that is only counted. */
static void check_source(struct net *net)
{
	uint8_t source[NET_MAC_LEN];

	if (net->has_mac &&
	    virtq_chain_read(net->dev.mem, &net->dev.chain, SOURCE_MAC, source, sizeof(source)) ==
		    0 &&
	    memcmp(source, net->dev.config + CONFIG_MAC, sizeof(source)) != 0) {
		metric_add(&net->metrics.tx_spoofed_mac_count, 1);
	}
}

/* The log has each reason once: a TAP that is down fails with every frame. */
static void fail_write(struct net *net, int sys)
{
	metric_add(&net->metrics.tap_write_fails, 1);
	if (sys != net->write_failure) {
		net->write_failure = sys;
		log_limited_warn(&net->failures,
				 "Failed to write to %s of interface %s: %s (os error %d)%s",
				 net->port->name, net->dev.id, error_os_text(sys), sys,
				 net->port->explain(sys));
	}
}

/* False if the port has no room for it. */
static bool send_frame(struct net_pair *pair)
{
	struct net *net = pair->net;
	uint64_t start_ns = net->dev.now_ns;
	int result = net->port->send(pair, &net->dev.chain);

	if (result == -EAGAIN) {
		return false;
	}
	metric_latency_add(&net->metrics.tap_write_agg,
			   (virtio_look(&net->dev) - start_ns) / NS_PER_US);
	check_source(net);
	if (result < 0) {
		fail_write(net, -result);
		return true;
	}
	net->write_failure = 0;
	metric_add(&net->metrics.tx_bytes_count, net->dev.chain.read_len);
	metric_add(&net->metrics.tx_packets_count, 1);
	metric_add(&net->metrics.tx_count, 1);
	return true;
}

/* Gives a chain back that is no frame. */
static enum virtio_step refuse_frame(struct net_pair *pair, struct metric *metric)
{
	struct net *net = pair->net;

	metric_add(metric, 1);
	virtq_push(net_pair_queue(pair, TX), net->dev.chain.head, 0);
	return VIRTIO_DONE;
}

enum virtio_step net_transmit_take(struct net_pair *pair, const struct virtq_chain *chain)
{
	struct net *net = pair->net;
	uint32_t len = chain->read_len;

	metric_add(&net->metrics.tx_remaining_reqs_count, virtq_pending(net_pair_queue(pair, TX)));
	if (chain->write_len > 0) {
		return refuse_frame(pair, &net->metrics.tx_fails);
	}
	if (len < NET_HEADER_LEN || len > NET_FRAME_MAX) {
		return refuse_frame(pair, &net->metrics.tx_malformed_frames);
	}
	if (net->mmds != NULL && net_mmds_take(net, chain)) {
		virtq_push(net_pair_queue(pair, TX), chain->head, 0);
		return VIRTIO_DONE;
	}
	if (!limiter_take(&net->limiters[TX], len)) {
		metric_add(&net->metrics.tx_rate_limiter_throttled, 1);
		return VIRTIO_WAIT;
	}
	if (!send_frame(pair)) {
		limiter_put_back(&net->limiters[TX], len);
		pair->is_port_full = true;
		return VIRTIO_WAIT;
	}
	virtq_push(net_pair_queue(pair, TX), chain->head, 0);
	return VIRTIO_DONE;
}

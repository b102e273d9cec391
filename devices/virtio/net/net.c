/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device [virtio-1.2 §5.1].
 *
 * Theory of operation. Both directions are served in steps, each of which takes one chain or moves
 * one frame, until there is nothing to do, something to wait for, or the budget is used up; then
 * the queue is put behind the other sources of the loop. What a direction waits for is one of
 *
 *   the driver   the queue is empty: the kick is armed, and asked for only then
 *   the port     nothing to read, or no room to write: an edge of its source
 *   the limiter  its timer
 *
 * A port's source is edge-triggered, so its mask never changes while the device is active, and
 * neither a guest without buffers nor a host that floods it makes the loop spin. An edge comes once
 * only: is_port_readable keeps it until a read has found nothing. Whatever else ends a round of
 * reading (no buffers, no budget, the limiter) has its own event, and is_port_readable makes that
 * one go on where the round ended.
 *
 * Here are the device's life and its events; the directions are in net_receive.c and
 * net_transmit.c. They know a port (net_port.h): a TAP, or a back-end at the end of a stream. Of a
 * device whose queues the host's kernel serves (net_kernel.h) no queue is ever served here.
 */
#include "devices/virtio/net/net.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "devices/virtio/core/virtio_state.h"
#include "devices/virtio/net/net_internal.h"
#include "devices/virtio/net/net_kernel.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

/* Bits of features [virtio-1.2 §5.1.3]. */
enum {
	F_CSUM = 0,
	F_GUEST_CSUM = 1,
	F_MTU = 3,
	F_MAC = 5,
	F_GUEST_TSO4 = 7,
	F_GUEST_TSO6 = 8,
	F_GUEST_UFO = 10,
	F_HOST_TSO4 = 11,
	F_HOST_TSO6 = 12,
	F_HOST_UFO = 14,
	F_MRG_RXBUF = 15,
	F_STATUS = 16,
	F_CTRL_VQ = NET_F_CTRL_VQ,
	F_MQ = NET_F_MQ,
	F_GUEST_USO4 = 54,
	F_GUEST_USO6 = 55,
	F_HOST_USO = 56,
};

static const struct virtio_feature feature_names[] = {
	{F_CSUM, "VIRTIO_NET_F_CSUM"},
	{F_GUEST_CSUM, "VIRTIO_NET_F_GUEST_CSUM"},
	{F_MTU, "VIRTIO_NET_F_MTU"},
	{F_MAC, "VIRTIO_NET_F_MAC"},
	{F_GUEST_TSO4, "VIRTIO_NET_F_GUEST_TSO4"},
	{F_GUEST_TSO6, "VIRTIO_NET_F_GUEST_TSO6"},
	{F_GUEST_UFO, "VIRTIO_NET_F_GUEST_UFO"},
	{F_HOST_TSO4, "VIRTIO_NET_F_HOST_TSO4"},
	{F_HOST_TSO6, "VIRTIO_NET_F_HOST_TSO6"},
	{F_HOST_UFO, "VIRTIO_NET_F_HOST_UFO"},
	{F_MRG_RXBUF, "VIRTIO_NET_F_MRG_RXBUF"},
	{F_STATUS, "VIRTIO_NET_F_STATUS"},
	{F_CTRL_VQ, "VIRTIO_NET_F_CTRL_VQ"},
	{F_MQ, "VIRTIO_NET_F_MQ"},
	{F_GUEST_USO4, "VIRTIO_NET_F_GUEST_USO4"},
	{F_GUEST_USO6, "VIRTIO_NET_F_GUEST_USO6"},
	{F_HOST_USO, "VIRTIO_NET_F_HOST_USO"},
};

/* Of the status [virtio-1.2 §5.1.4]. */
enum {
	LINK_UP = 1,
};

/* Steps per turn: some milliseconds at most, with the longest frames. */
enum {
	RX_BUDGET = 256,
	TX_BUDGET = 64,
	CONTROL_BUDGET = 8,
	/* Frames; a queue of a TAP has 1000 unless configured. */
	DISCARD_MAX = 4096,
	DISCARD_EACH_MAX = 1024, /* of several queues */
};

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(net_metrics, activate_fails)},
	{METRIC_COUNT(net_metrics, cfg_fails)},
	{METRIC_COUNT(net_metrics, no_rx_avail_buffer)},
	{METRIC_COUNT(net_metrics, no_tx_avail_buffer)},
	{METRIC_COUNT(net_metrics, event_fails)},
	{METRIC_COUNT(net_metrics, rx_queue_event_count)},
	{METRIC_COUNT(net_metrics, rx_event_rate_limiter_count)},
	{METRIC_COUNT(net_metrics, rx_rate_limiter_throttled)},
	{METRIC_COUNT(net_metrics, rx_tap_event_count)},
	{METRIC_ROW(net_metrics, rx_bytes_count, METRIC_COUNTER, METRIC_BYTES)},
	{METRIC_COUNT(net_metrics, rx_packets_count)},
	{METRIC_COUNT(net_metrics, rx_fails)},
	{METRIC_COUNT(net_metrics, rx_count)},
	{METRIC_COUNT(net_metrics, tap_read_fails)},
	{METRIC_COUNT(net_metrics, tap_write_fails)},
	{METRIC_ROW(net_metrics, tap_write_agg, METRIC_LATENCY, METRIC_US)},
	{METRIC_ROW(net_metrics, tx_bytes_count, METRIC_COUNTER, METRIC_BYTES)},
	{METRIC_COUNT(net_metrics, tx_malformed_frames)},
	{METRIC_COUNT(net_metrics, tx_fails)},
	{METRIC_COUNT(net_metrics, tx_count)},
	{METRIC_COUNT(net_metrics, tx_packets_count)},
	{METRIC_COUNT(net_metrics, tx_queue_event_count)},
	{METRIC_COUNT(net_metrics, tx_rate_limiter_event_count)},
	{METRIC_COUNT(net_metrics, tx_rate_limiter_throttled)},
	{METRIC_COUNT(net_metrics, tx_spoofed_mac_count)},
	{METRIC_COUNT(net_metrics, tx_remaining_reqs_count)},
};

const struct metric_group net_metric_group = {METRIC_GROUP("net", net_metrics, metric_fields, 1)};

static struct net *to_net(struct virtio_dev *dev)
{
	return container_of(dev, struct net, dev);
}

/* --- Events --- */

/* Of a queue that is not the control queue; NULL: the driver does not use its pair. */
static struct net_pair *pair_of(struct net *net, unsigned queue)
{
	return queue / QUEUES < net->pairs_in_use ? &net->pairs[queue / QUEUES] : NULL;
}

static bool is_receiving(const struct net *net, unsigned queue)
{
	return queue % QUEUES == RX && !net_control_is_queue(net, queue);
}

static enum virtio_step next(struct virtio_dev *dev, unsigned queue)
{
	struct net *net = to_net(dev);

	return is_receiving(net, queue) ? net_receive_next(pair_of(net, queue)) : VIRTIO_TAKE;
}

static void end_turn(struct virtio_dev *dev, unsigned queue)
{
	struct net *net = to_net(dev);

	(void)queue;
	if (net->mmds != NULL) {
		net_mmds_end_turn(net);
	}
	if (net->port->end_turn != NULL) {
		net->port->end_turn(net);
	}
}

static enum virtio_step take(struct virtio_dev *dev, unsigned queue,
			     const struct virtq_chain *chain)
{
	struct net *net = to_net(dev);

	if (net_control_is_queue(net, queue)) {
		return net_control_take(net, queue, chain);
	}
	return queue % QUEUES == RX ? net_receive_take(pair_of(net, queue), chain)
				    : net_transmit_take(pair_of(net, queue), chain);
}

/* All that came from the ports and is held. */
static void forget(struct net *net)
{
	for (unsigned i = 0; i < net->pair_count; i++) {
		net_receive_forget(&net->pairs[i]);
	}
}

static void fault(struct virtio_dev *dev, unsigned queue, enum virtq_result result)
{
	struct net *net = to_net(dev);

	if (result == VIRTQ_BROKEN) {
		forget(net);
	} else if (is_receiving(net, queue)) {
		net_receive_refuse(pair_of(net, queue));
	} else {
		metric_add(net_control_is_queue(net, queue) ? &net->metrics.cfg_fails
							    : &net->metrics.tx_fails,
			   1);
	}
}

void net_receive_more(struct net_pair *pair)
{
	virtio_serve(&pair->net->dev, net_index(pair, RX), RX_BUDGET);
}

static void transmit(struct net_pair *pair)
{
	virtio_serve(&pair->net->dev, net_index(pair, TX), TX_BUDGET);
}

void net_receive_again(struct net_pair *pair)
{
	struct net *net = pair->net;

	pair->is_port_readable = true;
	net_receive_more(&net->pairs[(pair - net->pairs) % net->pairs_in_use]);
}

void net_transmit_again(struct net_pair *pair)
{
	if (pair->is_port_full) {
		pair->is_port_full = false;
		transmit(pair);
	}
}

/* Of a TAP; asked for once, the first time: changes nothing afterwards. */
static void watch_taps(struct net *net)
{
	for (unsigned i = 0; i < net->pair_count; i++) {
		ev_mod(net->dev.loop, &net->pairs[i].tap_source, EPOLLIN | EPOLLOUT | EPOLLET);
	}
}

static void queue_ready(struct virtio_dev *dev, unsigned index)
{
	struct net *net = to_net(dev);
	struct net_pair *pair = pair_of(net, index);

	watch_taps(net);
	if (net_control_is_queue(net, index)) {
		virtio_serve(dev, index, CONTROL_BUDGET);
		return;
	}
	if (pair == NULL) {
		return;
	}
	if (index % QUEUES == RX) {
		metric_add(&net->metrics.rx_queue_event_count, 1);
		net_receive_more(pair);
		return;
	}
	metric_add(&net->metrics.tx_queue_event_count, 1);
	if (virtq_pending(net_queue(net, index)) == 0) {
		metric_add(&net->metrics.no_tx_avail_buffer, 1);
	}
	transmit(pair);
}

static void on_tap(struct ev_source *source, uint32_t ready)
{
	struct net_pair *pair = container_of(source, struct net_pair, tap_source);
	struct net *net = pair->net;

	virtio_lock(&net->dev);
	if (!net->dev.is_active) {
		/* Activation assumes that there is something to read. */
		ev_mod(net->dev.loop, source, 0);
	} else {
		if ((ready & ~(uint32_t)EPOLLOUT) != 0) {
			metric_add(&net->metrics.rx_tap_event_count, 1);
			net_receive_again(pair);
		}
		if ((ready & ~(uint32_t)EPOLLIN) != 0) {
			net_transmit_again(pair);
		}
	}
	virtio_unlock(&net->dev);
}

void net_set_link(struct net *net, bool is_up)
{
	store_le16(net->dev.config + CONFIG_STATUS, is_up ? LINK_UP : 0);
	virtio_config_changed(&net->dev);
}

/*
 * What a limit has held back goes on: a queue of each pair. They take turns to be the first, which
 * finds most in the bucket.
 */
static void serve_pairs(struct net *net, unsigned queue, void (*serve)(struct net_pair *pair))
{
	unsigned first = net->turns++ % net->pairs_in_use;

	serve(&net->pairs[first]);
	for (unsigned i = 1; i < net->pairs_in_use; i++) {
		virtio_kick(&net->dev, (first + i) % net->pairs_in_use * QUEUES + queue);
	}
}

static void on_rx_limiter(struct ev_timer *timer)
{
	struct net *net = container_of(timer, struct net, limiters[RX].timer);

	virtio_lock(&net->dev);
	limiter_unblock(&net->limiters[RX]);
	metric_add(&net->metrics.rx_event_rate_limiter_count, 1);
	serve_pairs(net, RX, net_receive_more);
	virtio_unlock(&net->dev);
}

static void on_tx_limiter(struct ev_timer *timer)
{
	struct net *net = container_of(timer, struct net, limiters[TX].timer);

	virtio_lock(&net->dev);
	limiter_unblock(&net->limiters[TX]);
	metric_add(&net->metrics.tx_rate_limiter_event_count, 1);
	serve_pairs(net, TX, transmit);
	virtio_unlock(&net->dev);
}

/* --- State --- */

/*
 * What a frame that was delivered without being paid for still costs, and both limits. Offloads are
 * the driver's features, applied to the TAP by activate. Connections to the metadata service end:
 * its stack starts anew, and answers what it does not know by a reset.
 */
struct net_state {
	struct limiter_state limiters[QUEUES];
	uint32_t rx_unpaid;
	bool has_mac; /* configured, or written by the driver */
	uint8_t configured_mac[NET_MAC_LEN];
	uint32_t pairs_in_use; /* of a device with several */
};

VIRTIO_STATE_FITS(struct net_state);

static const struct codec_section section = {
	.tag = CODEC_TAG('V', 'N', 'E', 'T'), .version = 1, .name = "virtio-net"};

static void state_codec(struct codec *codec, void *own)
{
	struct net_state *state = own;

	limiter_state_codec(codec, "rx_limiter", &state->limiters[RX]);
	limiter_state_codec(codec, "tx_limiter", &state->limiters[TX]);
	codec_u32(codec, "rx_unpaid", &state->rx_unpaid);
	codec_bool(codec, "has_mac", &state->has_mac);
	codec_bytes(codec, "configured_mac", state->configured_mac, NET_MAC_LEN);
}

static void state_codec_queues(struct codec *codec, uint32_t queue_count, void *own)
{
	struct net_state *state = own;

	if (queue_count > QUEUES) {
		codec_u32(codec, "pairs_in_use", &state->pairs_in_use);
	}
}

static void state_save(struct virtio_dev *dev, void *own)
{
	const struct net *net = to_net(dev);
	struct net_state *state = own;

	limiter_save(&net->limiters[RX], &state->limiters[RX]);
	limiter_save(&net->limiters[TX], &state->limiters[TX]);
	state->rx_unpaid = net->rx_unpaid;
	state->has_mac = net->has_mac;
	state->pairs_in_use = net->pairs_in_use;
	memcpy(state->configured_mac, net->configured_mac, NET_MAC_LEN);
}

/* More than one pair is in use only where a driver has said so. */
static int load_pairs(struct net *net, const struct net_state *state, struct error *err)
{
	bool can_choose = net->dev.is_active && virtio_has(&net->dev, F_MQ) &&
			  virtio_has(&net->dev, F_CTRL_VQ);

	if (state->pairs_in_use == 0 || state->pairs_in_use > (can_choose ? net->pair_count : 1)) {
		return error_set(err, ERR_CORRUPT, "no driver can use %u of its %u queue pairs",
				 state->pairs_in_use, net->pair_count);
	}
	net_use_pairs(net, state->pairs_in_use);
	return 0;
}

/* The MAC that the driver has is the saved one, which it may have written itself. */
static int state_load(struct virtio_dev *dev, const void *own, struct error *err)
{
	struct net *net = to_net(dev);
	const struct net_state *state = own;

	if (state->rx_unpaid > net->pair_count * NET_FRAME_MAX) {
		return error_set(err, ERR_CORRUPT, "a frame has at most %d bytes, and not %u",
				 NET_FRAME_MAX, state->rx_unpaid / net->pair_count);
	}
	if (net->pair_count > 1 && load_pairs(net, state, err) < 0) {
		return -1;
	}
	if (memcmp(state->configured_mac, net->configured_mac, NET_MAC_LEN) != 0) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "it has another MAC address now than its driver knows");
	}
	limiter_load(&net->limiters[RX], &state->limiters[RX]);
	limiter_load(&net->limiters[TX], &state->limiters[TX]);
	net->rx_unpaid = state->rx_unpaid;
	net->has_mac = state->has_mac;
	return 0;
}

static const struct virtio_config_field config_fields[] = {
	{"MAC address", CONFIG_MAC, NET_MAC_LEN, VIRTIO_CONFIG_SAVED},
	{"status", CONFIG_STATUS, CONFIG_PAIRS - CONFIG_STATUS, VIRTIO_CONFIG_NOW},
	{"number of queue pairs", CONFIG_PAIRS, CONFIG_MTU - CONFIG_PAIRS, VIRTIO_CONFIG_SAME},
	{"MTU", CONFIG_MTU, CONFIG_LEN - CONFIG_MTU, VIRTIO_CONFIG_SAME},
};

static const struct virtio_class_state class_state = {
	VIRTIO_CONFIG_FIELDS(config_fields),
	.section = &section,
	.size = sizeof(struct net_state),
	.codec = state_codec,
	.codec_queues = state_codec_queues,
	.save = state_save,
	.load = state_load,
};

/* --- The driver --- */

/* [compat]: a driver may set the MAC, though with VERSION_1 it has no business to. */
static void config_write(struct virtio_dev *dev, size_t offset, const uint8_t *data, size_t len)
{
	struct net *net = to_net(dev);

	if (offset > NET_MAC_LEN || len > NET_MAC_LEN - offset) {
		metric_add(&net->metrics.cfg_fails, 1);
		log_guest_warn("Interface %s: the guest driver wrote %zu bytes at offset %zu of "
			       "the configuration",
			       dev->id, len, offset);
		return;
	}
	memcpy(dev->config + CONFIG_MAC + offset, data, len);
	net->has_mac = true;
}

/* What the host may leave to the guest, if it knows how to and the guest accepts it. */
static const struct {
	uint32_t offload;
	unsigned feature;
} guest_offloads[] = {
	{NET_OFFLOAD_CSUM, F_GUEST_CSUM}, {NET_OFFLOAD_TSO4, F_GUEST_TSO4},
	{NET_OFFLOAD_TSO6, F_GUEST_TSO6}, {NET_OFFLOAD_UFO, F_GUEST_UFO},
	{NET_OFFLOAD_USO4, F_GUEST_USO4}, {NET_OFFLOAD_USO6, F_GUEST_USO6},
};

static uint64_t bit(unsigned feature)
{
	return UINT64_C(1) << feature;
}

/*
 * What the guest may leave to the host, every kernel that KVM runs on can do; but for USO. A stream
 * carries finished frames alone.
 */
static uint64_t offered_features(const struct net *net)
{
	uint64_t features = bit(F_MRG_RXBUF);

	features |= net->stream != NULL
			    ? bit(F_STATUS)
			    : bit(F_CSUM) | bit(F_HOST_TSO4) | bit(F_HOST_TSO6) | bit(F_HOST_UFO);
	for (size_t i = 0; i < ARRAY_COUNT(guest_offloads); i++) {
		if ((net->offloads_known & guest_offloads[i].offload) != 0) {
			features |= bit(guest_offloads[i].feature);
		}
	}
	features |= (net->offloads_known & NET_OFFLOAD_USO) != 0 ? bit(F_HOST_USO) : 0;
	features |= net->pair_count > 1 ? bit(F_CTRL_VQ) | bit(F_MQ) : 0;
	features |= net->has_mac ? bit(F_MAC) : 0;
	features |= net->mtu != 0 ? bit(F_MTU) : 0;
	return features;
}

/* Of what the guest accepted, that which Linux takes: no segments without checksums, USO whole. */
static uint32_t acked_offloads(const struct net *net)
{
	uint32_t offloads = 0;

	for (size_t i = 0; i < ARRAY_COUNT(guest_offloads); i++) {
		if (virtio_has(&net->dev, guest_offloads[i].feature)) {
			offloads |= guest_offloads[i].offload;
		}
	}
	if ((offloads & NET_OFFLOAD_USO) != NET_OFFLOAD_USO) {
		offloads &= ~(uint32_t)NET_OFFLOAD_USO;
	}
	return (offloads & NET_OFFLOAD_CSUM) != 0 ? offloads : 0;
}

static int activate(struct virtio_dev *dev, struct error *err)
{
	struct net *net = to_net(dev);
	uint32_t offloads = acked_offloads(net);

	if (offloads != 0 &&
	    net->tap_ops->set_offloads(net->pairs[0].tap_source.fd, offloads, err) < 0) {
		return error_wrap(err, "Setting tap interface offload flags failed");
	}
	net->offloads = offloads;
	net_receive_start(net, virtio_has(dev, F_MRG_RXBUF));
	if (net->kernel != NULL) {
		net_kernel_activate(net->kernel);
	}
	return 0;
}

static void discard(int tap, unsigned most)
{
	uint8_t frame[NET_HEADER_LEN];

	for (unsigned i = 0; i < most; i++) {
		if (read(tap, frame, sizeof(frame)) < 0) {
			break;
		}
	}
}

/*
 * The next driver may not know what to do with the frames that wait for the last one's offloads.
 * Thousands of them take milliseconds, for which the lock is given up: others want it meanwhile.
 */
static void drop_offloads(struct net *net)
{
	struct error err = {0};

	if (net->offloads == 0) {
		return;
	}
	net->offloads = 0;
	if (net->tap_ops->set_offloads(net->pairs[0].tap_source.fd, 0, &err) < 0) {
		log_guest_warn("Interface %s: %s", net->dev.id, err.msg);
	}
	virtio_unlock(&net->dev);
	for (unsigned i = 0; i < net->pair_count; i++) {
		discard(net->pairs[i].tap_source.fd,
			net->pair_count > 1 ? DISCARD_EACH_MAX : DISCARD_MAX);
	}
	virtio_lock(&net->dev);
}

static void reset(struct virtio_dev *dev)
{
	struct net *net = to_net(dev);

	if (net->kernel != NULL) {
		net_kernel_stop(net->kernel);
	}
	forget(net);
	net_mmds_forget(net);
	net_use_pairs(net, 1);
	drop_offloads(net);
}

static void quiesce(struct virtio_dev *dev)
{
	struct net *net = to_net(dev);

	for (unsigned i = 0; i < net->pair_count; i++) {
		net_receive_quiesce(&net->pairs[i]);
	}
	if (net->kernel != NULL) {
		net_kernel_quiesce(net->kernel);
	}
}

static void resume(struct virtio_dev *dev)
{
	struct net *net = to_net(dev);

	if (net->kernel != NULL) {
		net_kernel_resume(net->kernel);
	}
}

static void destroy(struct virtio_dev *dev)
{
	net_free(to_net(dev));
}

const struct virtio_class net_class = {
	.type = VIRTIO_TYPE_NET,
	.name = "net",
	.metrics = &net_metric_group,
	VIRTIO_FEATURES(feature_names),
	.state = &class_state,
	.config_write = config_write,
	.activate = activate,
	.queue_ready = queue_ready,
	.next = next,
	.take = take,
	.fault = fault,
	.end_turn = end_turn,
	.reset = reset,
	.quiesce = quiesce,
	.resume = resume,
	.destroy = destroy,
};

/* --- Making and changing --- */

static int configure(struct net *net, const struct net_config *config, struct error *err)
{
	if (config->guest_mac != NULL &&
	    net_mac_parse(config->guest_mac, net->configured_mac, err) < 0) {
		return -1;
	}
	memcpy(net->dev.config + CONFIG_MAC, net->configured_mac, NET_MAC_LEN);
	store_le16(net->dev.config + CONFIG_MTU, config->mtu);
	store_le16(net->dev.config + CONFIG_PAIRS,
		   net->pair_count > 1 ? (uint16_t)net->pair_count : 0);
	return net_set_limits(net, config->has_rx_rate_limiter ? &config->rx_rate_limiter : NULL,
			      config->has_tx_rate_limiter ? &config->tx_rate_limiter : NULL, err);
}

static int build(struct net *net, const struct dev_env *env, const struct net_config *config,
		 struct error *err)
{
	struct virtio_params params = {
		.class = &net_class,
		.metrics = &net->metrics,
		.activate_fails = &net->metrics.activate_fails,
		.id = config->iface_id,
		.features = offered_features(net),
		.queue_count = net->pair_count * QUEUES + (net->pair_count > 1),
		.config_len = CONFIG_LEN,
	};

	limiter_init(&net->limiters[RX], env->loop, env->clock, on_rx_limiter);
	limiter_init(&net->limiters[TX], env->loop, env->clock, on_tx_limiter);
	if (virtio_init(&net->dev, env, &params, err) < 0) {
		return -1;
	}
	if (net->stream != NULL) {
		store_le16(net->dev.config + CONFIG_STATUS, LINK_UP);
		return net_stream_start(net->stream, env->loop, err) < 0
			       ? -1
			       : configure(net, config, err);
	}
	if (config->vhost) {
		return net_kernel_new(net, net->pairs[0].tap_source.fd, &net->kernel, err) < 0
			       ? -1
			       : configure(net, config, err);
	}
	for (unsigned i = 0; i < net->pair_count; i++) {
		if (ev_add(env->loop, &net->pairs[i].tap_source, 0, err) < 0) {
			return -1;
		}
	}
	return configure(net, config, err);
}

static struct net *allocate(const struct net_config *config, unsigned pairs, struct error *err)
{
	struct net *net = calloc(1, sizeof(*net) + pairs * sizeof(net->pairs[0]));

	if (net == NULL) {
		(void)error_sys(err, "Cannot allocate the network device");
		return NULL;
	}
	net->mtu = config->mtu;
	net->has_mac = config->guest_mac != NULL;
	net->pair_count = pairs;
	net_use_pairs(net, 1);
	for (unsigned i = 0; i < pairs; i++) {
		net->pairs[i].net = net;
		net->pairs[i].tap_source =
			(struct ev_source){.fd = -1, .fn = on_tap, .is_frozen_with_guest = true};
	}
	return net;
}

int net_new(const struct dev_env *env, const struct net_config *config, const struct net_tap *tap,
	    struct net **out, struct error *err)
{
	struct net *net = allocate(config, tap->count, err);

	if (net == NULL) {
		return -1;
	}
	for (unsigned i = 0; i < tap->count; i++) {
		net->pairs[i].tap_source.fd = tap->fd[i];
	}
	net->tap_ops = tap->ops != NULL ? tap->ops : &net_tap_host;
	net->port = &net_tap_port_ops;
	net->offloads_known = net->tap_ops->probe_offloads(tap->fd[0]);
	if (build(net, env, config, err) < 0) {
		net_free(net);
		return -1;
	}
	*out = net;
	return 0;
}

int net_new_stream(const struct dev_env *env, const struct net_config *config, int *connection,
		   struct net **out, struct error *err)
{
	struct net *net = allocate(config, 1, err);

	if (net == NULL) {
		return -1;
	}
	net->port = &net_stream_port_ops;
	if (net_stream_new(net, config->backend.socket, connection, &net->stream, err) < 0 ||
	    build(net, env, config, err) < 0) {
		net_free(net);
		return -1;
	}
	*out = net;
	return 0;
}

void net_free(struct net *net)
{
	if (net == NULL) {
		return;
	}
	for (unsigned i = 0; i < net->pair_count; i++) {
		ev_del(net->dev.loop, &net->pairs[i].tap_source);
	}
	net_stream_free(net->stream);
	net_kernel_free(net->kernel);
	net->kernel = NULL;
	virtio_destroy(&net->dev);
	limiter_destroy(&net->limiters[RX]);
	limiter_destroy(&net->limiters[TX]);
	net_mmds_free(net);
	free(net);
}

struct virtio_dev *net_virtio(struct net *net)
{
	return &net->dev;
}

struct net_metrics *net_metrics(struct net *net)
{
	return &net->metrics;
}

/* What the old limits held back is tried again at once. */
int net_set_limits(struct net *net, const struct limiter_config *rx,
		   const struct limiter_config *tx, struct error *err)
{
	int result = 0;

	virtio_lock(&net->dev);
	if (rx != NULL) {
		result = limiter_configure(&net->limiters[RX], rx, err);
	}
	if (result == 0 && tx != NULL) {
		result = limiter_configure(&net->limiters[TX], tx, err);
	}
	if (net->dev.is_active) {
		for (unsigned i = 0; i < net->dev.queue_count; i++) {
			virtio_kick(&net->dev, i);
		}
	}
	virtio_unlock(&net->dev);
	return result;
}

int net_mac_parse(char *text, uint8_t mac[NET_MAC_LEN], struct error *err)
{
	enum {
		GROUP = 3,
		LEN = NET_MAC_LEN * GROUP - 1
	};
	bool is_good = strlen(text) == LEN;

	for (size_t i = 0; is_good && i < LEN; i++) {
		is_good = i % GROUP == GROUP - 1 ? text[i] == ':'
						 : isxdigit((unsigned char)text[i]) != 0;
	}
	if (!is_good) {
		/* With a full stop: the reader's position follows it [compat]. */
		return error_set(err, ERR_BAD_REQUEST, "The provided MAC address is invalid.");
	}
	for (size_t i = 0; i < NET_MAC_LEN; i++) {
		mac[i] = (uint8_t)strtoul(text + i * GROUP, NULL, 16);
	}
	for (size_t i = 0; i < LEN; i++) {
		text[i] = (char)tolower((unsigned char)text[i]);
	}
	return 0;
}

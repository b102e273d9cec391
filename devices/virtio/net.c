/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device [virtio-1.2 §5.1] on a TAP.
 *
 * Theory of operation
 *
 * Both directions are served in steps, each of which takes one chain or moves one frame, until
 * there is nothing to do, something to wait for, or the budget is used up; then the queue is put
 * behind the other sources of the loop. What a direction waits for is one of
 *
 *   the driver   the queue is empty: the kick is armed, and asked for only then
 *   the TAP      nothing to read, or no room to write: an edge of its source
 *   the limiter  its timer
 *
 * The TAP's source is edge-triggered, so its mask never changes while the device is active, and
 * neither a guest without buffers nor a host that floods it makes the loop spin. An edge comes once
 * only: is_tap_readable keeps it until a read has found the TAP empty. Whatever else ends a round
 * of reading (no buffers, no budget, the limiter) has its own event, and is_tap_readable makes that
 * one go on where the round ended.
 *
 * Receiving. A frame is read when buffers for the longest possible one are held (net_rx.c), as its
 * length is not known before. The limiter is therefore asked twice: it is not blocked before the
 * read, and pays for the frame after. If it doesn't, the frame stays in the guest's buffers
 * (rx_pending), of which the guest does not know yet.
 *
 * Transmitting. A frame is written from the guest's buffers as it is; the kernel judges its header.
 * If the TAP has no room, the chain stays in the queue until it has. Firecracker drops such a
 * frame; holding it back instead lets the guest's own queue shape its traffic. It happens only
 * where whoever made the TAP has limited its send buffer (TUNSETSNDBUF), which asks for just that.
 */
#include "devices/virtio/net.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "devices/virtio/net_rx.h"
#include "devices/virtio/net_tap.h"
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
	F_GUEST_USO4 = 54,
	F_GUEST_USO6 = 55,
	F_HOST_USO = 56,
};

enum {
	RX = 0,
	TX = 1,
	QUEUES = 2,
};

/* The configuration [virtio-1.2 §5.1.4]; status and queue pairs are not offered and read 0. */
enum {
	CONFIG_MAC = 0,
	CONFIG_MTU = 10,
	CONFIG_LEN = 12,
};

enum {
	/* Without offloads: the header, Ethernet's, and an MTU of 1500 [virtio-1.2 §5.1.6.3.1]. */
	FRAME_PLAIN_MAX = 1526,
	ETHERNET_LEN = 18, /* destination, source, VLAN, type */
	SOURCE_MAC = NET_HEADER_LEN + NET_MAC_LEN,
};

/* Steps per turn: some milliseconds at most, with the longest frames. */
enum {
	RX_BUDGET = 256,
	TX_BUDGET = 64,
	DISCARD_MAX = 4096, /* frames; the queue of a TAP has 1000 unless configured */
	READ_FAILURES_MAX = 16,
};

enum step {
	STEP_GO,     /* and there may be more to do */
	STEP_EMPTY,  /* the queue is */
	STEP_WAIT,   /* for something that has an event of its own */
	STEP_BROKEN, /* the queue is */
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

const struct metric_group net_metric_group = {METRIC_GROUP("net", metric_fields)};

struct net {
	struct virtio_dev dev;

	/* immutable */
	struct net_tap tap;
	uint32_t offloads_known; /* NET_OFFLOAD_*, by the host */
	uint16_t mtu;		 /* 0: none */

	struct net_metrics metrics;  /* shared */
	struct log_limit failures;   /* of the TAP: shared */
	struct ev_source tap_source; /* of the VMM thread */
	struct limiter limiters[QUEUES];

	/* under dev.lock */
	bool has_mac;
	uint32_t offloads; /* in force */
	bool is_tap_readable;
	bool is_tap_full;	/* transmitting waits for it */
	unsigned read_failures; /* in a row */
	int write_failure;	/* why the last frame could not be written; 0: it could */

	struct net_rx rx;
	uint32_t rx_wanted;  /* bytes of buffers to collect before a read */
	uint32_t rx_least;   /* bytes that do if there are no more */
	bool is_rx_full;     /* no more of them can be had for this read */
	uint32_t rx_pending; /* bytes of a frame that is read and not delivered; 0: none */

	/* of the step under way */
	struct virtq_chain chain;
	struct iovec tx_iov[VIRTQ_IOV_MAX];
};

static struct net *to_net(struct virtio_dev *dev)
{
	return container_of(dev, struct net, dev);
}

static struct virtq *queue(struct net *net, unsigned index)
{
	return &net->dev.queues[index].vq;
}

/* Gives the chain of this step back unused. */
static enum step refuse_chain(struct net *net, unsigned index, struct metric *metric)
{
	metric_add(metric, 1);
	virtq_push(queue(net, index), net->chain.head, 0);
	return STEP_GO;
}

/* What a failure of the TAP means, as far as it tells. */
static const char *explain_tap(int sys)
{
	switch (sys) {
	case EBADFD:
		return "; its TAP was deleted, so it is dead until the microVM is started anew";
	case EIO:
		return "; its frames are dropped until the TAP is set up";
	default:
		return "";
	}
}

/* --- Receiving --- */

/*
 * A driver that can't give enough buffers must not stop its traffic: short frames fit. It can't if
 * the whole queue is in our hands, or if its buffers are crumbs of which a readv takes no more.
 */
static bool has_enough_buffers(const struct net *net)
{
	const struct net_rx *rx = &net->rx;

	return rx->count > 0 && (rx->len >= net->rx_wanted || net->is_rx_full ||
				 rx->count >= net->dev.queues[RX].config.size);
}

static enum step take_buffer(struct net *net)
{
	struct virtq *vq = queue(net, RX);

	switch (virtq_pop(vq, &net->chain)) {
	case VIRTQ_EMPTY:
		net->is_rx_full = net->rx.len >= net->rx_least;
		metric_add(&net->metrics.no_rx_avail_buffer, !net->is_rx_full);
		return net->is_rx_full ? STEP_GO : STEP_EMPTY;
	case VIRTQ_BROKEN:
		return STEP_BROKEN;
	case VIRTQ_BAD:
		return refuse_chain(net, RX, &net->metrics.rx_fails);
	case VIRTQ_OK:
		break;
	}
	/* Each buffer has room for a header at least [virtio-1.2 §5.1.6.3.1]. */
	if (net->chain.readable > 0 || net->chain.write_len < NET_HEADER_LEN) {
		return refuse_chain(net, RX, &net->metrics.rx_fails);
	}
	if (!net_rx_add(&net->rx, net->dev.mem, &net->chain)) {
		virtq_undo_pop(vq);
		net->is_rx_full = true;
	}
	return STEP_GO;
}

static enum step deliver_frame(struct net *net)
{
	if (!limiter_take(&net->limiters[RX], net->rx_pending)) {
		metric_add(&net->metrics.rx_rate_limiter_throttled, 1);
		return STEP_WAIT;
	}
	net_rx_deliver(&net->rx, net->dev.mem, queue(net, RX), net->rx_pending);
	net->rx_pending = 0;
	return STEP_GO;
}

/*
 * An error mostly takes its frame with it, so the next one is tried; but an interface that was
 * deleted fails for ever.
 */
static enum step fail_read(struct net *net, int sys)
{
	if (sys == EAGAIN) {
		net->is_tap_readable = false;
		return STEP_WAIT;
	}
	metric_add(&net->metrics.tap_read_fails, 1);
	metric_add(&net->metrics.event_fails, 1);
	net->read_failures++;
	if (net->read_failures == 1) {
		log_limited_warn(&net->failures,
				 "Failed to read tap of interface %s: %s (os error %d)%s",
				 net->dev.id, error_os_text(sys), sys, explain_tap(sys));
	}
	if (net->read_failures < READ_FAILURES_MAX) {
		return STEP_GO;
	}
	net->read_failures = 0;
	net->is_tap_readable = false;
	return STEP_WAIT;
}

static enum step read_frame(struct net *net)
{
	size_t count;
	const struct iovec *iov = net_rx_iov(&net->rx, &count);
	ssize_t got = readv(net->tap.fd, iov, (int)count);

	net->is_rx_full = false;
	if (got <= 0) {
		return fail_read(net, got < 0 ? errno : EIO);
	}
	net->read_failures = 0;
	if (got < NET_HEADER_LEN || (uint64_t)got > net->rx.len) {
		metric_add(&net->metrics.rx_fails, 1);
		return STEP_GO;
	}
	metric_add(&net->metrics.rx_count, 1);
	metric_add(&net->metrics.rx_packets_count, 1);
	metric_add(&net->metrics.rx_bytes_count, (uint64_t)got);
	net->rx_pending = (uint32_t)got;
	return deliver_frame(net);
}

static enum step receive_step(struct net *net)
{
	if (net->rx_pending > 0) {
		return deliver_frame(net);
	}
	if (!net->is_tap_readable) {
		return STEP_WAIT;
	}
	if (net->limiters[RX].is_blocked) {
		metric_add(&net->metrics.rx_rate_limiter_throttled, 1);
		return STEP_WAIT;
	}
	return has_enough_buffers(net) ? read_frame(net) : take_buffer(net);
}

/* --- Transmitting --- */

/* The guest may send what it likes, from any address; that is only counted. */
static void check_source(struct net *net)
{
	uint8_t source[NET_MAC_LEN];

	if (net->has_mac &&
	    virtq_chain_read(net->dev.mem, &net->chain, SOURCE_MAC, source, sizeof(source)) == 0 &&
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
				 "Failed to write to tap of interface %s: %s (os error %d)%s",
				 net->dev.id, error_os_text(sys), sys, explain_tap(sys));
	}
}

/* False if the TAP has no room for it. */
static bool write_frame(struct net *net)
{
	const struct clock *clock = net->dev.clock;
	struct virtq_span span = {.side = VIRTQ_READABLE, .len = net->chain.read_len};
	struct virtq_iov frame = {.iov = net->tx_iov, .cap = ARRAY_COUNT(net->tx_iov)};

	if (virtq_chain_iov(net->dev.mem, &net->chain, span, &frame) < 0) {
		metric_add(&net->metrics.tx_fails, 1);
		return true;
	}
	uint64_t start_ns = clock->now_ns(CLOCK_MONOTONIC);
	ssize_t put = writev(net->tap.fd, frame.iov, (int)frame.count);
	int sys = errno;

	if (put < 0 && sys == EAGAIN) {
		return false;
	}
	metric_latency_add(&net->metrics.tap_write_agg,
			   (clock->now_ns(CLOCK_MONOTONIC) - start_ns) / 1000);
	check_source(net);
	if (put < 0) {
		fail_write(net, sys);
		return true;
	}
	net->write_failure = 0;
	metric_add(&net->metrics.tx_bytes_count, span.len);
	metric_add(&net->metrics.tx_packets_count, 1);
	metric_add(&net->metrics.tx_count, 1);
	return true;
}

/* Sends the chain of this step to the TAP, as far as the limiter and the TAP let it. */
static enum step send_to_tap(struct net *net)
{
	uint32_t len = net->chain.read_len;

	if (!limiter_take(&net->limiters[TX], len)) {
		metric_add(&net->metrics.tx_rate_limiter_throttled, 1);
		virtq_undo_pop(queue(net, TX));
		return STEP_WAIT;
	}
	if (!write_frame(net)) {
		limiter_put_back(&net->limiters[TX], len);
		virtq_undo_pop(queue(net, TX));
		net->is_tap_full = true;
		return STEP_WAIT;
	}
	virtq_push(queue(net, TX), net->chain.head, 0);
	return STEP_GO;
}

static enum step transmit_step(struct net *net)
{
	struct virtq *vq = queue(net, TX);

	switch (virtq_pop(vq, &net->chain)) {
	case VIRTQ_EMPTY:
		return STEP_EMPTY;
	case VIRTQ_BROKEN:
		return STEP_BROKEN;
	case VIRTQ_BAD:
		return refuse_chain(net, TX, &net->metrics.tx_fails);
	case VIRTQ_OK:
		break;
	}
	metric_add(&net->metrics.tx_remaining_reqs_count, virtq_pending(vq));
	if (net->chain.write_len > 0) {
		return refuse_chain(net, TX, &net->metrics.tx_fails);
	}
	if (net->chain.read_len < NET_HEADER_LEN || net->chain.read_len > NET_FRAME_MAX) {
		return refuse_chain(net, TX, &net->metrics.tx_malformed_frames);
	}
	return send_to_tap(net);
}

/* --- Events --- */

typedef enum step step_fn(struct net *net);

/* Takes steps until one waits or the budget is used up. Under the lock, VMM thread. */
static void serve(struct net *net, unsigned index, step_fn *take_step, unsigned budget)
{
	struct virtq *vq = queue(net, index);
	enum step step = STEP_GO;

	if (!net->dev.is_active) {
		return;
	}
	virtq_disarm_kick(vq);
	for (; step == STEP_GO && budget > 0; budget--) {
		step = take_step(net);
		if (step == STEP_EMPTY && virtq_arm_kick(vq)) {
			step = STEP_GO;
		}
	}
	virtio_publish(&net->dev, index);
	if (step == STEP_BROKEN) {
		net_rx_clear(&net->rx);
		net->rx_pending = 0;
		virtio_break(&net->dev, index);
	} else if (step == STEP_GO) {
		virtio_requeue(&net->dev, index);
	}
}

static void receive(struct net *net)
{
	serve(net, RX, receive_step, RX_BUDGET);
}

static void transmit(struct net *net)
{
	serve(net, TX, transmit_step, TX_BUDGET);
}

static void queue_ready(struct virtio_dev *dev, unsigned index)
{
	struct net *net = to_net(dev);

	/* Asked for once, the first time: changes nothing afterwards. */
	ev_mod(dev->loop, &net->tap_source, EPOLLIN | EPOLLOUT | EPOLLET);
	if (index == RX) {
		metric_add(&net->metrics.rx_queue_event_count, 1);
		receive(net);
		return;
	}
	metric_add(&net->metrics.tx_queue_event_count, 1);
	if (virtq_pending(queue(net, TX)) == 0) {
		metric_add(&net->metrics.no_tx_avail_buffer, 1);
	}
	transmit(net);
}

static void tap_ready(struct ev_source *source, uint32_t ready)
{
	struct net *net = container_of(source, struct net, tap_source);

	virtio_lock(&net->dev);
	if (!net->dev.is_active) {
		/* Activation assumes that there is something to read. */
		ev_mod(net->dev.loop, source, 0);
	} else {
		if ((ready & ~(uint32_t)EPOLLOUT) != 0) {
			metric_add(&net->metrics.rx_tap_event_count, 1);
			net->is_tap_readable = true;
			receive(net);
		}
		if (net->is_tap_full && (ready & ~(uint32_t)EPOLLIN) != 0) {
			net->is_tap_full = false;
			transmit(net);
		}
	}
	virtio_unlock(&net->dev);
}

static void rx_limiter_ready(struct ev_source *source, uint32_t ready)
{
	struct net *net = container_of(source, struct net, limiters[RX].timer);

	(void)ready;
	virtio_lock(&net->dev);
	metric_add(&net->metrics.rx_event_rate_limiter_count, 1);
	if (limiter_drain(&net->limiters[RX])) {
		receive(net);
	}
	virtio_unlock(&net->dev);
}

static void tx_limiter_ready(struct ev_source *source, uint32_t ready)
{
	struct net *net = container_of(source, struct net, limiters[TX].timer);

	(void)ready;
	virtio_lock(&net->dev);
	metric_add(&net->metrics.tx_rate_limiter_event_count, 1);
	if (limiter_drain(&net->limiters[TX])) {
		transmit(net);
	}
	virtio_unlock(&net->dev);
}

/* --- The device --- */

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

/* What the guest may leave to the host, every kernel that KVM runs on can do; but for USO. */
static uint64_t offered_features(const struct net *net)
{
	uint64_t features = bit(F_CSUM) | bit(F_HOST_TSO4) | bit(F_HOST_TSO6) | bit(F_HOST_UFO) |
			    bit(F_MRG_RXBUF);

	for (size_t i = 0; i < ARRAY_COUNT(guest_offloads); i++) {
		if ((net->offloads_known & guest_offloads[i].offload) != 0) {
			features |= bit(guest_offloads[i].feature);
		}
	}
	features |= (net->offloads_known & NET_OFFLOAD_USO) != 0 ? bit(F_HOST_USO) : 0;
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

/*
 * Without merging, a frame has one chain, however long; the surplus tells if it was too short. With
 * it, what the host cuts to its MTU needs no more than one such frame at the least.
 */
static void set_wanted_buffers(struct net *net)
{
	uint32_t plain = NET_HEADER_LEN + ETHERNET_LEN + net->mtu;

	if (!virtio_has(&net->dev, F_MRG_RXBUF)) {
		net->rx_wanted = NET_HEADER_LEN;
		net->rx_least = NET_HEADER_LEN;
		return;
	}
	net->rx_wanted = NET_FRAME_MAX;
	net->rx_least = (uint32_t)max_u64(plain, FRAME_PLAIN_MAX);
	if ((net->offloads & ~(uint32_t)NET_OFFLOAD_CSUM) != 0) {
		net->rx_least = NET_FRAME_MAX;
	}
}

static int activate(struct virtio_dev *dev, struct error *err)
{
	struct net *net = to_net(dev);
	uint32_t offloads = acked_offloads(net);

	if (offloads != 0 && net->tap.ops->set_offloads(net->tap.fd, offloads, err) < 0) {
		return error_wrap(err, "Setting tap interface offload flags failed");
	}
	net->offloads = offloads;
	set_wanted_buffers(net);
	net->is_tap_readable = true;
	return 0;
}

/* The next driver may not know what to do with the frames that wait for the last one's offloads. */
static void drop_offloads(struct net *net)
{
	uint8_t frame[NET_HEADER_LEN];
	struct error err = {0};

	if (net->offloads == 0) {
		return;
	}
	net->offloads = 0;
	if (net->tap.ops->set_offloads(net->tap.fd, 0, &err) < 0) {
		log_guest_warn("Interface %s: %s", net->dev.id, err.msg);
	}
	for (unsigned i = 0; i < DISCARD_MAX; i++) {
		if (read(net->tap.fd, frame, sizeof(frame)) < 0) {
			break;
		}
	}
}

static void forget_frames(struct net *net)
{
	net_rx_clear(&net->rx);
	net->rx_pending = 0;
	net->is_rx_full = false;
	net->is_tap_full = false;
	net->read_failures = 0;
}

static void reset(struct virtio_dev *dev)
{
	struct net *net = to_net(dev);

	forget_frames(net);
	drop_offloads(net);
}

static const struct virtio_ops ops = {
	.type = VIRTIO_TYPE_NET,
	.name = "net",
	.config_write = config_write,
	.activate = activate,
	.queue_ready = queue_ready,
	.reset = reset,
};

static int configure(struct net *net, const struct net_config *config, struct error *err)
{
	uint8_t mac[NET_MAC_LEN] = {0};

	if (config->guest_mac != NULL) {
		if (net_mac_parse(config->guest_mac, mac, err) < 0) {
			return -1;
		}
		memcpy(net->dev.config + CONFIG_MAC, mac, sizeof(mac));
	}
	store_le16(net->dev.config + CONFIG_MTU, config->mtu);
	return net_set_limits(net, config->has_rx_rate_limiter ? &config->rx_rate_limiter : NULL,
			      config->has_tx_rate_limiter ? &config->tx_rate_limiter : NULL, err);
}

static int attach(struct net *net, const struct dev_env *env, const struct net_config *config,
		  struct error *err)
{
	struct virtio_params params = {
		.ops = &ops,
		.activate_fails = &net->metrics.activate_fails,
		.id = config->iface_id,
		.features = offered_features(net),
		.queue_count = QUEUES,
		.config_len = CONFIG_LEN,
	};
	static const ev_fn timers[QUEUES] = {[RX] = rx_limiter_ready, [TX] = tx_limiter_ready};

	if (virtio_init(&net->dev, env, &params, err) < 0) {
		return -1;
	}
	for (unsigned i = 0; i < QUEUES; i++) {
		if (limiter_init(&net->limiters[i], env->loop, env->clock, timers[i], err) < 0) {
			return -1;
		}
	}
	net->tap_source = (struct ev_source){
		.fd = net->tap.fd,
		.fn = tap_ready,
		.is_frozen_with_guest = true,
	};
	return ev_add(env->loop, &net->tap_source, 0, err);
}

int net_new_on(const struct dev_env *env, const struct net_config *config,
	       const struct net_tap *tap, struct net **out, struct error *err)
{
	struct net *net = calloc(1, sizeof(*net));

	if (net == NULL) {
		return error_sys(err, "Cannot allocate the network device");
	}
	net->tap = *tap;
	net->offloads_known = tap->ops->probe_offloads(tap->fd);
	net->mtu = config->mtu;
	net->has_mac = config->guest_mac != NULL;
	if (attach(net, env, config, err) < 0 || configure(net, config, err) < 0) {
		net_free(net);
		return -1;
	}
	*out = net;
	return 0;
}

int net_new(const struct dev_env *env, const struct net_config *config, int tap, struct net **out,
	    struct error *err)
{
	return net_new_on(env, config, &(struct net_tap){.fd = tap, .ops = &net_tap_host}, out,
			  err);
}

void net_free(struct net *net)
{
	if (net == NULL) {
		return;
	}
	ev_del(net->dev.loop, &net->tap_source);
	virtio_destroy(&net->dev);
	limiter_destroy(&net->limiters[RX]);
	limiter_destroy(&net->limiters[TX]);
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
		virtio_requeue(&net->dev, RX);
		virtio_requeue(&net->dev, TX);
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

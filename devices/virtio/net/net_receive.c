/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving of the network device: from its port to the guest.
 *
 * Theory of operation. A TAP's frame is read when buffers for the longest possible one are held
 * (net_rx.c), as its length is not known before. The limiter is therefore asked twice: it is not
 * blocked before the read, and pays for the frame after. If it doesn't, the frame stays in the
 * guest's buffers (rx_pending), of which the guest does not know yet.
 *
 * A port that can look at its frames (`peek`) tells the length before: then as many buffers are
 * taken as the frame needs, and it is copied into each as it is taken.
 */
#include "devices/virtio/net/net_internal.h"

#include <errno.h>

#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

enum {
	/* Without offloads: the header, Ethernet's, and an MTU of 1500 [virtio-1.2 §5.1.6.3.1]. */
	FRAME_PLAIN_MAX = 1526,
	ETHERNET_LEN = 18, /* destination, source, VLAN, type */
	FAILURES_MAX = 16, /* of reads in a row, until the port's next event */
};

/*
 * Traffic goes on if the driver can't give enough buffers: short frames fit. That is so if the
 * device holds the whole queue, or if the buffers are so small that readv takes no more of them.
 */
static bool has_enough_buffers(struct net_pair *pair)
{
	const struct net *net = pair->net;
	const struct net_rx *rx = &pair->rx;
	struct virtq *vq = net_pair_queue(pair, RX);

	if (rx->count == 0) {
		return false;
	}
	if (pair->rx_frame != NULL && rx->len >= pair->rx_frame_len) {
		return true;
	}
	return rx->len >= net->rx_wanted || pair->is_rx_full || rx->count >= vq->size ||
	       (pair->rx_frame == NULL && rx->len >= net->rx_least && virtq_pending(vq) == 0);
}

/* Frames of the metadata service go by way of the first pair, which every driver uses. */
static bool has_mmds_frame(struct net_pair *pair)
{
	struct net *net = pair->net;

	return net->mmds != NULL && pair == &net->pairs[0] && net_mmds_has_frame(net);
}

/*
 * A chain is of no use as a buffer. Those that are held go first, so that what is held is always
 * what was taken last, and can go back to the queue.
 */
void net_receive_refuse(struct net_pair *pair)
{
	struct net *net = pair->net;

	metric_add(&net->metrics.rx_fails, 1);
	net_rx_return(&pair->rx, net_pair_queue(pair, RX));
}

enum virtio_step net_receive_take(struct net_pair *pair, const struct virtq_chain *chain)
{
	struct net *net = pair->net;

	if (has_mmds_frame(pair)) {
		return net_mmds_deliver(net, chain);
	}
	/* Each buffer has room for a header at least [virtio-1.2 §5.1.6.3.1]. */
	if (chain->readable > 0 || chain->write_len < NET_HEADER_LEN) {
		net_receive_refuse(pair);
		virtq_push(net_pair_queue(pair, RX), chain->head, 0);
		return VIRTIO_DONE;
	}
	uint64_t before = pair->rx.len;

	if (!net_rx_add(&pair->rx, net->dev.mem, chain)) {
		pair->is_rx_full = true;
		return VIRTIO_BACK;
	}
	if (pair->rx_frame != NULL && before < pair->rx_frame_len) {
		/* It was RAM when the chain was checked, and RAM doesn't go away. */
		(void)!virtq_chain_write(net->dev.mem, chain, 0, pair->rx_frame + before,
					 min_u64(pair->rx_frame_len - before, chain->write_len));
	}
	return VIRTIO_DONE;
}

static void deliver_frame(struct net_pair *pair)
{
	struct net *net = pair->net;

	net_rx_deliver(&pair->rx, net->dev.mem, net_pair_queue(pair, RX), pair->rx_pending);
	pair->rx_pending = 0;
}

/* False if the limiter has to be waited for. */
static bool pay(struct net *net, uint32_t bytes)
{
	bool is_paid = limiter_take(&net->limiters[RX], bytes);

	metric_add(&net->metrics.rx_rate_limiter_throttled, !is_paid);
	return is_paid;
}

/* Delivers the frame that was read, once the limiter lets it. */
static enum virtio_step pay_frame(struct net_pair *pair)
{
	struct net *net = pair->net;

	if (!pay(net, pair->rx_pending)) {
		return VIRTIO_WAIT;
	}
	deliver_frame(pair);
	return VIRTIO_DONE;
}

/*
 * Finds the port that a pair reads next: its own, or that of a pair that is not in use. They take
 * turns; each such port is one pair's. False if none has anything.
 */
static bool find_port(struct net_pair *pair)
{
	const struct net *net = pair->net;
	unsigned own = (unsigned)(pair - net->pairs);
	unsigned at = pair->from;

	do {
		at = at + net->pairs_in_use < net->pair_count ? at + net->pairs_in_use : own;
		if (net->pairs[at].is_port_readable) {
			pair->from = at;
			return true;
		}
	} while (at != pair->from);
	return false;
}

/* The port that was read has nothing more for now. */
static enum virtio_step end_reading(struct net_pair *pair)
{
	pair->net->pairs[pair->from].is_port_readable = false;
	return find_port(pair) ? VIRTIO_DONE : VIRTIO_WAIT;
}

/*
 * An error mostly takes its frame with it, so the next one is tried; but an interface that was
 * deleted fails for ever.
 */
static enum virtio_step fail_read(struct net_pair *pair, int sys)
{
	struct net *net = pair->net;

	if (sys == EAGAIN) {
		return end_reading(pair);
	}
	metric_add(&net->metrics.tap_read_fails, 1);
	metric_add(&net->metrics.event_fails, 1);
	pair->read_failures++;
	if (pair->read_failures == 1) {
		log_limited_warn(&net->failures,
				 "Failed to read %s of interface %s: %s (os error %d)%s",
				 net->port->name, net->dev.id, error_os_text(sys), sys,
				 net->port->explain(sys));
	}
	if (pair->read_failures < FAILURES_MAX) {
		return VIRTIO_DONE;
	}
	pair->read_failures = 0;
	return end_reading(pair);
}

static enum virtio_step read_frame(struct net_pair *pair)
{
	struct net *net = pair->net;
	size_t count;
	const struct iovec *iov = net_rx_iov(&pair->rx, &count);
	ssize_t got = net->port->receive(&net->pairs[pair->from], iov, count);

	pair->is_rx_full = false;
	if (got < 0) {
		return fail_read(pair, (int)-got);
	}
	pair->read_failures = 0;
	if (got < NET_HEADER_LEN || (uint64_t)got > pair->rx.len) {
		metric_add(&net->metrics.rx_fails, 1);
		if (pair->rx_frame != NULL) {
			/* The next frame is copied from the first buffer on. */
			net_rx_rewind(&pair->rx, net_pair_queue(pair, RX));
		}
		return VIRTIO_DONE;
	}
	metric_add(&net->metrics.rx_count, 1);
	metric_add(&net->metrics.rx_packets_count, 1);
	metric_add(&net->metrics.rx_bytes_count, (uint64_t)got);
	pair->rx_pending = (uint32_t)got;
	return pay_frame(pair);
}

enum virtio_step net_receive_next(struct net_pair *pair)
{
	struct net *net = pair->net;

	if (has_mmds_frame(pair)) {
		net_receive_quiesce(pair); /* no chain is held before the one that is wanted */
		return VIRTIO_TAKE;
	}
	if (pair->rx_pending > 0) {
		return pay_frame(pair);
	}
	if (!find_port(pair)) {
		return VIRTIO_WAIT;
	}
	if (net->limiters[RX].is_blocked) {
		metric_add(&net->metrics.rx_rate_limiter_throttled, 1);
		return VIRTIO_WAIT;
	}
	if (net->rx_unpaid > 0 && !pay(net, net->rx_unpaid)) {
		return VIRTIO_WAIT;
	}
	net->rx_unpaid = 0;
	if (net->port->peek != NULL) {
		ssize_t len = net->port->peek(pair, &pair->rx_frame);

		if (len <= 0) {
			pair->rx_frame = NULL;
			return len < 0 ? fail_read(pair, (int)-len) : VIRTIO_DONE;
		}
		pair->rx_frame_len = (uint32_t)len;
	}
	if (has_enough_buffers(pair)) {
		return read_frame(pair);
	}
	metric_add(&net->metrics.no_rx_avail_buffer, virtq_pending(net_pair_queue(pair, RX)) == 0);
	return VIRTIO_TAKE;
}

/* --- Starting and ending --- */

/*
 * Without merging, a frame has one chain, however long; the surplus tells if it was too short. With
 * it, what the host cuts to its MTU needs no more than one such frame at the least.
 */
static void set_wanted(struct net *net, bool is_merged)
{
	uint32_t plain = NET_HEADER_LEN + ETHERNET_LEN + net->mtu;

	if (!is_merged) {
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

void net_receive_start(struct net *net, bool is_merged)
{
	set_wanted(net, is_merged);
	for (unsigned i = 0; i < net->pair_count; i++) {
		net->pairs[i].is_port_readable = true;
	}
}

void net_use_pairs(struct net *net, unsigned count)
{
	net->pairs_in_use = count;
	for (unsigned i = 0; i < net->pair_count; i++) {
		net->pairs[i].from = i;
		net->pairs[i].is_port_full = false;
	}
}

void net_receive_forget(struct net_pair *pair)
{
	net_rx_clear(&pair->rx);
	pair->rx_frame = NULL;
	pair->rx_pending = 0;
	pair->is_rx_full = false;
	pair->read_failures = 0;
}

/*
 * A frame that is read and not paid for is in buffers of the guest's already: it is delivered, and
 * paid for before the next one is read. The buffers behind it go back to the queue.
 */
void net_receive_quiesce(struct net_pair *pair)
{
	struct net *net = pair->net;

	if (pair->rx_pending > 0) {
		net->rx_unpaid += pair->rx_pending;
		deliver_frame(pair);
		virtio_publish(&net->dev, net_index(pair, RX));
	}
	net_rx_rewind(&pair->rx, net_pair_queue(pair, RX));
	pair->is_rx_full = false;
}

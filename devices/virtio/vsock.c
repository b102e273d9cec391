/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device: its queues and its life.
 *
 * Theory of operation
 *
 * Three queues [virtio-1.2 §5.10.2]: packets for the guest, packets from it, and events, whose
 * buffers stay where they are until there is an event. Chains are given back in the order in which
 * they came, one at a time, which is why IN_ORDER can be offered.
 *
 * Both directions work off what is there up to a limit of bytes per call, then queue up again
 * behind the other sources of the loop. Each can be held up by something else: packets for the
 * guest by its lack of buffers, then the queue's notification is armed; packets from the guest by
 * a full queue of answers, which empties when the first gets on.
 *
 * All of that, and every socket, is the VMM thread's, under the device's lock. A reset comes on a
 * vCPU thread, which must not touch the event loop. It only says that the connections are to be
 * closed, in is_stale, and wakes the VMM thread; since every handler looks at that first (enter),
 * no connection of a former life ever meets the queues of the next. Clients of the host are
 * accepted while there is a driver; before, they wait in the listener's backlog.
 */
#include "devices/virtio/vsock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/virtio/vsock_mux.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

enum {
	QUEUE_RX, /* to the guest */
	QUEUE_TX,
	QUEUE_EVENT,
	QUEUES
};

enum {
	FEATURE_IN_ORDER = 35,
	CONFIG_LEN = 8,
	/* Work of one call; a packet counts for its payload and this much. */
	TURN_BYTES = 1024 * 1024,
	PACKET_BYTES = 1024,
};

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(vsock_metrics, activate_fails)},
	{METRIC_COUNT(vsock_metrics, cfg_fails)},
	{METRIC_COUNT(vsock_metrics, rx_queue_event_fails)},
	{METRIC_COUNT(vsock_metrics, tx_queue_event_fails)},
	{METRIC_COUNT(vsock_metrics, ev_queue_event_fails)},
	{METRIC_COUNT(vsock_metrics, muxer_event_fails)},
	{METRIC_COUNT(vsock_metrics, conn_event_fails)},
	{METRIC_COUNT(vsock_metrics, rx_queue_event_count)},
	{METRIC_COUNT(vsock_metrics, tx_queue_event_count)},
	{METRIC_ROW(vsock_metrics, rx_bytes_count, METRIC_COUNTER, METRIC_BYTES)},
	{METRIC_ROW(vsock_metrics, tx_bytes_count, METRIC_COUNTER, METRIC_BYTES)},
	{METRIC_COUNT(vsock_metrics, rx_packets_count)},
	{METRIC_COUNT(vsock_metrics, tx_packets_count)},
	{METRIC_COUNT(vsock_metrics, conns_added)},
	{METRIC_COUNT(vsock_metrics, conns_killed)},
	{METRIC_COUNT(vsock_metrics, conns_removed)},
	{METRIC_COUNT(vsock_metrics, killq_resync)},
	{METRIC_COUNT(vsock_metrics, tx_flush_fails)},
	{METRIC_COUNT(vsock_metrics, tx_write_fails)},
	{METRIC_COUNT(vsock_metrics, rx_read_fails)},
};

const struct metric_group vsock_metric_group = {METRIC_GROUP("vsock", metric_fields)};

struct vsock {
	struct virtio_dev dev;
	struct ev_source stale; /* its eventfd wakes the VMM thread after a reset */
	struct vsock_metrics metrics;
	/* under dev.lock, VMM thread only */
	struct vsock_mux mux;
	struct vsock_io io;
	bool is_tx_held; /* until there is room for answers */
	/* under dev.lock */
	bool is_stale;	/* the connections are of a driver that has gone */
	bool is_broken; /* a queue is: until the driver resets the device */
};

static struct vsock *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct vsock, dev);
}

/* What a former driver left behind goes. False if there is none now. */
static bool clean_up(struct vsock *vsock)
{
	bool is_served = vsock->dev.is_active && !vsock->is_broken;

	if (vsock->is_stale || !is_served) {
		vsock->is_stale = false;
		vsock->is_tx_held = false;
		vsock_mux_close_all(&vsock->mux);
	}
	vsock_mux_listen(&vsock->mux, is_served);
	return is_served;
}

static void mark_stale(struct vsock *vsock)
{
	vsock->is_stale = true;
	(void)!eventfd_write(vsock->stale.fd, 1);
}

static void on_stale(struct ev_source *source, uint32_t ready)
{
	struct vsock *vsock = container_of(source, struct vsock, stale);
	eventfd_t count;

	(void)ready;
	(void)!eventfd_read(source->fd, &count);
	virtio_lock(&vsock->dev);
	(void)clean_up(vsock);
	virtio_unlock(&vsock->dev);
}

/* --- the queues --- */

static void break_queue(struct vsock *vsock, unsigned index)
{
	virtio_break(&vsock->dev, index);
	vsock->is_broken = true;
	mark_stale(vsock);
}

/* Fills the chain just taken; how much work it was. */
static uint32_t fill_chain(struct vsock *vsock)
{
	struct virtq *vq = &vsock->dev.queues[QUEUE_RX].vq;
	uint32_t len = 0;

	if (vsock->io.chain.write_len < VSOCK_HEADER_LEN) {
		metric_add(&vsock->metrics.rx_queue_event_fails, 1);
		virtq_push(vq, vsock->io.chain.head, 0);
		return PACKET_BYTES;
	}
	if (vsock_mux_fill(&vsock->mux, &vsock->io, &len)) {
		metric_add(&vsock->metrics.rx_packets_count, 1);
		virtq_push(vq, vsock->io.chain.head, len);
	} else if (!vsock_mux_has_packet(&vsock->mux)) {
		virtq_undo_pop(vq);
	} else {
		/* It has no room for what there is. */
		metric_add(&vsock->metrics.rx_queue_event_fails, 1);
		virtq_push(vq, vsock->io.chain.head, 0);
	}
	return PACKET_BYTES + len;
}

static void send_to_guest(struct vsock *vsock)
{
	struct virtq *vq = &vsock->dev.queues[QUEUE_RX].vq;
	uint32_t work = 0;

	while (vsock_mux_has_packet(&vsock->mux)) {
		if (work >= TURN_BYTES) {
			virtio_requeue(&vsock->dev, QUEUE_RX);
			break;
		}
		enum virtq_result result = virtq_pop(vq, &vsock->io.chain);

		if (result == VIRTQ_OK) {
			work += fill_chain(vsock);
		} else if (result == VIRTQ_BAD) {
			metric_add(&vsock->metrics.rx_queue_event_fails, 1);
			virtq_push(vq, vsock->io.chain.head, 0);
			work += PACKET_BYTES;
		} else if (result == VIRTQ_BROKEN) {
			break_queue(vsock, QUEUE_RX);
			return;
		} else if (!virtq_arm_kick(vq)) {
			break;
		} else {
			work += PACKET_BYTES; /* a guest that takes it back could go on for ever */
		}
	}
	if (!vsock_mux_has_packet(&vsock->mux)) {
		virtq_disarm_kick(vq);
	}
	if (work > 0) {
		virtio_publish(&vsock->dev, QUEUE_RX);
	}
	if (vsock->is_tx_held && !vsock_mux_is_full(&vsock->mux)) {
		vsock->is_tx_held = false;
		virtio_requeue(&vsock->dev, QUEUE_TX);
	}
}

/* Takes in the chain just taken; how much work it was. */
static uint32_t take_chain(struct vsock *vsock)
{
	uint8_t bytes[VSOCK_HEADER_LEN];
	struct vsock_header header = {0};

	if (virtq_chain_read(vsock->dev.mem, &vsock->io.chain, 0, bytes, sizeof(bytes)) < 0) {
		metric_add(&vsock->metrics.tx_queue_event_fails, 1);
		return PACKET_BYTES;
	}
	vsock_header_decode(bytes, &header);
	metric_add(&vsock->metrics.tx_packets_count, 1);
	vsock_mux_receive(&vsock->mux, &header, &vsock->io);
	return PACKET_BYTES + (uint32_t)min_u64(header.len, VSOCK_PAYLOAD_MAX);
}

static void take_from_guest(struct vsock *vsock)
{
	struct virtq *vq = &vsock->dev.queues[QUEUE_TX].vq;
	uint32_t work = 0;

	virtq_disarm_kick(vq);
	while (true) {
		if (vsock_mux_is_full(&vsock->mux)) {
			vsock->is_tx_held = true;
			break;
		}
		if (work >= TURN_BYTES) {
			virtio_requeue(&vsock->dev, QUEUE_TX);
			break;
		}
		enum virtq_result result = virtq_pop(vq, &vsock->io.chain);

		if (result == VIRTQ_BROKEN) {
			break_queue(vsock, QUEUE_TX);
			return;
		}
		if (result == VIRTQ_EMPTY) {
			if (!virtq_arm_kick(vq)) {
				break;
			}
			work += PACKET_BYTES;
			continue;
		}
		if (result == VIRTQ_OK) {
			work += take_chain(vsock);
		} else {
			metric_add(&vsock->metrics.tx_queue_event_fails, 1);
			work += PACKET_BYTES;
		}
		virtq_push(vq, vsock->io.chain.head, 0);
	}
	if (work > 0) {
		virtio_publish(&vsock->dev, QUEUE_TX);
	}
}

static void queue_ready(struct virtio_dev *dev, unsigned index)
{
	struct vsock *vsock = from_dev(dev);

	(void)clean_up(vsock);
	switch (index) {
	case QUEUE_RX:
		metric_add(&vsock->metrics.rx_queue_event_count, 1);
		send_to_guest(vsock);
		break;
	case QUEUE_TX:
		metric_add(&vsock->metrics.tx_queue_event_count, 1);
		take_from_guest(vsock);
		send_to_guest(vsock);
		break;
	default: /* no event has been told yet: its buffers stay */
		break;
	}
}

/* On any thread: see the top. */
static void reset(struct virtio_dev *dev)
{
	struct vsock *vsock = from_dev(dev);

	vsock->is_broken = false;
	mark_stale(vsock);
}

static const struct virtio_ops ops = {
	.type = VIRTIO_TYPE_VSOCK,
	.name = "vsock",
	.queue_ready = queue_ready,
	.reset = reset,
};

/* --- what the multiplexer calls --- */

static bool owner_enter(void *arg)
{
	struct vsock *vsock = arg;

	virtio_lock(&vsock->dev);
	if (!clean_up(vsock)) {
		virtio_unlock(&vsock->dev);
		return false;
	}
	return true;
}

static void owner_serve(void *arg)
{
	send_to_guest(arg);
}

static void owner_leave(void *arg)
{
	struct vsock *vsock = arg;

	virtio_unlock(&vsock->dev);
}

/* --- life --- */

int vsock_listen(const char *path, int *fd, struct error *err)
{
	/* Clients know these sentences [compat]. */
	static const char prefix[] = "Cannot create backend for vsock device: "
				     "Error binding to the host-side Unix socket";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = strlen(path);

	/* It would bind an abstract address of the kernel's choice. */
	if (len == 0) {
		return error_set(err, ERR_BAD_REQUEST, "%s: path must not be empty", prefix);
	}
	if (len >= sizeof(address.sun_path)) {
		return error_set(err, ERR_BAD_REQUEST, "%s: path must be shorter than SUN_LEN",
				 prefix);
	}
	memcpy(address.sun_path, path, len + 1);
	AUTO_FD socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (socket_fd < 0 ||
	    bind(socket_fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		return error_sys(err, "%s", prefix);
	}
	if (listen(socket_fd, SOMAXCONN) < 0) {
		error_sys(err, "%s", prefix);
		unlink(path);
		return -1;
	}
	*fd = fd_take(&socket_fd);
	return 0;
}

static int build(struct vsock *vsock, const struct dev_env *env, const struct vsock_config *config,
		 int listener, struct error *err)
{
	const struct virtio_params params = {
		.ops = &ops,
		.activate_fails = &vsock->metrics.activate_fails,
		.id = "vsock",
		.features = UINT64_C(1) << FEATURE_IN_ORDER,
		.queue_count = QUEUES,
		.config_len = CONFIG_LEN,
	};
	const struct vsock_mux_params mux_params = {
		.loop = env->loop,
		.clock = env->clock,
		.metrics = &vsock->metrics,
		.owner = {owner_enter, owner_serve, owner_leave, vsock},
		.guest_cid = config->guest_cid,
		.uds_path = config->uds_path,
		.listener = listener,
	};

	vsock->io.mem = env->mem;
	vsock->stale.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vsock->stale.fd < 0) {
		return error_sys(err, "Cannot create an eventfd of the vsock device");
	}
	if (virtio_init(&vsock->dev, env, &params, err) < 0 ||
	    vsock_mux_init(&vsock->mux, &mux_params, err) < 0) {
		return -1;
	}
	store_le64(vsock->dev.config, config->guest_cid);
	return ev_add(env->loop, &vsock->stale, EPOLLIN, err);
}

int vsock_new(const struct dev_env *env, const struct vsock_config *config, int listener,
	      struct vsock **out, struct error *err)
{
	struct vsock *vsock = calloc(1, sizeof(*vsock));

	if (vsock == NULL) {
		return error_sys(err, "Cannot allocate the vsock device");
	}
	vsock->stale = (struct ev_source){.fd = -1, .fn = on_stale, .is_frozen_with_guest = true};
	if (build(vsock, env, config, listener, err) < 0) {
		vsock_free(vsock);
		return -1;
	}
	*out = vsock;
	return 0;
}

void vsock_free(struct vsock *vsock)
{
	if (vsock == NULL) {
		return;
	}
	if (vsock->mux.params.loop != NULL) {
		ev_del(vsock->mux.params.loop, &vsock->stale);
	}
	/* The device first: its reset may look at what goes after it. */
	virtio_destroy(&vsock->dev);
	vsock_mux_destroy(&vsock->mux);
	fd_close(&vsock->stale.fd);
	free(vsock);
}

struct virtio_dev *vsock_virtio(struct vsock *vsock)
{
	return &vsock->dev;
}

struct vsock_metrics *vsock_metrics(struct vsock *vsock)
{
	return &vsock->metrics;
}

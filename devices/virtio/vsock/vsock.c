/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device: its queues and its life.
 *
 * Theory of operation. Three queues [virtio-1.2 §5.10.2]: packets for the guest, packets from it,
 * and events, whose buffers stay where they are until there is an event. Chains are given back in
 * the order in which they came, one at a time, which is why IN_ORDER can be offered.
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
 *
 * Connections stay with the process that has their sockets. A device that is loaded has none, and
 * tells its driver so by an event [virtio-1.2 §5.10.6.7], as soon as there is a buffer for one.
 * Linux then resets its connected sockets, gives the buffer back and notifies of that, in this
 * order, so the next buffer is the acknowledgment. Up to then no packet is sent: a connection that
 * is opened before would be reset with the others. Clients wait in the listener's backlog, which
 * the kernel bounds and where none of our time-outs runs. What the guest sends for connections that
 * are no more is answered by RST, as always. A driver without an event queue can't be told, and is
 * not waited for; one that does not acknowledge the event is waited for only so long.
 *
 * The event does not end what the guest has asked for and was not answered: Linux resets connected
 * sockets alone. Such requests are saved, and answered by RST behind the event.
 *
 * An event that was not acknowledged when the device was saved again is still in its queue. So
 * ack_at, the number of the buffer that acknowledges the last of all events, is saved.
 */
#include "devices/virtio/vsock/vsock.h"

#include <stdlib.h>
#include <string.h>

#include "devices/virtio/core/virtio_state.h"
#include "devices/virtio/vsock/vsock_mux.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"
#include "vmm/base/unix_listen.h"

enum {
	QUEUE_RX, /* to the guest */
	QUEUE_TX,
	QUEUE_EVENT,
	QUEUES
};

enum {
	FEATURE_IN_ORDER = 35,
	CONFIG_LEN = 8,
	/* A turn of a queue: as many packets, each of which counts once more per STEP_BYTES. */
	TURN_STEPS = 1024,
	STEP_BYTES = 1024,
};

/* Of struct virtio_vsock_event [virtio-1.2 §5.10.6.7]. */
enum {
	EVENT_TRANSPORT_RESET = 0,
	EVENT_LEN = 4,
};

enum {
	UNANSWERED_MAX = 32, /* of what is saved; who is not among them has its own time-out */
};

/* Of the driver, to acknowledge the event. Linux does so as soon as one of its threads runs. */
static const uint64_t patience_ns = 10 * NS_PER_S;

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

const struct metric_group vsock_metric_group = {
	METRIC_GROUP("vsock", vsock_metrics, metric_fields, 0)};

struct vsock {
	struct virtio_dev dev;
	struct ev_wake stale; /* wakes the VMM thread after a reset */
	struct vsock_metrics metrics;
	/* under dev.lock, VMM thread only */
	struct vsock_mux mux;
	struct vsock_io io;
	bool is_tx_held; /* until there is room for answers */
	struct ev_timer patience;
	bool is_patient; /* it runs */
	/* under dev.lock */
	bool is_stale;	    /* the connections are of a driver that has gone */
	bool is_event_owed; /* the device was loaded, and there was no buffer to say so yet */
	bool is_event_told; /* and it was not acknowledged yet */
	uint16_t ack_at;    /* by which entry of the event queue it will be */
};

static struct vsock *to_vsock(struct virtio_dev *dev)
{
	return container_of(dev, struct vsock, dev);
}

/* The driver does not know yet that its connections are no more. */
static bool is_held(const struct vsock *vsock)
{
	return vsock->is_event_owed || vsock->is_event_told;
}

/* What a former driver left behind goes. False if there is none now. */
static bool clean_up(struct vsock *vsock)
{
	bool is_served = virtio_works(&vsock->dev);

	if (vsock->is_stale || !is_served) {
		vsock->is_stale = false;
		vsock->is_tx_held = false;
		vsock_mux_close_all(&vsock->mux);
	}
	vsock_mux_listen(&vsock->mux, is_served && !is_held(vsock));
	return is_served;
}

static void mark_stale(struct vsock *vsock)
{
	vsock->is_stale = true;
	ev_wake_signal(&vsock->stale);
}

static void on_stale(struct ev_wake *wake)
{
	struct vsock *vsock = container_of(wake, struct vsock, stale);

	virtio_lock(&vsock->dev);
	(void)clean_up(vsock);
	virtio_unlock(&vsock->dev);
}

/* --- The queues --- */

static enum virtio_step next(struct virtio_dev *dev, unsigned queue)
{
	struct vsock *vsock = to_vsock(dev);

	switch (queue) {
	case QUEUE_RX:
		return !is_held(vsock) && vsock_mux_has_packet(&vsock->mux) ? VIRTIO_TAKE
									    : VIRTIO_WAIT;
	case QUEUE_TX:
		vsock->is_tx_held = vsock_mux_is_full(&vsock->mux);
		return vsock->is_tx_held ? VIRTIO_WAIT : VIRTIO_TAKE;
	default:
		return vsock->is_event_owed ? VIRTIO_TAKE : VIRTIO_WAIT;
	}
}

/* Gives back what was filled behind a chain. */
static void push_followers(struct vsock *vsock)
{
	struct vsock_io *io = &vsock->io;

	for (unsigned i = 0; i < io->followers_count; i++) {
		uint32_t len = VSOCK_HEADER_LEN + io->followers[i].len;

		virtq_push(io->rx, io->followers[i].head, len);
		virtio_spend(&vsock->dev, 1 + len / STEP_BYTES);
	}
	metric_add(&vsock->metrics.rx_packets_count, io->followers_count);
	io->followers_count = 0;
}

/* Fills a chain with the next packet for the guest, and maybe some behind it. */
static enum virtio_step fill_chain(struct vsock *vsock, const struct virtq_chain *chain)
{
	uint32_t len = 0;
	bool is_filled = chain->write_len >= VSOCK_HEADER_LEN &&
			 vsock_mux_fill(&vsock->mux, &vsock->io, &len);

	if (!is_filled && !vsock_mux_has_packet(&vsock->mux)) {
		return VIRTIO_WAIT;
	}
	/* If it has no room for what there is, it goes back unused. */
	metric_add(&vsock->metrics.rx_packets_count, is_filled);
	metric_add(&vsock->metrics.rx_queue_event_fails, !is_filled);
	virtq_push(vsock->io.rx, chain->head, is_filled ? len : 0);
	virtio_spend(&vsock->dev, len / STEP_BYTES);
	push_followers(vsock);
	return VIRTIO_DONE;
}

/* Takes in a packet of the guest. */
static enum virtio_step drain_chain(struct vsock *vsock, const struct virtq_chain *chain)
{
	uint8_t bytes[VSOCK_HEADER_LEN];
	struct vsock_header header = {0};

	if (virtq_chain_read(vsock->dev.mem, chain, 0, bytes, sizeof(bytes)) < 0) {
		metric_add(&vsock->metrics.tx_queue_event_fails, 1);
	} else {
		vsock_header_decode(bytes, &header);
		metric_add(&vsock->metrics.tx_packets_count, 1);
		vsock_mux_receive(&vsock->mux, &header, &vsock->io);
		virtio_spend(&vsock->dev, min_u64(header.len, VSOCK_PAYLOAD_MAX) / STEP_BYTES);
	}
	virtq_push(&vsock->dev.queues[QUEUE_TX].vq, chain->head, 0);
	return VIRTIO_DONE;
}

/*
 * Tells the driver that its connections are no more. All buffers that are in the queue now were
 * given before it could know.
 */
static enum virtio_step tell_event(struct vsock *vsock, const struct virtq_chain *chain)
{
	struct virtq *vq = &vsock->dev.queues[QUEUE_EVENT].vq;
	uint16_t shown = vq->next_avail + virtq_pending(vq);
	uint8_t event[EVENT_LEN];

	store_le32(event, EVENT_TRANSPORT_RESET);
	if (virtq_chain_write(vsock->dev.mem, chain, 0, event, sizeof(event)) < 0) {
		metric_add(&vsock->metrics.ev_queue_event_fails, 1);
		virtq_push(vq, chain->head, 0);
		return VIRTIO_DONE;
	}
	virtq_push(vq, chain->head, sizeof(event));
	/* One that was told by an earlier load, and not acknowledged, takes a buffer of its own. */
	bool is_second = vsock->is_event_told && (uint16_t)(vsock->ack_at - shown) < vq->size;

	vsock->ack_at = is_second ? vsock->ack_at + 1 : shown;
	vsock->is_event_owed = false;
	vsock->is_event_told = true;
	return VIRTIO_DONE;
}

static enum virtio_step take(struct virtio_dev *dev, unsigned queue,
			     const struct virtq_chain *chain)
{
	struct vsock *vsock = to_vsock(dev);

	vsock->io.chain = chain;
	switch (queue) {
	case QUEUE_RX:
		return fill_chain(vsock, chain);
	case QUEUE_TX:
		return drain_chain(vsock, chain);
	default:
		return tell_event(vsock, chain);
	}
}

static void fault(struct virtio_dev *dev, unsigned queue, enum virtq_result result)
{
	struct vsock *vsock = to_vsock(dev);

	if (result == VIRTQ_BROKEN) {
		mark_stale(vsock);
		return;
	}
	struct metric *const fails[QUEUES] = {
		[QUEUE_RX] = &vsock->metrics.rx_queue_event_fails,
		[QUEUE_TX] = &vsock->metrics.tx_queue_event_fails,
		[QUEUE_EVENT] = &vsock->metrics.ev_queue_event_fails,
	};

	metric_add(fails[queue], 1);
}

static void send_to_guest(struct vsock *vsock)
{
	virtio_serve(&vsock->dev, QUEUE_RX, TURN_STEPS);
	if (vsock->is_tx_held && !vsock_mux_is_full(&vsock->mux)) {
		vsock->is_tx_held = false;
		virtio_kick(&vsock->dev, QUEUE_TX);
	}
}

/* The driver knows that its connections are no more, or does not want to. */
static void go_on(struct vsock *vsock)
{
	vsock->is_event_owed = false;
	vsock->is_event_told = false;
	(void)clean_up(vsock);
	send_to_guest(vsock);
}

/* The event, and its acknowledgment. Without one to tell, buffers stay where they are. */
static void serve_events(struct vsock *vsock)
{
	if (vsock->is_event_owed) {
		virtio_serve(&vsock->dev, QUEUE_EVENT, TURN_STEPS);
	}
	if (!vsock->is_event_owed && vsock->is_event_told &&
	    virtq_arm_kick_at(&vsock->dev.queues[QUEUE_EVENT].vq, vsock->ack_at)) {
		go_on(vsock);
	}
	if (is_held(vsock) && !vsock->is_patient) {
		vsock->is_patient = true;
		ev_timer_set(&vsock->patience, patience_ns, 0);
	}
}

/* --- Events --- */

static void queue_ready(struct virtio_dev *dev, unsigned index)
{
	struct vsock *vsock = to_vsock(dev);

	(void)clean_up(vsock);
	switch (index) {
	case QUEUE_RX:
		metric_add(&vsock->metrics.rx_queue_event_count, 1);
		send_to_guest(vsock);
		break;
	case QUEUE_TX:
		metric_add(&vsock->metrics.tx_queue_event_count, 1);
		virtio_serve(dev, QUEUE_TX, TURN_STEPS);
		send_to_guest(vsock);
		break;
	default:
		serve_events(vsock);
		break;
	}
}

static void on_patience(struct ev_timer *timer)
{
	struct vsock *vsock = container_of(timer, struct vsock, patience);

	virtio_lock(&vsock->dev);
	vsock->is_patient = false;
	if (clean_up(vsock) && is_held(vsock)) {
		log_guest_warn("The guest's driver of the vsock device takes no notice of the loss "
			       "of its connections; new ones are let through.");
		go_on(vsock);
	}
	virtio_unlock(&vsock->dev);
}

/* --- State --- */

/*
 * Of the connections nothing is saved: all that the guest knows of them ends with the event. The
 * next of our ports is, so that no port comes back while the guest may still know it.
 */
struct vsock_state {
	uint32_t next_port;
	bool is_event_told;
	uint16_t ack_at;
	/* since version 2 */
	uint32_t unanswered_count;
	struct vsock_reply unanswered[UNANSWERED_MAX];
};

VIRTIO_STATE_FITS(struct vsock_state);

static const struct codec_section section = {
	.tag = CODEC_TAG('V', 'S', 'C', 'K'), .version = 2, .name = "virtio-vsock"};

static void state_codec(struct codec *codec, void *own)
{
	struct vsock_state *state = own;

	codec_u32(codec, "next_port", &state->next_port);
	codec_bool(codec, "is_event_told", &state->is_event_told);
	codec_u16(codec, "ack_at", &state->ack_at);
	codec_count(codec, "unanswered", &state->unanswered_count, UNANSWERED_MAX);
	for (uint32_t i = 0; i < state->unanswered_count; i++) {
		codec_begin_item(codec, "unanswered", i);
		codec_u32(codec, "local_port", &state->unanswered[i].local_port);
		codec_u32(codec, "peer_port", &state->unanswered[i].peer_port);
		codec_end(codec);
	}
}

static void state_save(struct virtio_dev *dev, void *own)
{
	const struct vsock *vsock = to_vsock(dev);
	struct vsock_state *state = own;

	*state = (struct vsock_state){
		.next_port = vsock->mux.next_port,
		.is_event_told = vsock->is_event_told,
		.ack_at = vsock->ack_at,
	};
	if (!vsock->is_stale) {
		state->unanswered_count =
			vsock_mux_unanswered(&vsock->mux, state->unanswered, UNANSWERED_MAX);
	}
}

static int state_load(struct virtio_dev *dev, const void *own, struct error *err)
{
	struct vsock *vsock = to_vsock(dev);
	const struct vsock_state *state = own;
	const struct virtq *vq = &dev->queues[QUEUE_EVENT].vq;

	if (state->next_port >= VSOCK_LOCAL_PORT_FIRST) {
		return error_set(err, ERR_CORRUPT, "its next port is %#x", state->next_port);
	}
	vsock->mux.next_port = state->next_port;
	vsock->is_event_owed = virtio_works(dev) && vq->size != 0;
	/* Whether ack_at can be, tell_event sees. */
	vsock->is_event_told = state->is_event_told && vsock->is_event_owed;
	vsock->ack_at = state->ack_at;
	for (uint32_t i = 0; i < min_u64(state->unanswered_count, UNANSWERED_MAX); i++) {
		vsock_mux_refuse(&vsock->mux, &state->unanswered[i]);
	}
	return 0;
}

/* The event has the driver read the CID again. */
static const struct virtio_config_field config_fields[] = {
	{"CID", 0, CONFIG_LEN, VIRTIO_CONFIG_NOW},
};

static const struct virtio_class_state class_state = {
	VIRTIO_CONFIG_FIELDS(config_fields),
	.section = &section,
	.size = sizeof(struct vsock_state),
	.codec = state_codec,
	.save = state_save,
	.load = state_load,
};

/* --- The driver --- */

/* On any thread: see the top. */
static void reset(struct virtio_dev *dev)
{
	struct vsock *vsock = to_vsock(dev);

	vsock->is_event_owed = false;
	vsock->is_event_told = false;
	mark_stale(vsock);
}

static void destroy(struct virtio_dev *dev)
{
	vsock_free(to_vsock(dev));
}

const struct virtio_class vsock_class = {
	.type = VIRTIO_TYPE_VSOCK,
	.name = "vsock",
	.metrics = &vsock_metric_group,
	.state = &class_state,
	.queue_ready = queue_ready,
	.next = next,
	.take = take,
	.fault = fault,
	.reset = reset,
	.destroy = destroy,
};

/* --- What the multiplexer calls --- */

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

/* --- Making and changing --- */

int vsock_listen(const char *path, int *fd, struct error *err)
{
	/* Clients know these sentences [compat]. */
	static const char prefix[] = "Cannot create backend for vsock device: "
				     "Error binding to the host-side Unix socket";

	switch (unix_listen(path, false, fd)) {
	case UNIX_LISTENS:
		return 0;
	case UNIX_PATH_EMPTY:
		return error_set(err, ERR_BAD_REQUEST, "%s: path must not be empty", prefix);
	case UNIX_PATH_TOO_LONG:
		return error_set(err, ERR_BAD_REQUEST, "%s: path must be shorter than SUN_LEN",
				 prefix);
	case UNIX_REFUSED:
		break;
	}
	return error_sys(err, "%s", prefix);
}

static int build(struct vsock *vsock, const struct dev_env *env, const struct vsock_config *config,
		 int listener, struct error *err)
{
	const struct virtio_params params = {
		.class = &vsock_class,
		.metrics = &vsock->metrics,
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
	if (virtio_init(&vsock->dev, env, &params, err) < 0 ||
	    vsock_mux_init(&vsock->mux, &mux_params, err) < 0) {
		return -1;
	}
	vsock->io.rx = &vsock->dev.queues[QUEUE_RX].vq;
	store_le64(vsock->dev.config, config->guest_cid);
	return ev_wake_init(&vsock->stale, env->loop, err) < 0
		       ? -1
		       : ev_timer_init(&vsock->patience, env->loop, err);
}

int vsock_new(const struct dev_env *env, const struct vsock_config *config, int listener,
	      struct vsock **out, struct error *err)
{
	struct vsock *vsock = calloc(1, sizeof(*vsock));

	if (vsock == NULL) {
		return error_sys(err, "Cannot allocate the vsock device");
	}
	vsock->stale = (struct ev_wake){.fn = on_stale, .is_frozen_with_guest = true};
	vsock->patience = (struct ev_timer){.fn = on_patience, .is_frozen_with_guest = true};
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
	/* The device first: its reset may look at what goes after it. */
	virtio_destroy(&vsock->dev);
	vsock_mux_destroy(&vsock->mux);
	ev_wake_destroy(&vsock->stale);
	ev_timer_destroy(&vsock->patience);
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

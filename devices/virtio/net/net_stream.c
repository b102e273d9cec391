/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A back-end at the end of a Unix stream socket, such as passt, as a port.
 *
 * Theory of operation. Frames go by way of two buffers (net_frames.c). One call of read brings as
 * many frames as there are, of which each goes on to the guest by a copy. What the guest sends
 * is collected for a turn of its queue, and goes by one call of sendmsg at its end. If the socket
 * takes no more, the buffer fills up, and then the guest's frames stay in its queue.
 *
 * The source is edge-triggered. Where nothing is read, for want of a driver, of buffers or of a
 * limit's tokens, the socket fills up and is silent.
 *
 * The back-end is another security domain. It can send any bytes, none, or end the connection. The
 * end is the end of a cable to the guest: its link is down, frames are lost, and the back-end is
 * looked for again by its path, a few times a second. A length that no frame has ends the
 * connection too, as nobody knows where the next frame begins.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio/net/net_frames.h"
#include "devices/virtio/net/net_internal.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/unix_connect.h"

#define RETRY_NS (250 * NS_PER_MS)

struct net_stream {
	struct net *net;
	char *path;
	int fd; /* -1: the back-end has gone, and the timer looks for it */
	struct ev_source source;
	struct ev_timer timer;
	struct net_frames in;
	struct net_frames out;
};

/* --- The link --- */

/* What was read or not sent is lost, as what is on a cable that is pulled. */
static void go_down(struct net_stream *stream, const char *why)
{
	struct net *net = stream->net;

	log_limited_warn(&net->failures,
			 "Interface %s has lost its back-end %s, and looks for it: %s", net->dev.id,
			 stream->path, why);
	ev_del(net->dev.loop, &stream->source);
	fd_close(&stream->fd);
	net_frames_clear(&stream->in);
	net_frames_clear(&stream->out);
	net_receive_quiesce(&net->pairs[0]);
	net_set_link(net, false);
	ev_timer_set(&stream->timer, RETRY_NS, 0);
	/* Frames that wait for room are lost too. */
	virtio_kick(&net->dev, TX);
}

static int watch(struct net_stream *stream, struct error *err)
{
	stream->source.fd = stream->fd;
	return ev_add(stream->net->dev.loop, &stream->source, EPOLLIN | EPOLLOUT | EPOLLET, err);
}

static void look_for(struct net_stream *stream)
{
	struct net *net = stream->net;
	struct error err = {0};

	if (unix_connect(stream->path, &stream->fd, &err) < 0 || watch(stream, &err) < 0) {
		fd_close(&stream->fd);
		ev_timer_set(&stream->timer, RETRY_NS, 0);
		return;
	}
	log_guest_info("Interface %s has its back-end %s again", net->dev.id, stream->path);
	/* Whatever can be read or written is told by the source, which is new. */
	net_set_link(net, true);
}

static void on_timer(struct ev_timer *timer)
{
	struct net_stream *stream = container_of(timer, struct net_stream, timer);

	virtio_lock(&stream->net->dev);
	if (stream->fd < 0) {
		look_for(stream);
	}
	virtio_unlock(&stream->net->dev);
}

/* --- From the guest --- */

/* Sends what the socket takes. */
static void flush(struct net_stream *stream)
{
	const uint8_t *bytes;
	size_t len = net_frames_unsent(&stream->out, &bytes);

	while (stream->fd >= 0 && len > 0) {
		struct iovec iov = {.iov_base = (void *)bytes, .iov_len = len};
		const struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t sent = sendmsg(stream->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EAGAIN) {
			return;
		}
		if (sent < 0) {
			go_down(stream, error_os_text(errno));
			return;
		}
		net_frames_sent(&stream->out, (size_t)sent);
		len = net_frames_unsent(&stream->out, &bytes);
	}
}

static int send_frame(struct net_pair *pair, const struct virtq_chain *chain)
{
	struct net *net = pair->net;
	struct net_stream *stream = net->stream;
	uint32_t len = chain->read_len - NET_HEADER_LEN;

	if (stream->fd < 0) {
		return -ENETDOWN;
	}
	if (len < NET_FRAMES_MIN) {
		return -EINVAL;
	}
	uint8_t *to = net_frames_add(&stream->out, len);

	if (to == NULL) {
		flush(stream);
		to = stream->fd < 0 ? NULL : net_frames_add(&stream->out, len);
	}
	if (to == NULL) {
		return stream->fd < 0 ? -ENETDOWN : -EAGAIN;
	}
	/* It was RAM when the chain was checked, and RAM doesn't go away. */
	(void)!virtq_chain_read(net->dev.mem, chain, NET_HEADER_LEN, to, len);
	return 0;
}

/* --- To the guest --- */

/* At most one call: a back-end that sends byte by byte uses its turn up, and no more. */
static ssize_t read_more(struct net_stream *stream)
{
	uint8_t *room;

	if (stream->fd < 0) {
		return -EAGAIN;
	}
	/* By read() the kernel closes descriptors that come along. */
	size_t len = net_frames_room(&stream->in, &room);
	ssize_t got = read(stream->fd, room, len);

	if (got > 0) {
		net_frames_added(&stream->in, (size_t)got);
		return 0;
	}
	if (got == 0 || errno != EAGAIN) {
		go_down(stream, got == 0 ? "It has closed the connection" : error_os_text(errno));
	}
	return -EAGAIN;
}

static ssize_t peek_frame(struct net_pair *pair, const uint8_t **frame)
{
	struct net *net = pair->net;
	struct net_stream *stream = net->stream;
	uint32_t len;

	switch (net_frames_first(&stream->in, frame, &len)) {
	case NET_FRAMES_WHOLE:
		return (ssize_t)len;
	case NET_FRAMES_PART:
		return read_more(stream);
	case NET_FRAMES_RUNT:
		net_frames_drop(&stream->in);
		metric_add(&net->metrics.rx_fails, 1);
		return 0;
	case NET_FRAMES_BROKEN:
		go_down(stream, "It has sent a length that no frame has");
		break;
	}
	return -EAGAIN;
}

static ssize_t receive_frame(struct net_pair *pair, const struct iovec *buffers, size_t count)
{
	(void)buffers;
	(void)count;
	net_frames_drop(&pair->net->stream->in);
	return pair->rx_frame_len;
}

/* --- Events --- */

static void end_turn(struct net *net)
{
	flush(net->stream);
}

static const char *explain(int sys)
{
	return sys == ENETDOWN ? "; its frames are dropped until the back-end is there" : "";
}

const struct net_port_ops net_stream_port_ops = {
	.name = "back-end",
	.send = send_frame,
	.peek = peek_frame,
	.receive = receive_frame,
	.end_turn = end_turn,
	.explain = explain,
};

static void on_socket(struct ev_source *source, uint32_t ready)
{
	struct net_stream *stream = container_of(source, struct net_stream, source);
	struct net *net = stream->net;

	virtio_lock(&net->dev);
	if (net->dev.is_active) {
		if ((ready & ~(uint32_t)EPOLLIN) != 0) {
			flush(stream);
			net_transmit_again(&net->pairs[0]);
		}
		if ((ready & ~(uint32_t)EPOLLOUT) != 0) {
			metric_add(&net->metrics.rx_tap_event_count, 1);
			net_receive_again(&net->pairs[0]);
		}
	}
	virtio_unlock(&net->dev);
}

/* --- Making and ending --- */

int net_stream_new(struct net *net, const char *path, int *connection, struct net_stream **out,
		   struct error *err)
{
	struct net_stream *stream = calloc(1, sizeof(*stream));

	if (stream == NULL) {
		return error_sys(err, "Cannot allocate the buffers of a back-end");
	}
	stream->net = net;
	stream->fd = fd_take(connection);
	stream->source = (struct ev_source){.fn = on_socket, .is_frozen_with_guest = true};
	stream->timer = (struct ev_timer){.fn = on_timer, .is_frozen_with_guest = true};
	net_frames_clear(&stream->in);
	net_frames_clear(&stream->out);
	stream->path = strdup(path);
	if (stream->path == NULL) {
		(void)error_sys(err, "Cannot keep the path of a socket");
	} else if (stream->fd >= 0 || unix_connect(path, &stream->fd, err) == 0) {
		*out = stream;
		return 0;
	}
	net_stream_free(stream);
	return -1;
}

int net_stream_start(struct net_stream *stream, struct evloop *loop, struct error *err)
{
	return ev_timer_init(&stream->timer, loop, err) < 0 ? -1 : watch(stream, err);
}

void net_stream_free(struct net_stream *stream)
{
	if (stream == NULL) {
		return;
	}
	ev_del(stream->net->dev.loop, &stream->source);
	ev_timer_destroy(&stream->timer);
	fd_close(&stream->fd);
	free(stream->path);
	free(stream);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to a vhost-user back-end.
 *
 * Theory of operation. Nothing here waits but vhost_link_wait, so that the event loop can do a
 * handshake step by step, and a start can do the same in a row. At most one answer is due at a
 * time: whatever else comes is a breach of the protocol, which ends the connection. A message that
 * does not fit into the socket's buffer has no reader that works, and ends it as well.
 *
 * Replies are read by read(), which takes no descriptors: the kernel closes those that come along,
 * so that a back-end can't fill our table of them.
 */
#include "devices/virtio/vhost/vhost_link.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/unix_connect.h"

#define FEATURE_VERSION_1 (UINT64_C(1) << 32)

/* Those of the protocol that we make use of. */
#define OUR_PROTOCOL                                                                               \
	(VHOST_PROTOCOL_F_MQ | VHOST_PROTOCOL_F_CONFIG | VHOST_PROTOCOL_F_INFLIGHT_SHMFD |         \
	 VHOST_PROTOCOL_F_DEVICE_STATE)

enum {
	LEAST_MS = 200,
	INFLIGHT_MAX = 1 << 20 /* bytes; 16 queues of 256 entries of 16 bytes are 64 KiB */
};

/* --- Connecting --- */

int vhost_link_connect(struct vhost_link *link, const char *path, struct error *err)
{
	*link = (struct vhost_link){.fd = -1};
	return unix_connect(path, &link->fd, err);
}

void vhost_link_close(struct vhost_link *link)
{
	fd_close(&link->fd);
	link->awaited = VHOST_NONE;
	link->reply.len = 0;
	link->step = VHOST_STEP_FEATURES;
}

/* --- Messages --- */

int vhost_link_send(const struct vhost_link *link, const struct vhost_msg *msg, const int *fds,
		    size_t count, struct error *err)
{
	struct iovec iov = {.iov_base = (void *)msg->bytes, .iov_len = msg->len};
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(VHOST_REGIONS_MAX * sizeof(int))];
	} control = {0};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	const char *name = vhost_request_name((enum vhost_request)load_le32(msg->bytes));

	assert(count <= VHOST_REGIONS_MAX);
	if (count > 0) {
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);

		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
	}
	ssize_t sent = sendmsg(link->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0) {
		return error_sys(err, "Cannot send %s to the back-end", name);
	}
	return (size_t)sent == msg->len
		       ? 0
		       : error_set(err, ERR_HOST, "The back-end takes no more messages, such as %s",
				   name);
}

int vhost_link_ask(struct vhost_link *link, const struct vhost_msg *msg, int fd, struct error *err)
{
	assert(link->awaited == VHOST_NONE);
	if (vhost_link_send(link, msg, &fd, fd >= 0, err) < 0) {
		return -1;
	}
	link->awaited = (enum vhost_request)load_le32(msg->bytes);
	link->reply.len = 0;
	return 0;
}

/* Reads up to the `wanted`th byte of the reply: 1 if that is there, 0 if not yet. */
static int read_until(struct vhost_link *link, size_t wanted, struct error *err)
{
	struct vhost_msg *reply = &link->reply;

	while (reply->len < wanted) {
		ssize_t got = read(link->fd, reply->bytes + reply->len, wanted - reply->len);

		if (got == 0) {
			return error_set(err, ERR_HOST, "The back-end has closed the connection");
		}
		if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
			return 0;
		}
		if (got < 0) {
			return error_sys(err, "Cannot read from the back-end");
		}
		reply->len += (size_t)got;
	}
	return 1;
}

/* Nothing is to come. */
static int read_nothing(const struct vhost_link *link, struct error *err)
{
	uint8_t byte;
	ssize_t got = read(link->fd, &byte, 1);

	if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
		return 0;
	}
	return error_set(err, ERR_HOST,
			 got > 0 ? "The back-end sends a message that nobody has asked for"
				 : "The back-end has closed the connection");
}

int vhost_link_read(struct vhost_link *link, struct error *err)
{
	struct vhost_msg *reply = &link->reply;

	if (link->awaited == VHOST_NONE) {
		return read_nothing(link, err);
	}
	int result = read_until(link, VHOST_HEADER_LEN, err);

	if (result <= 0) {
		return result;
	}
	size_t wanted = vhost_msg_wanted(reply);

	if (wanted == 0) {
		return error_set(err, ERR_HOST, "The back-end's reply to %s is longer than any",
				 vhost_request_name(link->awaited));
	}
	result = read_until(link, wanted, err);
	if (result > 0) {
		link->awaited = VHOST_NONE;
	}
	return result;
}

/* --- Waiting --- */

uint64_t vhost_deadline_ms(void)
{
	return clock_now_ms() + VHOST_PATIENCE_MS;
}

bool vhost_has_time(uint64_t deadline_ms)
{
	return clock_now_ms() + LEAST_MS <= deadline_ms;
}

int vhost_link_wait(struct vhost_link *link, uint64_t deadline_ms, struct error *err)
{
	for (;;) {
		struct pollfd source = {.fd = link->fd, .events = POLLIN};
		uint64_t now = clock_now_ms();

		if (now >= deadline_ms || poll(&source, 1, (int)(deadline_ms - now)) == 0) {
			return error_set(err, ERR_HOST,
					 "The back-end has not answered %s within %d ms",
					 vhost_request_name(link->awaited), VHOST_PATIENCE_MS);
		}
		int result = vhost_link_read(link, err);

		if (result != 0) {
			return result;
		}
	}
}

int vhost_link_stop(struct vhost_link *link, unsigned ring, uint64_t deadline_ms, uint16_t *base,
		    struct error *err)
{
	struct pollfd source = {.fd = link->fd};
	struct vhost_msg *msg = &link->reply;

	/* A write to a socket without a peer would be a SIGPIPE. */
	if (poll(&source, 1, 0) != 0) {
		return error_set(err, ERR_HOST, "The back-end has closed the connection");
	}
	vhost_msg_ring(msg, VHOST_GET_VRING_BASE, ring, 0);
	if (write(link->fd, msg->bytes, msg->len) != (ssize_t)msg->len) {
		return error_sys(err, "Cannot send GET_VRING_BASE to the back-end");
	}
	msg->len = 0;
	link->awaited = VHOST_GET_VRING_BASE;
	return vhost_link_wait(link, deadline_ms, err) < 0
		       ? -1
		       : vhost_reply_base(&link->reply, ring, base, err);
}

/* --- The handshake --- */

static bool applies(const struct vhost_link *link, const struct vhost_wants *wants,
		    enum vhost_step step)
{
	switch (step) {
	case VHOST_STEP_FEATURES:
	case VHOST_STEP_READY:
		return true;
	case VHOST_STEP_PROTOCOL:
		return (link->features & VHOST_F_PROTOCOL_FEATURES) != 0;
	case VHOST_STEP_QUEUES:
		return (link->protocol & VHOST_PROTOCOL_F_MQ) != 0;
	case VHOST_STEP_CONFIG:
		return wants->config_len > 0;
	case VHOST_STEP_INFLIGHT:
		return (link->protocol & VHOST_PROTOCOL_F_INFLIGHT_SHMFD) != 0;
	}
	return false;
}

static int ask(struct vhost_link *link, const struct vhost_wants *wants, struct error *err)
{
	const struct vhost_inflight inflight = {.queues = (uint16_t)wants->queues,
						.queue_size = VHOST_QUEUE_SIZE};
	struct vhost_msg msg;

	switch (link->step) {
	case VHOST_STEP_FEATURES:
		vhost_msg_plain(&msg, VHOST_GET_FEATURES);
		break;
	case VHOST_STEP_PROTOCOL:
		vhost_msg_plain(&msg, VHOST_GET_PROTOCOL_FEATURES);
		break;
	case VHOST_STEP_QUEUES:
		vhost_msg_plain(&msg, VHOST_GET_QUEUE_NUM);
		break;
	case VHOST_STEP_CONFIG:
		vhost_msg_config(&msg, wants->config_len);
		break;
	case VHOST_STEP_INFLIGHT:
		vhost_msg_inflight(&msg, VHOST_GET_INFLIGHT_FD, &inflight);
		break;
	case VHOST_STEP_READY:
		return 0;
	}
	return vhost_link_ask(link, &msg, -1, err);
}

int vhost_link_greet(struct vhost_link *link, const struct vhost_wants *wants, struct error *err)
{
	struct vhost_msg msg;

	vhost_msg_plain(&msg, VHOST_SET_OWNER);
	link->step = VHOST_STEP_FEATURES;
	return vhost_link_send(link, &msg, NULL, 0, err) < 0 ? -1 : ask(link, wants, err);
}

static int take_features(struct vhost_link *link, const struct vhost_wants *wants,
			 struct error *err)
{
	if (vhost_reply_u64(&link->reply, VHOST_GET_FEATURES, &link->features, err) < 0) {
		return -1;
	}
	if ((link->features & FEATURE_VERSION_1) == 0) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The back-end has no virtio 1 (VIRTIO_F_VERSION_1)");
	}
	if ((link->features & VHOST_F_PROTOCOL_FEATURES) == 0 &&
	    (wants->config_len > 0 || wants->queues > wants->least_queues)) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The back-end has no features of the protocol, so that nobody "
				 "knows its configuration and queues");
	}
	return 0;
}

static int take_protocol(struct vhost_link *link, const struct vhost_wants *wants,
			 struct error *err)
{
	uint64_t features = 0;
	struct vhost_msg msg;

	if (vhost_reply_u64(&link->reply, VHOST_GET_PROTOCOL_FEATURES, &features, err) < 0) {
		return -1;
	}
	link->protocol = features & OUR_PROTOCOL;
	if (wants->config_len > 0 && (link->protocol & VHOST_PROTOCOL_F_CONFIG) == 0) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The back-end does not tell its configuration "
				 "(VHOST_USER_PROTOCOL_F_CONFIG)");
	}
	if (wants->queues > wants->least_queues && (link->protocol & VHOST_PROTOCOL_F_MQ) == 0) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The back-end has no more than %u queues, and %u are wanted",
				 wants->least_queues, wants->queues);
	}
	vhost_msg_u64(&msg, VHOST_SET_PROTOCOL_FEATURES, link->protocol);
	return vhost_link_send(link, &msg, NULL, 0, err);
}

static int take_queues(const struct vhost_link *link, const struct vhost_wants *wants,
		       struct error *err)
{
	unsigned wanted = wants->is_paired ? wants->queues / 2 : wants->queues;
	uint64_t queues = 0;

	if (vhost_reply_u64(&link->reply, VHOST_GET_QUEUE_NUM, &queues, err) < 0) {
		return -1;
	}
	return queues >= wanted ? 0
				: error_set(err, ERR_NOT_SUPPORTED,
					    "The back-end has %llu queues, and %u are wanted",
					    (unsigned long long)queues, wanted);
}

int vhost_link_take_config(struct vhost_link *link, const struct vhost_wants *wants,
			   struct error *err)
{
	if (vhost_reply_config(&link->reply, link->config, wants->config_len, err) < 0) {
		return -1;
	}
	if (wants->queues_at > 0) {
		store_le16(link->config + wants->queues_at, (uint16_t)wants->queues);
	}
	return 0;
}

/* What it sent along, memory of its own, is closed: the front-end gives it some. */
static int take_inflight(struct vhost_link *link, struct error *err)
{
	if (vhost_reply_inflight(&link->reply, &link->inflight, err) < 0) {
		return -1;
	}
	if (link->inflight.len == 0 || link->inflight.len > INFLIGHT_MAX) {
		return error_set(err, ERR_HOST,
				 "The back-end wants %llu bytes for requests in flight, which are "
				 "1 to %d",
				 (unsigned long long)link->inflight.len, INFLIGHT_MAX);
	}
	return 0;
}

static int take(struct vhost_link *link, const struct vhost_wants *wants, struct error *err)
{
	switch (link->step) {
	case VHOST_STEP_FEATURES:
		return take_features(link, wants, err);
	case VHOST_STEP_PROTOCOL:
		return take_protocol(link, wants, err);
	case VHOST_STEP_QUEUES:
		return take_queues(link, wants, err);
	case VHOST_STEP_CONFIG:
		return vhost_link_take_config(link, wants, err);
	case VHOST_STEP_INFLIGHT:
		return take_inflight(link, err);
	case VHOST_STEP_READY:
		break;
	}
	return 0;
}

int vhost_link_advance(struct vhost_link *link, const struct vhost_wants *wants, struct error *err)
{
	if (take(link, wants, err) < 0) {
		return -1;
	}
	do {
		link->step++;
	} while (!applies(link, wants, link->step));
	return ask(link, wants, err);
}

static int greet(struct vhost_link *link, const struct vhost_wants *wants, struct error *err)
{
	uint64_t deadline_ms = vhost_deadline_ms();

	if (vhost_link_greet(link, wants, err) < 0) {
		return -1;
	}
	while (link->step != VHOST_STEP_READY) {
		if (vhost_link_wait(link, deadline_ms, err) < 0 ||
		    vhost_link_advance(link, wants, err) < 0) {
			return -1;
		}
	}
	return 0;
}

int vhost_link_open(struct vhost_link *link, const char *path, const struct vhost_wants *wants,
		    struct error *err)
{
	uint64_t begin_ns = clock_host.now_ns(CLOCK_MONOTONIC);

	if (vhost_link_connect(link, path, err) < 0) {
		return -1;
	}
	if (greet(link, wants, err) < 0) {
		vhost_link_close(link);
		return -1;
	}
	link->open_us = (clock_host.now_ns(CLOCK_MONOTONIC) - begin_ns) / NS_PER_US;
	return 0;
}

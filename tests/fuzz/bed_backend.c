/* SPDX-License-Identifier: Apache-2.0 */
/* The vhost-user back-end of a bed. */
#include "tests/fuzz/bed_backend.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/virtio/vhost/vhost_user_msg.h"
#include "vmm/base/fd.h"

enum {
	FLAG_REPLY = 5, /* version 1, and a reply */
	MESSAGES_MAX = 1000,
	SILENT = 0xfe, /* values of bed->fault; all others spoil a byte */
	HANGS_UP = 0xff,
	QUEUES = 4,
};

void bed_backend_listen(struct bed *bed, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	bed->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	require(bind(bed->listener, (void *)&address, sizeof(address)) == 0);
	require(listen(bed->listener, 8) == 0);
}

/* A whole message, of which *fd is the first descriptor, the caller's; false: there is none. */
static bool receive(const struct bed *bed, struct vhost_msg *msg, int *fd)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(VHOST_REGIONS_MAX * sizeof(int))];
	} control = {0};
	struct iovec iov = {msg->bytes, VHOST_HEADER_LEN};
	struct msghdr header = {.msg_iov = &iov,
				.msg_iovlen = 1,
				.msg_control = control.bytes,
				.msg_controllen = sizeof(control.bytes)};

	*fd = -1;
	if (recvmsg(bed->host, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != VHOST_HEADER_LEN) {
		return false;
	}
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
	size_t count = cmsg == NULL ? 0 : (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < count; i++) {
		int other;

		memcpy(i == 0 ? fd : &other, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
		if (i > 0) {
			close(other);
		}
	}
	uint32_t len = load_le32(msg->bytes + 8);

	require(len <= VHOST_PAYLOAD_MAX);
	require(recv(bed->host, msg->bytes + VHOST_HEADER_LEN, len, MSG_DONTWAIT) == (ssize_t)len ||
		len == 0);
	return true;
}

static void reply(struct bed *bed, enum vhost_request request, const uint8_t *payload, uint32_t len)
{
	uint8_t bytes[VHOST_MSG_MAX] = {0};
	uint8_t fault = bed->fault;

	bed->fault = 0;
	if (fault == SILENT) {
		return;
	}
	if (fault == HANGS_UP) {
		fd_close(&bed->host);
		return;
	}
	store_le32(bytes, request);
	store_le32(bytes + 4, FLAG_REPLY);
	store_le32(bytes + 8, len);
	memcpy(bytes + VHOST_HEADER_LEN, payload, len);
	len += VHOST_HEADER_LEN;
	bytes[fault % len] ^= fault;
	(void)!send(bed->host, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void reply_u64(struct bed *bed, enum vhost_request request, uint64_t value)
{
	uint8_t payload[8];

	store_le64(payload, value);
	reply(bed, request, payload, sizeof(payload));
}

static void handle(struct bed *bed, const struct vhost_msg *msg)
{
	enum vhost_request request = (enum vhost_request)load_le32(msg->bytes);
	const uint8_t *payload = msg->bytes + VHOST_HEADER_LEN;
	uint8_t out[VHOST_PAYLOAD_MAX] = {0};
	uint64_t protocol = VHOST_PROTOCOL_F_MQ | VHOST_PROTOCOL_F_CONFIG;
	uint64_t legacy = (bed->settings & BED_BACKEND_LEGACY) != 0 ? VHOST_F_PROTOCOL_FEATURES : 0;

	if ((bed->settings & BED_BACKEND_INFLIGHT) != 0) {
		protocol |= VHOST_PROTOCOL_F_INFLIGHT_SHMFD;
	}
	switch (request) {
	case VHOST_GET_FEATURES:
		reply_u64(bed, request, ~legacy);
		break;
	case VHOST_GET_PROTOCOL_FEATURES:
		reply_u64(bed, request, protocol);
		break;
	case VHOST_GET_QUEUE_NUM:
		reply_u64(bed, request, QUEUES);
		break;
	case VHOST_GET_CONFIG:
		memcpy(out, payload, 12);
		out[12] = 64; /* sectors of a disk */
		reply(bed, request, out, 12 + load_le32(payload + 4));
		break;
	case VHOST_GET_VRING_BASE:
		memcpy(out, payload, 4);
		reply(bed, request, out, 8);
		break;
	case VHOST_GET_INFLIGHT_FD:
		store_le64(out, 4096);
		memcpy(out + 16, payload + 16, 4);
		reply(bed, request, out, 24);
		break;
	default:
		break;
	}
}

void bed_backend_serve(struct bed *bed)
{
	struct vhost_msg msg;
	int fd;

	if (bed->host < 0) {
		bed->host = accept4(bed->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	}
	for (unsigned i = 0; bed->host >= 0 && receive(bed, &msg, &fd); i++) {
		require(i < MESSAGES_MAX);
		handle(bed, &msg);
		if (fd >= 0 && load_le32(msg.bytes) == VHOST_SET_VRING_CALL) {
			fd_close(&bed->call);
			bed->call = fd;
		} else if (fd >= 0) {
			close(fd);
		}
	}
	char byte;

	/* The front-end has given this connection up. */
	if (bed->host >= 0 && recv(bed->host, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
		fd_close(&bed->host);
		fd_close(&bed->call);
	}
}

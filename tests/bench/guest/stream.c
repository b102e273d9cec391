/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams, both ways, by TCP and by virtio sockets.
 *
 * Theory of operation. Copies between a program and its own socket are the dearest part of a stream
 * and none of the monitor's; so where the kernel can do without, it does: pages of a file are sent
 * as they are, and received bytes are thrown away unseen (TCP only).
 */
#include "tests/bench/guest/operations.h"

#include <arpa/inet.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	COUNT = 256,
	WARM_UP = 32,
};

static char chunk[OPS_CHUNK];
static int pages = -1;

static void send_chunks(int fd, unsigned count)
{
	for (uint64_t left = (uint64_t)count * OPS_CHUNK; left > 0;) {
		off_t from = (off_t)(-left % OPS_CHUNK);
		ssize_t sent = sendfile(fd, pages, &from, OPS_CHUNK - (size_t)from);

		if (sent <= 0) {
			die("sendfile");
		}
		left -= (uint64_t)sent;
	}
}

static void receive_bytes(int fd, uint64_t left, int flags)
{
	while (left > 0) {
		ssize_t got = recv(fd, chunk, left < OPS_CHUNK ? left : OPS_CHUNK, flags);

		if (got <= 0) {
			die("recv");
		}
		left -= (uint64_t)got;
	}
}

static void transfer(int fd, bool is_down, unsigned count, int flags)
{
	const struct ops_order order = {.count = count, .is_down = is_down};

	if (send(fd, &order, sizeof(order), 0) != sizeof(order)) {
		die("send");
	}
	if (is_down) {
		receive_bytes(fd, (uint64_t)count * OPS_CHUNK, flags);
	} else {
		send_chunks(fd, count);
		receive_bytes(fd, 1, 0); /* the peer has all */
	}
}

void stream_measure(const char *kind, int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	pages = memfd_create("pages", MFD_CLOEXEC);
	if (write(pages, chunk, sizeof(chunk)) != sizeof(chunk)) {
		die("memfd");
	}
	for (unsigned is_down = 0; is_down < 2; is_down++) {
		int flags = domain == AF_INET ? MSG_TRUNC : 0;
		char row[64];

		transfer(fd, is_down, WARM_UP, flags);
		snprintf(row, sizeof(row), "%s 64 KiB to %s", kind, is_down ? "guest" : "host");
		ops_begin(row);
		transfer(fd, is_down, COUNT, flags);
		ops_end(COUNT);
	}
	close(pages);
	close(fd);
}

int tcp_connect(const char *address, uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, address, &to.sin_addr);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		die("connect to %s", address);
	}
	return fd;
}

int vsock_connect(void)
{
	const struct sockaddr_vm to = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = OPS_PORT};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		die("connect to the host");
	}
	return fd;
}

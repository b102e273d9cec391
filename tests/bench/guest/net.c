/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest frames, both ways, below any protocol.
 *
 * Theory of operation. Frames to the host have a type that nobody there listens to; the last one
 * has the peer's, whose answer tells that all before it have arrived. Frames to the guest come in
 * bursts that fit in its queue, each on demand, so that none is lost.
 */
#include "tests/bench/guest/operations.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	COUNT = 4096,
	BURST = 32,
};

static void send_frame(int fd, int type, unsigned count)
{
	struct ops_frame frame = {
		.to = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		.from = {0x06, 0, 0xac, 0x10, 0, 2},
		.type = {(uint8_t)(type >> 8), (uint8_t)type},
		.order = {.count = count},
	};

	if (send(fd, &frame, sizeof(frame), 0) != sizeof(frame)) {
		die("send");
	}
}

static void receive_frames(int fd, unsigned count)
{
	struct ops_frame frame;

	for (unsigned i = 0; i < count; i++) {
		if (recv(fd, &frame, sizeof(frame), 0) < 0) {
			die("no frame %u of %u", i, count);
		}
	}
}

static void up(int fd, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		send_frame(fd, OPS_ETHERTYPE, 0);
	}
	send_frame(fd, OPS_ETHERTYPE_PEER, 1);
	receive_frames(fd, 1);
}

static void down(int fd, unsigned count)
{
	for (unsigned i = 0; i < count; i += BURST) {
		send_frame(fd, OPS_ETHERTYPE_PEER, BURST);
		receive_frames(fd, BURST);
	}
}

static int open_packets(const char *interface)
{
	const struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(OPS_ETHERTYPE),
		.sll_ifindex = (int)if_nametoindex(interface),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		die("%s", interface);
	}
	return fd;
}

void net_flood(const char *interface)
{
	int fd = open_packets(interface);

	for (;;) {
		send_frame(fd, OPS_ETHERTYPE, 0);
	}
}

void net_measure(const char *interface)
{
	const struct timeval patience = {.tv_sec = 10};
	int fd = open_packets(interface);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	up(fd, BURST);
	ops_begin("net 64 B to host");
	up(fd, COUNT);
	ops_end(COUNT);
	down(fd, BURST);
	ops_begin("net 64 B to guest");
	down(fd, COUNT);
	ops_end(COUNT);
	close(fd);
}

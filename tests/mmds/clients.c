/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of the metadata service's network, in the kernel's TCP; and a flood of SYNs. */
#include "tests/mmds/mmds_peer.h"

#include <arpa/inet.h>
#include <err.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/mmds/packet.h"

static int connect_service(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)};
	struct timeval limit = {.tv_sec = 60};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, MMDS_PEER_ADDRESS, &to.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		err(1, "connecting");
	}
	return fd;
}

/* Reads one reply, and compares its body. */
static void read_reply(int fd, uint64_t len, bool is_last)
{
	static char buf[65536];
	uint64_t at = 0;
	size_t have = 0;
	char *body = NULL;

	while (body == NULL) {
		ssize_t got = recv(fd, buf + have, 512 - have, 0);

		if (got <= 0) {
			err(1, "reading a head, %zu bytes of it so far", have);
		}
		have += (size_t)got;
		body = memmem(buf, have, "\r\n\r\n", 4);
	}
	have -= (size_t)(body + 4 - buf);
	memmove(buf, body + 4, have);
	while (true) {
		for (size_t i = 0; i < have; i++, at++) {
			if (at >= len || buf[i] != body_at(at)) {
				errx(1, "byte %llu is wrong", (unsigned long long)at);
			}
		}
		if (at == len && !is_last) {
			return;
		}
		ssize_t got = recv(fd, buf, sizeof(buf), 0);

		if (got < 0 || (got == 0 && at < len)) {
			err(1, "reading a body, %llu bytes of it so far", (unsigned long long)at);
		}
		if (got == 0) {
			return;
		}
		have = (size_t)got;
	}
}

static void fetch(unsigned count, unsigned len, bool is_kept, bool is_last)
{
	char request[256];
	int fd = -1;
	int request_len = snprintf(request, sizeof(request), "GET /%u HTTP/1.1\r\n%s\r\n", len,
				   is_last ? "Connection: close\r\n" : "");

	for (unsigned i = 0; i < count; i++) {
		if (fd < 0) {
			fd = connect_service();
		}
		if (send(fd, request, (size_t)request_len, MSG_NOSIGNAL) != request_len) {
			err(1, "asking");
		}
		read_reply(fd, len, is_last);
		if (!is_kept) {
			close(fd);
			fd = -1;
		}
	}
}

int cmd_fetch(int argc, char **argv)
{
	unsigned count = (unsigned)strtoul(argv[2], NULL, 10);
	unsigned len = (unsigned)strtoul(argv[3], NULL, 10);
	unsigned clients = (unsigned)strtoul(argv[4], NULL, 10);
	bool is_kept = argc > 5 && strcmp(argv[5], "keep") == 0;
	bool is_last = argc > 5 && strcmp(argv[5], "close") == 0;
	int status = 0;
	int bad = 0;

	for (unsigned i = 0; i < clients; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			err(1, "fork");
		}
		if (pid == 0) {
			fetch(count / clients, len, is_kept, is_last);
			_exit(0);
		}
	}
	while (wait(&status) > 0) {
		bad += status != 0;
	}
	printf("%u replies of %u bytes, %d clients failed\n", count / clients * clients, len, bad);
	return bad != 0;
}

int cmd_flood(int argc, char **argv)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_ifindex = (int)if_nametoindex(argv[2]),
		.sll_halen = ETH_ALEN,
	};
	struct mmds_address from = {{2, 0, 0, 0, 0, 9}, {169, 254, 0, 0}, 0};
	struct mmds_address service = {{6, 1, 0x23, 0x45, 0x67, 1}, {169, 254, 169, 254}, 80};
	unsigned count = (unsigned)strtoul(argv[3], NULL, 10);
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));

	(void)argc;
	for (unsigned i = 0; i < count; i++) {
		struct mmds_segment syn = {.seq = i, .flags = MMDS_TCP_SYN, .mss = 1460};
		uint8_t frame[MMDS_FRAME_MAX];
		size_t len;

		from.ipv4[2] = (uint8_t)(10 + i % 100);
		from.ipv4[3] = (uint8_t)(i / 100);
		from.port = (uint16_t)(1024 + i % 60000);
		len = mmds_packet_write_tcp(frame, &from, &service, &syn);
		if (sendto(fd, frame, len, 0, (const struct sockaddr *)&to, sizeof(to)) < 0) {
			err(1, "flooding");
		}
	}
	printf("%u SYNs\n", count);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends frames back: the host's side of tests/guests/payload/bench_net.c.
 *
 * usage: echo_peer tap NAME      frames of the experimental protocol that come from a TAP
 *        echo_peer stream PATH   all frames of the stream, from each front-end that connects
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	TYPE = 0x88b5,
	ROOM = 256 << 10,
};

static uint8_t bytes[ROOM];

static void die(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static void echo_tap(const char *name)
{
	const int yes = 1;
	const struct sockaddr_ll at = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(TYPE),
		.sll_ifindex = (int)if_nametoindex(name),
	};
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0) {
		die(name);
	}
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes));
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof(yes));
	for (;;) {
		ssize_t got = recv(fd, bytes, sizeof(bytes), 0);

		if (got > 0) {
			(void)!send(fd, bytes, (size_t)got, 0);
		}
	}
}

/* What comes goes back as it is: the frames in it need not be known. */
static void echo_stream(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(address.sun_path, path, strnlen(path, sizeof(address.sun_path) - 1));
	unlink(path);
	if (bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 1) < 0) {
		die(path);
	}
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		ssize_t got;

		while ((got = read(fd, bytes, sizeof(bytes))) > 0) {
			for (ssize_t done = 0; done < got;) {
				ssize_t sent =
					send(fd, bytes + done, (size_t)(got - done), MSG_NOSIGNAL);

				if (sent < 0) {
					break;
				}
				done += sent;
			}
		}
		close(fd);
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "tap") == 0) {
		echo_tap(argv[2]);
	}
	if (argc == 3 && strcmp(argv[1], "stream") == 0) {
		echo_stream(argv[2]);
	}
	fprintf(stderr, "usage: see the head of tests/bench/echo_peer.c\n");
	return EXIT_FAILURE;
}

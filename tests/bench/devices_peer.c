/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's peer on the host.
 *
 * Theory of operation. One thread, one guest at a time. An order asks for chunks to the guest, or
 * announces chunks from it, of which a byte tells that they are all there; a frame asks for frames.
 * What is sent is a file's pages, and what is received is thrown away unseen, see
 * tests/bench/guest/stream.c.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/devices.h"
#include "tests/bench/guest/operations.h"

enum {
	SOURCES = 4, /* packets, and three listeners */
};

static char chunk[OPS_CHUNK];
static int pages = -1;

/* --- frames --- */

static int open_packets(const char *tap)
{
	const struct sockaddr_ll at = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(OPS_ETHERTYPE_PEER),
		.sll_ifindex = (int)if_nametoindex(tap),
	};
	const int yes = 1;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0) {
		die("no packets of %s", tap);
	}
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes));
	return fd;
}

static void answer_frame(int fd)
{
	struct ops_frame frame;

	if (recv(fd, &frame, sizeof(frame), 0) != sizeof(frame)) {
		return;
	}
	memcpy(frame.to, frame.from, sizeof(frame.to));
	frame.type[0] = (uint8_t)(OPS_ETHERTYPE >> 8);
	frame.type[1] = (uint8_t)OPS_ETHERTYPE;
	for (uint32_t i = 0; i < frame.order.count && i < OPS_BURST_MAX; i++) {
		(void)!send(fd, &frame, sizeof(frame), 0);
	}
}

/* --- streams --- */

static int listen_at(const struct sockaddr *at, socklen_t len)
{
	const int yes = 1;
	int fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, at, len) < 0 || listen(fd, 1) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool send_chunks(int fd, uint32_t count)
{
	for (uint64_t left = (uint64_t)count * OPS_CHUNK; left > 0;) {
		off_t from = (off_t)(-left % OPS_CHUNK);
		ssize_t sent = sendfile(fd, pages, &from, OPS_CHUNK - (size_t)from);

		if (sent <= 0) {
			return false;
		}
		left -= (uint64_t)sent;
	}
	return true;
}

static bool receive_chunks(int fd, uint32_t count, int flags)
{
	for (uint64_t left = (uint64_t)count * OPS_CHUNK; left > 0;) {
		ssize_t got = recv(fd, chunk, left < OPS_CHUNK ? left : OPS_CHUNK, flags);

		if (got <= 0) {
			return false;
		}
		left -= (uint64_t)got;
	}
	return true;
}

static void serve(int fd, int flags)
{
	struct ops_order order;
	bool ok = true;

	while (ok && recv(fd, &order, sizeof(order), MSG_WAITALL) == sizeof(order)) {
		ok = order.is_down ? send_chunks(fd, order.count)
				   : receive_chunks(fd, order.count, flags) &&
					     send(fd, "", 1, MSG_NOSIGNAL) == 1;
	}
}

__attribute__((noreturn)) static void run(struct pollfd *sources)
{
	for (;;) {
		if (poll(sources, SOURCES, -1) < 0 && errno != EINTR) {
			die("poll");
		}
		if (sources[0].revents != 0) {
			answer_frame(sources[0].fd);
		}
		for (unsigned i = 1; i < SOURCES; i++) {
			int fd = sources[i].revents != 0 ? accept(sources[i].fd, NULL, NULL) : -1;

			if (fd >= 0) {
				serve(fd, i == 1 ? MSG_TRUNC : 0);
				close(fd);
			}
		}
	}
}

pid_t peer_start(const char *tap, const char *unix_path)
{
	const struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_port = htons(OPS_PORT)};
	const struct sockaddr_vm vm = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = OPS_PORT};
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	strncpy(un.sun_path, unix_path, sizeof(un.sun_path) - 1);
	(void)unlink(unix_path);
	pages = memfd_create("pages", MFD_CLOEXEC);
	if (write(pages, chunk, sizeof(chunk)) != sizeof(chunk)) {
		die("memfd");
	}
	struct pollfd sources[SOURCES] = {
		{.fd = open_packets(tap), .events = POLLIN},
		{.fd = listen_at((const struct sockaddr *)&tcp, sizeof(tcp)), .events = POLLIN},
		{.fd = listen_at((const struct sockaddr *)&un, sizeof(un)), .events = POLLIN},
		{.fd = listen_at((const struct sockaddr *)&vm, sizeof(vm)), .events = POLLIN},
	};
	if (sources[1].fd < 0 || sources[2].fd < 0) {
		die("listen");
	}
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
		run(sources);
	}
	return pid;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata service's network on a TAP, behind a wire that can be bad. */
#include "tests/mmds/mmds_peer.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "devices/mmds/netstack.h"
#include "vmm/base/bytes.h"

enum {
	FRAME_LEN = 65536 + 64,
	BODY_MAX = 16 * 1024 * 1024,
};

/* One way of the wire. */
struct wire {
	unsigned percent;
	bool is_held; /* a frame that comes late, behind the next one */
	struct virtio_net_hdr header;
	size_t len;
	uint8_t data[FRAME_LEN];
};

struct server {
	struct mmds_stack *stack;
	struct mmds_metrics metrics;
	int tap;
	unsigned replies; /* that are not released */
	struct wire up;
	struct wire down;
};

typedef void (*pass_fn)(struct server *server, const struct virtio_net_hdr *header,
			const uint8_t *data, size_t len);

static volatile sig_atomic_t has_ended;
static volatile sig_atomic_t is_asked;

static void on_signal(int signal)
{
	if (signal == SIGUSR1) {
		is_asked = 1;
	} else {
		has_ended = 1;
	}
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* --- the service: the number in the path is the length of the body --- */

static int answer(void *arg, const char *request, size_t len, struct mmds_reply *reply)
{
	struct server *server = arg;
	char *line = strndup(request, len);
	unsigned body = 0;
	bool is_last = strstr(line, "Connection: close") != NULL;
	char *data;
	int head;

	if (sscanf(line, "GET /%u ", &body) != 1 || body > BODY_MAX) {
		free(line);
		return -1;
	}
	free(line);
	data = malloc(256 + body);
	head = snprintf(data, 256, "HTTP/1.1 200 \r\nContent-Length: %u\r\n%s\r\n", body,
			is_last ? "Connection: close\r\n" : "");
	for (unsigned i = 0; i < body; i++) {
		data[head + (int)i] = body_at(i);
	}
	*reply = (struct mmds_reply){data, (size_t)head + body, is_last, data};
	server->replies++;
	return 0;
}

static void release(void *arg, struct mmds_reply *reply)
{
	struct server *server = arg;

	free(reply->owner);
	server->replies--;
}

static uint32_t choose_isn(void *arg)
{
	(void)arg;
	return (uint32_t)random() << 1;
}

/* --- the wire --- */

static void receive(struct server *server, const struct virtio_net_hdr *header, const uint8_t *data,
		    size_t len)
{
	const struct mmds_frame frame = {
		.data = data,
		.len = len,
		.is_checksum_partial = (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0,
	};

	if (mmds_stack_takes(server->stack, data, min_u64(len, MMDS_HEAD_LEN))) {
		mmds_stack_receive(server->stack, &frame, now_ns());
	}
}

static void write_tap(struct server *server, const struct virtio_net_hdr *header,
		      const uint8_t *data, size_t len)
{
	struct iovec iov[] = {{(void *)header, sizeof(*header)}, {(void *)data, len}};

	if (writev(server->tap, iov, 2) < 0 && errno != EIO && errno != EAGAIN) {
		err(1, "writing to the TAP");
	}
}

static bool happens(const struct wire *wire)
{
	return random() % 100 < (long)wire->percent;
}

static void pass_on(struct server *server, struct wire *wire, pass_fn pass,
		    const struct virtio_net_hdr *header, const uint8_t *data, size_t len)
{
	bool was_held = wire->is_held;

	if (happens(wire)) {
		return;
	}
	if (!was_held && happens(wire)) {
		wire->is_held = true;
		wire->header = *header;
		wire->len = len;
		memcpy(wire->data, data, len);
		return;
	}
	pass(server, header, data, len);
	if (happens(wire)) {
		pass(server, header, data, len);
	}
	if (was_held) {
		wire->is_held = false;
		pass(server, &wire->header, wire->data, wire->len);
	}
}

/* --- the loop --- */

static int open_tap(const char *name, bool is_partial)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
		err(1, "opening TAP %s", name);
	}
	if (is_partial && ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0) {
		err(1, "leaving checksums to %s", name);
	}
	return fd;
}

static void read_tap(struct server *server)
{
	static uint8_t data[FRAME_LEN];
	struct virtio_net_hdr header;
	struct iovec iov[] = {{&header, sizeof(header)}, {data, sizeof(data)}};
	ssize_t len = readv(server->tap, iov, 2);

	if (len >= (ssize_t)sizeof(header)) {
		pass_on(server, &server->up, receive, &header, data, (size_t)len - sizeof(header));
	}
}

static void send_all(struct server *server)
{
	static const struct virtio_net_hdr header;
	uint8_t buf[MMDS_FRAME_MAX];
	size_t len;

	while ((len = mmds_stack_send(server->stack, buf, sizeof(buf), now_ns())) > 0) {
		pass_on(server, &server->down, write_tap, &header, buf, len);
	}
}

/* Kilobytes of memory that this process has touched. */
static unsigned resident_kib(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[128];
	unsigned kib = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "RssAnon: %u", &kib) == 1) {
			break;
		}
	}
	if (file != NULL) {
		fclose(file);
	}
	return kib;
}

static void report(const struct server *server)
{
	const struct mmds_metrics *metrics = &server->metrics;

	printf("created %llu destroyed %llu replies %u kib %u rx %llu unusual %llu bad %llu tx "
	       "%llu\n",
	       (unsigned long long)metric_get(&metrics->connections_created),
	       (unsigned long long)metric_get(&metrics->connections_destroyed), server->replies,
	       resident_kib(), (unsigned long long)metric_get(&metrics->rx_count),
	       (unsigned long long)metric_get(&metrics->rx_accepted_unusual),
	       (unsigned long long)metric_get(&metrics->rx_accepted_err),
	       (unsigned long long)metric_get(&metrics->tx_count));
	fflush(stdout);
}

/* Milliseconds until the stack has something to do, rounded up; -1: for ever. */
static int wait_ms(const struct server *server)
{
	uint64_t deadline_ns = mmds_stack_deadline(server->stack);
	uint64_t now = now_ns();

	if (deadline_ns == UINT64_MAX) {
		return -1;
	}
	return deadline_ns <= now ? 0 : (int)((deadline_ns - now) / 1000000 + 1);
}

int cmd_serve(int argc, char **argv)
{
	static struct server server;
	unsigned percent = (unsigned)strtoul(argv[3], NULL, 10);
	struct mmds_stack_params params = {
		.mac = {6, 1, 0x23, 0x45, 0x67, 1},
		.ipv4 = {169, 254, 169, 254},
		.service = {answer, release, choose_isn, &server},
		.metrics = &server.metrics,
	};
	struct sigaction action = {.sa_handler = on_signal};
	struct error error = {0};

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	server.tap = open_tap(argv[2], argc > 4 && strcmp(argv[4], "partial") == 0);
	server.up.percent = server.down.percent = percent;
	if (mmds_stack_new(&params, &server.stack, &error) < 0) {
		errx(1, "%s", error.msg);
	}
	printf("ready\n");
	fflush(stdout);
	while (!has_ended) {
		struct pollfd ready = {.fd = server.tap, .events = POLLIN};

		if (poll(&ready, 1, wait_ms(&server)) > 0) {
			read_tap(&server);
		}
		send_all(&server);
		if (is_asked) {
			is_asked = 0;
			report(&server);
		}
	}
	mmds_stack_free(server.stack);
	report(&server);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams over TCP, virtio sockets and Unix sockets, both ways at once, with content that the
 * receiver can compute.
 *
 * Theory of operation. A client tells how much it will send and wants to get, sends that, and
 * closes its half. The server sends at the same time, and ends with its verdict, which it gives
 * only after it saw the client's end: so the last bytes come through a half-closed connection. A
 * client opens all of its connections before it uses any. "uds" is the host's way to a guest's
 * port: a Unix socket of the monitor, and CONNECT <port> [compat].
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/guests/tools/tools.h"

enum {
	CHUNK = 64 << 10,
	CONNECTIONS_MAX = 1024,
	STACK_LEN = 256 << 10, /* with two chunks on it */
	PATIENCE_S = 60,
	TRIES = 100, /* at a tenth of a second each */
	BACKLOG = 128,
};

struct hello {
	uint64_t seed;
	uint64_t up;   /* bytes from the client */
	uint64_t down; /* bytes to it, then one byte: 1 if all that came was right */
};

struct connection {
	pthread_t thread;
	pthread_t sender;
	int fd;
	struct hello hello;
	bool is_held; /* what comes is read when there is a line of input */
	bool is_wrong;
};

static int host_port(char *text, char **host)
{
	char *colon = strrchr(text, ':');

	if (colon == NULL) {
		exit(complain("\"%s\" has no port", text));
	}
	*colon = '\0';
	*host = text;
	return (int)number(colon + 1);
}

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_vm vm;
	struct sockaddr_un un;
};

/* Parses; the socket, with its address in *to. *port is for CONNECT, else 0. */
static int open_socket(const char *text, bool is_server, union address *to, socklen_t *len,
		       int *port)
{
	char copy[128];
	char *host = copy;

	snprintf(copy, sizeof(copy), "%s", strchr(text, ':') != NULL ? strchr(text, ':') + 1 : "");
	memset(to, 0, sizeof(*to));
	*port = 0;
	if (strncmp(text, "tcp:", 4) == 0) {
		to->in.sin_family = AF_INET;
		to->in.sin_port = htons((uint16_t)host_port(copy, &host));
		inet_pton(AF_INET, host, &to->in.sin_addr);
		*len = sizeof(to->in);
	} else if (strncmp(text, "vsock:", 6) == 0) {
		to->vm.svm_family = AF_VSOCK;
		to->vm.svm_cid = VMADDR_CID_ANY;
		to->vm.svm_port =
			(unsigned)(is_server ? (int)number(copy) : host_port(copy, &host));
		if (!is_server) {
			to->vm.svm_cid = (unsigned)number(host);
		}
		*len = sizeof(to->vm);
	} else {
		to->un.sun_family = AF_UNIX;
		if (!is_server) {
			*port = host_port(copy, &host);
		}
		snprintf(to->un.sun_path, sizeof(to->un.sun_path), "%.100s", host);
		*len = sizeof(to->un);
	}
	return socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* A peer that is stuck is a failure, not a hang. */
static void limit_patience(int fd)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

static bool send_pattern(int fd, uint64_t seed, uint64_t len)
{
	char data[CHUNK];

	for (uint64_t at = 0; at < len;) {
		/* Odd lengths: packets and credit updates must not depend on round ones. */
		size_t part = 1 + mix(seed ^ at) % CHUNK;

		part = part < len - at ? part : len - at;
		pattern_fill(data, part, seed, at);
		if (!write_all(fd, data, part)) {
			complain("stream: sending at %llu of %llu: %s", (unsigned long long)at,
				 (unsigned long long)len, strerror(errno));
			return false;
		}
		at += part;
	}
	return true;
}

static bool receive_pattern(int fd, uint64_t seed, uint64_t len)
{
	char data[CHUNK];

	for (uint64_t at = 0; at < len;) {
		size_t room = len - at < CHUNK ? len - at : CHUNK;
		ssize_t got = read(fd, data, room);

		if (got <= 0) {
			complain("stream: %s at byte %llu of %llu",
				 got == 0 ? "end" : strerror(errno), (unsigned long long)at,
				 (unsigned long long)len);
			return false;
		}
		size_t good = pattern_check(data, (size_t)got, seed, at);

		if (good < (size_t)got) {
			complain("stream: byte %llu is wrong", (unsigned long long)(at + good));
			return false;
		}
		at += (uint64_t)got;
	}
	return true;
}

/* --- the server --- */

static void *send_down(void *arg)
{
	struct connection *connection = arg;

	connection->is_wrong =
		!send_pattern(connection->fd, ~connection->hello.seed, connection->hello.down);
	return NULL;
}

static void start_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_LEN);
	if (pthread_create(thread, &attr, run, arg) != 0) {
		exit(complain("stream: no thread"));
	}
}

static void *serve_one(void *arg)
{
	struct connection *connection = arg;
	const struct hello *hello = &connection->hello;
	char byte = 0;

	limit_patience(connection->fd);
	if (!read_all(connection->fd, &connection->hello, sizeof(connection->hello))) {
		complain("serve: no greeting: %s", strerror(errno));
		connection->is_wrong = true;
	} else {
		start_thread(&connection->sender, send_down, connection);
		bool ok = receive_pattern(connection->fd, hello->seed, hello->up);

		if (ok && read(connection->fd, &byte, 1) != 0) {
			complain("serve: the end did not come");
			ok = false;
		}
		pthread_join(connection->sender, NULL);
		byte = ok;
		connection->is_wrong |= !ok || !write_all(connection->fd, &byte, 1);
	}
	close(connection->fd);
	return NULL;
}

int stream_listen(const char *text)
{
	const int on = 1;
	union address address;
	socklen_t len;
	int port;
	int fd = open_socket(text, true, &address, &len, &port);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return fd >= 0 && bind(fd, &address.any, len) == 0 && listen(fd, BACKLOG) == 0 ? fd : -1;
}

int cmd_serve(int argc, char **argv)
{
	static struct connection connections[CONNECTIONS_MAX];
	uint64_t count = argc > 2 ? number(argv[2]) : 1;
	int fd = stream_listen(argv[1]);
	bool is_wrong = false;

	signal(SIGPIPE, SIG_IGN);
	if (fd < 0) {
		return complain("serve: %s: %s", argv[1], strerror(errno));
	}
	printf("serve: ready\n");
	count = count < CONNECTIONS_MAX ? count : CONNECTIONS_MAX;
	for (uint64_t i = 0; i < count; i++) {
		connections[i].fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (connections[i].fd < 0) {
			return complain("serve: connection %llu: %s", (unsigned long long)i,
					strerror(errno));
		}
		start_thread(&connections[i].thread, serve_one, &connections[i]);
	}
	for (uint64_t i = 0; i < count; i++) {
		pthread_join(connections[i].thread, NULL);
		is_wrong |= connections[i].is_wrong;
	}
	if (!is_wrong) {
		printf("serve: ok %llu connections\n", (unsigned long long)count);
	}
	return is_wrong;
}

int cmd_answer(int argc, char **argv)
{
	int fd = stream_listen(argv[1]);
	uint64_t random[2];
	char line[64];

	(void)argc;
	signal(SIGPIPE, SIG_IGN);
	if (fd < 0) {
		return complain("answer: %s: %s", argv[1], strerror(errno));
	}
	printf("answer: ready\n");
	for (;;) {
		int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (peer < 0 || getrandom(random, sizeof(random), 0) != sizeof(random)) {
			return complain("answer: %s", strerror(errno));
		}
		int len = snprintf(line, sizeof(line), "%016llx%016llx\n",
				   (unsigned long long)random[0], (unsigned long long)random[1]);

		(void)!write_all(peer, line, (size_t)len);
		close(peer);
	}
}

/* --- the client --- */

/* "CONNECT <port>\n" is answered by "OK <port>\n". */
static bool shake_hands(int fd, int port)
{
	char line[32] = "";
	size_t at = 0;

	dprintf(fd, "CONNECT %d\n", port);
	while (at < sizeof(line) - 1 && read(fd, line + at, 1) == 1 && line[at] != '\n') {
		at++;
	}
	return strncmp(line, "OK ", 3) == 0 && line[at] == '\n';
}

/* A connect over vsock gives up after two seconds, which an emulated machine may need. */
static void wait_for_answer(int fd, sa_family_t family)
{
	const struct timeval patience = {.tv_sec = 60};

	if (fd >= 0 && family == AF_VSOCK) {
		(void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience,
				 sizeof(patience));
	}
}

int stream_connect(const char *text, unsigned tries)
{
	while (tries-- > 0) {
		union address address;
		socklen_t len;
		int port;
		int fd = open_socket(text, false, &address, &len, &port);

		limit_patience(fd);
		wait_for_answer(fd, address.any.sa_family);
		if (fd >= 0 && connect(fd, &address.any, len) == 0 &&
		    (port == 0 || shake_hands(fd, port))) {
			return fd;
		}
		int sys = errno;

		close(fd);
		usleep(tries > 0 ? 100000 : 0);
		errno = sys;
	}
	return -1;
}

static void *send_up(void *arg)
{
	struct connection *connection = arg;

	connection->is_wrong =
		!send_pattern(connection->fd, connection->hello.seed, connection->hello.up) ||
		shutdown(connection->fd, SHUT_WR) < 0;
	return NULL;
}

/* All of it is here, and stays in the kernel's buffers until a line comes. */
static void hold(const struct connection *connection)
{
	int here = 0;

	for (unsigned i = 0; i < PATIENCE_S * 100 && (uint64_t)here < connection->hello.down; i++) {
		usleep(10000);
		ioctl(connection->fd, FIONREAD, &here);
	}
	printf("ready: held\n");
	while (getchar() != '\n' && !feof(stdin)) {
	}
}

static void *use(void *arg)
{
	struct connection *connection = arg;
	const struct hello *hello = &connection->hello;
	char byte = 0;

	if (!write_all(connection->fd, hello, sizeof(*hello))) {
		complain("send: greeting: %s", strerror(errno));
		connection->is_wrong = true;
	} else {
		start_thread(&connection->sender, send_up, connection);
		if (connection->is_held) {
			hold(connection);
		}
		bool ok = receive_pattern(connection->fd, ~hello->seed, hello->down);

		pthread_join(connection->sender, NULL);
		if (ok && (!read_all(connection->fd, &byte, 1) || byte != 1)) {
			complain("send: no good verdict (%d)", byte);
			ok = false;
		}
		if (ok && read(connection->fd, &byte, 1) != 0) {
			complain("send: the end did not come");
			ok = false;
		}
		connection->is_wrong |= !ok;
	}
	close(connection->fd);
	return NULL;
}

int cmd_send(int argc, char **argv)
{
	static struct connection connections[CONNECTIONS_MAX];
	uint64_t count = number(argv[4]);
	bool is_wrong = false;

	/* The server may not be there yet. */
	unsigned tries = argc > 5 && strcmp(argv[5], "once") == 0 ? 1 : TRIES;

	signal(SIGPIPE, SIG_IGN);
	count = count < CONNECTIONS_MAX ? count : CONNECTIONS_MAX;
	for (uint64_t i = 0; i < count; i++) {
		connections[i] = (struct connection){
			.fd = stream_connect(argv[1], tries),
			.hello = {mix(i), number(argv[2]) << 10, number(argv[3]) << 10},
			.is_held = argc > 5 && strcmp(argv[5], "held") == 0};
		if (connections[i].fd < 0) {
			return complain("send: %s: connection %llu: %s", argv[1],
					(unsigned long long)i, strerror(errno));
		}
	}
	for (uint64_t i = 0; i < count; i++) {
		start_thread(&connections[i].thread, use, &connections[i]);
	}
	for (uint64_t i = 0; i < count; i++) {
		pthread_join(connections[i].thread, NULL);
		is_wrong |= connections[i].is_wrong;
	}
	if (!is_wrong) {
		printf("send: ok %llu connections\n", (unsigned long long)count);
	}
	return is_wrong;
}

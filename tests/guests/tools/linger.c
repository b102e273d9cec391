/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that last until somebody ends them: the client sends, the server sends it back, and
 * both look only at how it ends. That it ends without a sign is wrong, so is a byte that changed.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/guests/tools/tools.h"

enum {
	PART = 4096,
	SEED = 61,
	BREAK_US = 5000, /* emulated CPUs have more to do */
	HANG_MS = 10000, /* without a byte */
	TOLD = 64 << 10, /* each time so many bytes are through */
	ECHOES_MAX = 64,
};

/* Of a virtio socket that was reset Linux tells ECONNRESET once, then ENOTCONN. */
static bool is_end(ssize_t got)
{
	return got == 0 ||
	       (got < 0 && (errno == ECONNRESET || errno == EPIPE || errno == ENOTCONN));
}

/* Sends nothing, and only hears of the end. */
static int idle(int fd)
{
	char byte;
	ssize_t got = read(fd, &byte, 1);

	errno = got > 0 ? EILSEQ : errno;
	return is_end(got) ? 0 : -1;
}

/* 1: goes on; 0: it ended; -1: it is wrong. */
static int step(int fd, uint64_t *sent, uint64_t *received)
{
	char data[PART];
	struct pollfd look = {.fd = fd, .events = POLLIN};

	if (*sent - *received < 4 * PART) {
		pattern_fill(data, PART, SEED, *sent);
		ssize_t put = send(fd, data, PART, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (put < 0 && errno != EAGAIN) {
			return is_end(put) ? 0 : -1;
		}
		*sent += put > 0 ? (uint64_t)put : 0;
	}
	if (poll(&look, 1, HANG_MS) == 0) {
		errno = ETIMEDOUT;
		return -1;
	}
	ssize_t got = read(fd, data, PART);

	if (got <= 0) {
		return is_end(got) ? 0 : -1;
	}
	if (pattern_check(data, (size_t)got, SEED, *received) < (size_t)got) {
		errno = EILSEQ;
		return -1;
	}
	*received += (uint64_t)got;
	return 1;
}

int cmd_linger(int argc, char **argv)
{
	int fd = stream_connect(argv[1], 100);
	uint64_t sent = 0;
	uint64_t received = 0;
	uint64_t told = 0;
	bool is_idle = argc > 3;
	int result;

	if (fd < 0) {
		return complain("linger: %s: %s", argv[1], strerror(errno));
	}
	while ((result = is_idle ? idle(fd) : step(fd, &sent, &received)) > 0) {
		if (received - told >= TOLD) {
			printf("linger: %s goes on\n", argv[2]);
			told += TOLD;
		}
		usleep(BREAK_US);
	}
	if (result < 0) {
		return complain("linger: %s after %llu bytes: %s", argv[2],
				(unsigned long long)received, strerror(errno));
	}
	printf("linger: %s: ok, %llu bytes until the end\n", argv[2], (unsigned long long)received);
	return close(fd);
}

static void *echo(void *arg)
{
	int fd = *(int *)arg;
	char data[PART];
	ssize_t got;

	while ((got = read(fd, data, PART)) > 0 && write_all(fd, data, (size_t)got)) {
	}
	close(fd);
	return NULL;
}

int cmd_echo(int argc, char **argv)
{
	static pthread_t threads[ECHOES_MAX];
	static int fds[ECHOES_MAX];
	uint64_t count = number(argv[2]);
	int fd = stream_listen(argv[1]);

	(void)argc;
	signal(SIGPIPE, SIG_IGN);
	if (fd < 0 || count > ECHOES_MAX) {
		return complain("echo: %s: %s", argv[1], strerror(errno));
	}
	printf("echo: ready\n");
	for (uint64_t i = 0; i < count; i++) {
		fds[i] = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (fds[i] < 0 || pthread_create(&threads[i], NULL, echo, &fds[i]) != 0) {
			return complain("echo: connection: %s", strerror(errno));
		}
	}
	for (uint64_t i = 0; i < count; i++) {
		pthread_join(threads[i], NULL);
	}
	printf("echo: ok, all have ended\n");
	return close(fd);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests as a guest makes them for its metadata: a token, a value, by one connection each and by
 * one that is kept; a document of 1 MiB.
 */
#include "tests/bench/guest/operations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	COUNT = 64,
	BIG_COUNT = 4,
	WARM_UP = 8,
	TOKEN_LEN = 48,
};

static char buf[64 << 10];
static char token[TOKEN_LEN + 1];

/* Sends a request and reads the whole answer; what of its body is in `buf` ends in a NUL. */
static const char *ask(int fd, const char *request)
{
	size_t len = strlen(request);
	size_t have = 0;
	char *body = NULL;
	char *length;

	if (send(fd, request, len, 0) != (ssize_t)len) {
		die("send");
	}
	while (body == NULL) {
		ssize_t got = recv(fd, buf + have, sizeof(buf) - 1 - have, 0);

		if (got <= 0) {
			die("no answer to %s", request);
		}
		have += (size_t)got;
		buf[have] = '\0';
		body = strstr(buf, "\r\n\r\n");
	}
	body += 4;
	length = strcasestr(buf, "content-length: ");
	if (strstr(buf, " 200 ") == NULL || length == NULL) {
		die("%s is answered %.40s", request, buf);
	}
	for (size_t left = strtoull(length + 16, NULL, 10) - (have - (size_t)(body - buf));
	     left > 0;) {
		char rest[16 << 10];
		ssize_t got = recv(fd, rest, left < sizeof(rest) ? left : sizeof(rest), 0);

		if (got <= 0) {
			die("an answer ends early");
		}
		left -= (size_t)got;
	}
	return body;
}

static void measure(const char *row, const char *address, const char *request, unsigned count)
{
	unsigned warm_up = count > WARM_UP ? WARM_UP : 1;

	for (unsigned i = 0; i < warm_up + count; i++) {
		if (i == warm_up) {
			ops_begin(row);
		}
		int fd = tcp_connect(address, OPS_HTTP_PORT);

		(void)ask(fd, request);
		close(fd);
	}
	ops_end(count);
}

static void measure_kept(const char *row, const char *address, const char *request)
{
	int fd = tcp_connect(address, OPS_HTTP_PORT);

	for (unsigned i = 0; i < WARM_UP + COUNT; i++) {
		if (i == WARM_UP) {
			ops_begin(row);
		}
		(void)ask(fd, request);
	}
	ops_end(COUNT);
	close(fd);
}

void http_measure(const char *address)
{
	static const char for_token[] = "PUT /latest/api/token HTTP/1.1\r\nHost: metadata\r\n"
					"X-metadata-token-ttl-seconds: 600\r\n\r\n";
	char value[256];
	char big[256];
	int fd = tcp_connect(address, OPS_HTTP_PORT);

	snprintf(token, sizeof(token), "%s", ask(fd, for_token));
	close(fd);
	snprintf(value, sizeof(value),
		 "GET /latest/meta-data/ami-id HTTP/1.1\r\nHost: metadata\r\n"
		 "X-metadata-token: %s\r\n\r\n",
		 token);
	snprintf(big, sizeof(big),
		 "GET /big HTTP/1.1\r\nHost: metadata\r\nX-metadata-token: %s\r\n\r\n", token);
	measure("token", address, for_token, COUNT);
	measure("value", address, value, COUNT);
	measure_kept("value, kept connection", address, value);
	measure("1 MiB", address, big, BIG_COUNT);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the API that sees bytes. */
#include "tests/lib/api_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/testbed.h"

enum {
	REQUEST_MAX = 8192
};

static int connect_once(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		int sys = errno;

		close(fd);
		errno = sys;
		return -1;
	}
	return fd;
}

int api_connect(const char *path, unsigned timeout_ms)
{
	uint64_t deadline = now_ms() + timeout_ms;

	for (;;) {
		int fd = connect_once(path);

		if (fd >= 0 || now_ms() >= deadline) {
			return fd;
		}
		sleep_ms(2);
	}
}

/* What is left of the time, for poll(). */
static int left_ms(uint64_t deadline)
{
	uint64_t now = now_ms();

	return now < deadline ? (int)(deadline - now) : 0;
}

bool api_send(int fd, const char *data, size_t len, unsigned timeout_ms)
{
	uint64_t deadline = now_ms() + timeout_ms;

	while (len > 0) {
		struct pollfd ready = {.fd = fd, .events = POLLOUT};

		if (poll(&ready, 1, left_ms(deadline)) <= 0) {
			return false;
		}
		ssize_t count = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (count < 0 && errno != EAGAIN) {
			return false;
		}
		data += count > 0 ? count : 0;
		len -= count > 0 ? (size_t)count : 0;
	}
	return true;
}

size_t api_read(int fd, char *data, size_t len, unsigned timeout_ms, bool *is_closed)
{
	uint64_t deadline = now_ms() + timeout_ms;
	size_t got = 0;

	*is_closed = false;
	while (got < len) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};

		if (poll(&ready, 1, left_ms(deadline)) <= 0) {
			break;
		}
		ssize_t count = recv(fd, data + got, len - got, 0);

		if (count <= 0) {
			*is_closed = true;
			break;
		}
		got += (size_t)count;
	}
	return got;
}

/* How much of `text` is a head, with its empty line; 0: it goes on. */
static size_t head_len(const char *text, size_t len)
{
	const char *end = memmem(text, len, "\r\n\r\n", 4);

	return end != NULL ? (size_t)(end - text) + 4 : 0;
}

/* `head` ends with a NUL. */
static size_t content_len(const char *head)
{
	const char *at = strcasestr(head, "\r\nContent-Length:");

	return at != NULL ? strtoul(at + strlen("\r\nContent-Length:"), NULL, 10) : 0;
}

size_t api_receive(int fd, char *answer, size_t cap, unsigned timeout_ms, bool *is_whole)
{
	uint64_t deadline = now_ms() + timeout_ms;
	bool is_closed = false;
	size_t len = 0;

	*is_whole = false;
	/* Byte by byte, not to take what belongs to the next answer. */
	while (head_len(answer, len) == 0) {
		if (len + 1 >= cap || len >= API_HEAD_MAX ||
		    api_read(fd, answer + len, 1, (unsigned)left_ms(deadline), &is_closed) == 0) {
			return len;
		}
		len++;
	}
	answer[len] = '\0';
	size_t body_len = content_len(answer);
	size_t room = cap - len;
	size_t wanted = body_len < room ? body_len : room;
	size_t got = api_read(fd, answer + len, wanted, (unsigned)left_ms(deadline), &is_closed);

	*is_whole = got == body_len;
	return len + got;
}

size_t api_format_answer(char *to, size_t cap, unsigned status, bool is_deprecated,
			 const char *body, size_t len)
{
	const char *version = "HTTP/1.1";
	int head;

	if (body == NULL) {
		head = snprintf(to, cap,
				"%s %u \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
				"%s\r\n",
				version, status, is_deprecated ? "Deprecation: true\r\n" : "");
		return (size_t)head < cap ? (size_t)head : 0;
	}
	head = snprintf(to, cap,
			"%s %u \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n%s"
			"Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
			version, status, is_deprecated ? "Deprecation: true\r\n" : "", len);
	if ((size_t)head + len > cap) {
		return 0;
	}
	memcpy(to + head, body, len);
	return (size_t)head + len;
}

size_t api_format_request(char *to, size_t cap, const char *method, const char *path,
			  const char *body, size_t len)
{
	int head =
		body == NULL
			? snprintf(to, cap, "%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n", method,
				   path)
			: snprintf(to, cap,
				   "%s %s HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n"
				   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
				   method, path, len);

	if (head < 0 || (size_t)head + len > cap) {
		return 0;
	}
	if (body != NULL) {
		memcpy(to + head, body, len);
	}
	return (size_t)head + (body != NULL ? len : 0);
}

unsigned api_ask(int fd, const char *method, const char *path, const char *body, char *answer,
		 size_t cap, unsigned timeout_ms)
{
	static const char version[] = "HTTP/1.1 ";
	char request[REQUEST_MAX];
	bool is_whole = false;
	size_t len = api_format_request(request, sizeof(request), method, path, body,
					body != NULL ? strlen(body) : 0);

	answer[0] = '\0';
	if (len == 0 || !api_send(fd, request, len, timeout_ms)) {
		return 0;
	}
	size_t got = api_receive(fd, answer, cap - 1, timeout_ms, &is_whole);

	answer[got] = '\0';
	const char *head_end = strstr(answer, "\r\n\r\n");

	if (!is_whole || head_end == NULL) {
		return 0;
	}
	unsigned status = (unsigned)strtoul(answer + strlen(version), NULL, 10);

	memmove(answer, head_end + 4, strlen(head_end + 4) + 1);
	return status;
}

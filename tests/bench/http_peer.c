/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP server to compare the metadata service with: http_peer ADDRESS
 *
 * It knows as little as a server can: each answer is made beforehand, by the first letter of the
 * path behind the method. One thread, epoll, connections as long as the client wants them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/guest/operations.h"

enum {
	BIG_LEN = 1 << 20,
};

struct answer {
	const char *begin; /* of the requests that it answers */
	size_t body_len;
	char *text;
	size_t len;
};

static struct answer answers[] = {
	{.begin = "PUT ", .body_len = 48},
	{.begin = "GET /big", .body_len = BIG_LEN},
	{.begin = "GET ", .body_len = 5},
};

static void make(struct answer *answer)
{
	answer->text = malloc(answer->body_len + 256);
	if (answer->text == NULL) {
		exit(EXIT_FAILURE);
	}
	answer->len = (size_t)sprintf(answer->text,
				      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
				      "Content-Length: %zu\r\n\r\n",
				      answer->body_len);
	memset(answer->text + answer->len, 'x', answer->body_len);
	answer->len += answer->body_len;
}

/* Whether the connection goes on. A request comes in one piece. */
static int serve(int fd)
{
	char request[4096];
	ssize_t got = recv(fd, request, sizeof(request) - 1, 0);

	if (got <= 0) {
		return 0;
	}
	request[got] = '\0';
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		const struct answer *answer = &answers[i];

		if (strncmp(request, answer->begin, strlen(answer->begin)) == 0) {
			return send(fd, answer->text, answer->len, MSG_NOSIGNAL) ==
			       (ssize_t)answer->len;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(OPS_HTTP_PORT)};
	const int yes = 1;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (argc != 2 || inet_pton(AF_INET, argv[1], &at.sin_addr) != 1 ||
	    bind(listener, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(listener, 64) < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) {
		fprintf(stderr, "http_peer: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		make(&answers[i]);
	}
	while (epoll_wait(epoll, &event, 1, -1) == 1 || errno == EINTR) {
		int fd = event.data.fd;

		if (fd == listener) {
			fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
			event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
			(void)epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
		} else if (!serve(fd)) {
			close(fd);
		}
	}
	return EXIT_FAILURE;
}

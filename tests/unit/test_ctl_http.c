/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/squibctl/ctl_http.c: the parser on bytes, the exchange against a scripted server.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/squibctl/ctl_http.h"
#include "vmm/base/bytes.h"

static const struct {
	const char *bytes;
	int result;
	struct ctl_http_message message;
} answers[] = {
	{"HTTP/1.1 204 \r\n\r\n", 1, {.status = 204, .body_start = 17}},
	{"HTTP/1.1 204 No Content\r\n\r\n", 1, {.status = 204, .body_start = 27}},
	{"HTTP/1.0 200 \r\nContent-Length: 2\r\n\r\n{}", 1, {200, 36, 2}},
	{"HTTP/1.1 200 \r\nServer: x\r\ncontent-length:2 \r\n\r\n{}more", 1, {200, 47, 2}},
	{"HTTP/1.1 400 \r\nContent-Length: 3\r\n\r\n{}", 0, {0}},
	{"HTTP/1.1 400 \r\nContent-Length: 3\r\n\r", 0, {0}},
	{"HTTP/1.1 4", 0, {0}},
	{"", 0, {0}},
	{"HTTP/1.1 2x0 \r\n\r\n", -1, {0}},
	{"HTTP/1.1 20\r\n\r\n", -1, {0}},
	{"HTTP/2 200 \r\n\r\n", -1, {0}},
	{"SSH-2.0-x\r\n\r\n", -1, {0}},
	{"\r\n\r\n", -1, {0}},
	{"HTTP/1.1 200 \r\nContent-Length: \r\n\r\n", -1, {0}},
	{"HTTP/1.1 200 \r\nContent-Length: -1\r\n\r\n", -1, {0}},
	{"HTTP/1.1 200 \r\nContent-Length: 1x\r\n\r\n", -1, {0}},
	{"HTTP/1.1 200 \r\nContent-Length: 16777217\r\n\r\n", -1, {0}},
	{"HTTP/1.1 200 \r\nContent-Length: 99999999999999999999\r\n\r\n", -1, {0}},
};

Test(ctl_http, answers_are_whole_or_short_or_refused)
{
	for (size_t i = 0; i < ARRAY_COUNT(answers); i++) {
		struct ctl_http_message message = {0};
		struct error err = {0};
		const char *bytes = answers[i].bytes;

		cr_expect_eq(ctl_http_parse(bytes, strlen(bytes), &message, &err),
			     answers[i].result, "%s: %s", bytes, err.msg);
		cr_expect_eq(err.kind != ERR_NONE, answers[i].result < 0, "%s", bytes);
		if (answers[i].result == 1) {
			cr_expect_eq(message.status, answers[i].message.status, "%s", bytes);
			cr_expect_eq(message.body_start, answers[i].message.body_start, "%s",
				     bytes);
			cr_expect_eq(message.body_len, answers[i].message.body_len, "%s", bytes);
		}
	}
}

Test(ctl_http, no_head_is_read_beyond_its_limit)
{
	struct ctl_http_message message;
	struct error err = {0};
	static char bytes[CTL_HEAD_MAX + 1];

	memset(bytes, 'a', sizeof(bytes));
	cr_expect_eq(ctl_http_parse(bytes, CTL_HEAD_MAX, &message, &err), 0);
	cr_expect_eq(ctl_http_parse(bytes, CTL_HEAD_MAX + 1, &message, &err), -1);
}

Test(ctl_http, a_NUL_among_the_headers_is_refused)
{
	static const char bytes[] = "HTTP/1.1 200 \r\nA: \0b\r\n\r\n";
	struct ctl_http_message message;
	struct error err = {0};

	cr_expect_eq(ctl_http_parse(bytes, sizeof(bytes) - 1, &message, &err), -1);
}

/* --- A server that answers one request with what it was given, byte by byte or at once --- */

struct script {
	int fd;
	const char *answer;
	bool by_byte;
	bool ends; /* closes without an answer's end */
	char request[512];
};

static void *serve(void *arg)
{
	struct script *script = arg;
	size_t step = script->by_byte ? 1 : strlen(script->answer);

	ssize_t got = recv(script->fd, script->request, sizeof(script->request) - 1, 0);

	(void)!got;
	for (const char *at = script->answer; *at != '\0'; at += step) {
		(void)!send(script->fd, at, step, MSG_NOSIGNAL);
	}
	if (script->ends) {
		shutdown(script->fd, SHUT_RDWR);
	}
	return NULL;
}

static int exchange(struct script *script, struct ctl_reply *reply, struct error *err)
{
	int pair[2];
	pthread_t thread;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	script->fd = pair[1];
	cr_assert_eq(pthread_create(&thread, NULL, serve, script), 0);
	int result = ctl_http_exchange(pair[0], "PUT", "/vm", NULL, reply, err);

	pthread_join(thread, NULL);
	close(pair[0]);
	close(pair[1]);
	return result;
}

Test(ctl_http, an_answer_in_single_bytes_after_an_interim_one_is_put_together)
{
	struct script script = {.answer = "HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 \r\nContent-Length: "
					  "4\r\n\r\nabcd",
				.by_byte = true};
	struct ctl_reply reply = {0};
	struct error err = {0};

	cr_assert_eq(exchange(&script, &reply, &err), 0, "%s", err.msg);
	cr_expect_eq(reply.status, 200);
	cr_expect_str_eq(reply.body, "abcd");
	cr_expect_eq(reply.body_len, 4);
	cr_expect_str_eq(script.request, "PUT /vm HTTP/1.1\r\nHost: localhost\r\n\r\n");
	free(reply.body);
}

Test(ctl_http, a_connection_that_ends_amid_an_answer_is_an_error)
{
	struct script script = {.answer = "HTTP/1.1 200 \r\nContent-Length: 4\r\n\r\nab",
				.ends = true};
	struct ctl_reply reply = {0};
	struct error err = {0};

	cr_expect_eq(exchange(&script, &reply, &err), -1);
	cr_expect_not_null(strstr(err.msg, "closed the connection"), "%s", err.msg);
	cr_expect_null(reply.body);
}

Test(ctl_http, the_end_of_the_other_side_is_waited_for)
{
	int pair[2];
	struct error err = {0};

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	close(pair[1]);
	cr_expect_eq(ctl_http_wait_end(pair[0], &err), 0, "%s", err.msg);
	close(pair[0]);
}

/* --- Connecting --- */

static void expect_unconnected(const char *path, const char *part)
{
	struct error err = {0};
	int fd = -1;

	cr_expect_eq(ctl_http_connect(path, &fd, &err), -1);
	cr_expect_eq(fd, -1);
	cr_expect_not_null(strstr(err.msg, part), "%s", err.msg);
}

Test(ctl_http, what_is_wrong_with_the_socket_is_told)
{
	char path[64];
	char longest[200] = {0};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memset(longest, 'x', sizeof(longest) - 1);
	snprintf(path, sizeof(path), "/tmp/squib-ctl-%d", getpid());
	expect_unconnected(path, "There is no socket");
	expect_unconnected(longest, "has 1 to 107 bytes");
	strcpy(address.sun_path, path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	expect_unconnected(path, "No squib serves");
	close(fd);
	unlink(path);
}

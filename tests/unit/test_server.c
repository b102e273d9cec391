/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/server.c, on a real socket. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "api/server.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"

enum {
	PAYLOAD_MAX = 2048,
	BIG_LEN = 1 << 20,
	ANSWER_LEN = 4096,
	PATIENCE_S = 20
};

#define FIXED "Server: Firecracker API\r\nConnection: keep-alive\r\n"
#define JSON "Content-Type: application/json\r\n"
#define NO_CONTENT "HTTP/1.1 204 \r\n" FIXED "\r\n"
#define LAST "\nAll previous unanswered requests will be dropped.\" }"
#define FULL                                                                                       \
	"HTTP/1.1 503\r\nServer: Firecracker API\r\nConnection: close\r\nContent-Length: 40\r\n"   \
	"\r\n{ \"error\": \"Too many open connections\" }"

/* What the handler knows. Tests wait for what the other thread does by polling the atomics. */
struct service {
	struct api_server *server;
	char dir[32];
	char path[64];
	_Atomic unsigned handled;
	_Atomic bool is_held;	     /* the handler waits as long */
	_Atomic unsigned handled_by; /* `handled` when "/mark" came */
	_Atomic bool is_masked;	     /* its thread's signal mask is right */
	_Atomic bool is_named;
	_Atomic int event; /* that "/owed" waits for */
	struct http_owed owed[API_CONNECTIONS_MAX];
	_Atomic unsigned debts; /* how many of these there were */
	_Atomic uint64_t patience_ms;
};

static void nap(void)
{
	usleep(1000);
}

/* Answers "/<number>" with the number, others with the body or with nothing. */
static void handle(void *arg, const struct http_request *request, struct http_response *response)
{
	struct service *service = arg;
	sigset_t mask;
	char name[16];

	service->handled++;
	while (atomic_load(&service->is_held)) {
		nap();
	}
	response->status = 204;
	if (strcmp(request->path, "/big") == 0) {
		response->status = 200;
		response->body_len = BIG_LEN;
		response->body = malloc(BIG_LEN);
		memset(response->body, 'b', BIG_LEN);
	} else if (strcmp(request->path, "/owed") == 0) {
		struct http_owed *owed = &service->owed[service->debts++];

		owed->fd = fcntl(service->event, F_DUPFD_CLOEXEC, 0);
		owed->deadline_ns =
			clock_host.now_ns(CLOCK_MONOTONIC) + service->patience_ms * NS_PER_MS;
		response->owed = owed;
	} else if (strcmp(request->path, "/mark") == 0) {
		service->handled_by = service->handled;
	} else if (strcmp(request->path, "/thread") == 0) {
		pthread_sigmask(SIG_BLOCK, NULL, &mask);
		service->is_masked =
			sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGUSR1) == 1 &&
			sigismember(&mask, SIGSEGV) == 0 && sigismember(&mask, SIGSYS) == 0;
		pthread_getname_np(pthread_self(), name, sizeof(name));
		service->is_named = strcmp(name, "fc_api") == 0;
	} else if (strcmp(request->path, "/") != 0) {
		response->status = 200;
		response->body = strdup(request->path + 1);
		response->body_len = strlen(response->body);
	} else if (request->body != NULL) {
		response->status = 200;
		response->body = strdup(request->body);
		response->body_len = request->body_len;
	}
}

static void resume(void *arg, struct http_owed *owed, bool is_late, struct http_response *response)
{
	struct service *service = arg;

	cr_assert(owed >= service->owed && owed < service->owed + service->debts);
	close(owed->fd);
	response->status = 200;
	response->body = strdup(is_late ? "late" : "paid");
	response->body_len = 4;
}

static struct api_server_config config_of(struct service *service, const char *path)
{
	return (struct api_server_config){
		.path = path,
		.payload_max = PAYLOAD_MAX,
		.handler = handle,
		.resume = resume,
		.arg = service,
	};
}

static void set_up_quiet(struct service *service, uint64_t quiet_ms)
{
	struct error err = {0};

	*service = (struct service){.dir = "/tmp/squib-XXXXXX"};
	cr_assert_not_null(mkdtemp(service->dir));
	snprintf(service->path, sizeof(service->path), "%s/api", service->dir);
	struct api_server_config config = config_of(service, service->path);

	config.quiet_ms = quiet_ms;
	cr_assert_eq(api_server_new(&config, &service->server, &err), 0, "%s", err.msg);
}

static void set_up(struct service *service)
{
	set_up_quiet(service, 60 * 1000);
}

static void start(struct service *service)
{
	struct error err = {0};

	set_up(service);
	cr_assert_eq(api_server_start(service->server, &err), 0, "%s", err.msg);
}

static void tear_down(struct service *service)
{
	api_server_stop(service->server);
	api_server_free(service->server);
	/* The server leaves its file. */
	cr_expect_eq(unlink(service->path), 0);
	rmdir(service->dir);
}

/* --- the client --- */

static int new_socket(void)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

static void connect_to(int fd, const struct service *service)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", service->path);
	cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
}

static int open_client(const struct service *service)
{
	int fd = new_socket();

	connect_to(fd, service);
	return fd;
}

static void say(int fd, const char *text)
{
	size_t len = strlen(text);

	cr_assert_eq(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* The next bytes are `expected`. */
static void hear(int fd, const char *expected)
{
	char text[ANSWER_LEN] = {0};
	size_t len = strlen(expected);
	ssize_t count = recv(fd, text, len, MSG_WAITALL);

	cr_assert_lt(len, sizeof(text));
	cr_assert_eq(count, (ssize_t)len, "[%s] (%zd, errno %d), not [%s]", text, count, errno,
		     expected);
	cr_assert_str_eq(text, expected, "[%s], not [%s]", text, expected);
}

static void hear_text(int fd, const char *body)
{
	char text[ANSWER_LEN];

	snprintf(text, sizeof(text), "HTTP/1.1 200 \r\n" FIXED JSON "Content-Length: %zu\r\n\r\n%s",
		 strlen(body), body);
	hear(fd, text);
}

static void hear_error(int fd, const char *message)
{
	char text[2 * ANSWER_LEN];

	snprintf(text, sizeof(text),
		 "HTTP/1.1 400 \r\n" FIXED JSON "Content-Length: %zu\r\n\r\n{ \"error\": \"%s" LAST,
		 strlen(message) + strlen("{ \"error\": \"" LAST), message);
	hear(fd, text);
}

static void hear_big(int fd)
{
	char *body = malloc(BIG_LEN);

	hear(fd, "HTTP/1.1 200 \r\n" FIXED JSON "Content-Length: 1048576\r\n\r\n");
	cr_assert_eq(recv(fd, body, BIG_LEN, MSG_WAITALL), BIG_LEN);
	cr_expect(body[0] == 'b' && memcmp(body, body + 1, BIG_LEN - 1) == 0);
	free(body);
}

static void hear_end(int fd)
{
	char c;

	cr_expect_eq(recv(fd, &c, 1, 0), 0);
	close(fd);
}

static void ask_on(int fd)
{
	say(fd, "GET /again HTTP/1.1\r\n\r\n");
	hear_text(fd, "again");
}

static void check_alive(const struct service *service)
{
	int fd = open_client(service);

	ask_on(fd);
	close(fd);
}

static void wait_handled(struct service *service, unsigned count)
{
	for (unsigned i = 0; service->handled < count; i++) {
		cr_assert_lt(i, PATIENCE_S * 1000);
		nap();
	}
}

/* The CPU time that the process takes in a moment in which nothing should happen. */
static long idle_cost_ms(void)
{
	struct timespec before;
	struct timespec after;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	usleep(300 * 1000);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	return (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
}

/* Sends a text, and beside it a file of that name, which the sender closes. */
static void say_with_file(int fd, const char *text, const char *name)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {(char *)text, strlen(text)};
	const struct msghdr message = {.msg_iov = &iov,
				       .msg_iovlen = 1,
				       .msg_control = control.bytes,
				       .msg_controllen = sizeof(control.bytes)};
	int file = memfd_create(name, MFD_CLOEXEC);

	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.head), &file, sizeof(int));
	cr_assert_eq(sendmsg(fd, &message, MSG_NOSIGNAL), (ssize_t)strlen(text));
	close(file);
}

/* Whether this process has the file, in whatever thread. */
static bool is_open(const char *name)
{
	char link[32];
	char target[64];
	bool is_found = false;

	for (int fd = 0; fd < 64 && !is_found; fd++) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		ssize_t len = readlink(link, target, sizeof(target) - 1);

		target[len > 0 ? len : 0] = '\0';
		is_found = strstr(target, name) != NULL;
	}
	return is_found;
}

static void wait_closed(const char *name)
{
	for (unsigned i = 0; is_open(name); i++) {
		cr_assert_lt(i, PATIENCE_S * 1000);
		nap();
	}
}

/* --- tests --- */

/* Not on the test's output. */
static void quiet(void)
{
	(void)capture_log(LOG_WARN);
}

TestSuite(server, .init = quiet, .timeout = 60);

Test(server, a_connection_is_kept_for_more_requests)
{
	struct service service;

	start(&service);
	int fd = open_client(&service);

	for (unsigned i = 0; i < 3; i++) {
		say(fd, "PUT / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
		hear(fd, NO_CONTENT);
		say(fd, "PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
		hear_text(fd, "hello");
		say(fd, "POST / HTTP/1.1\r\n\r\n");
		hear_error(fd, "Invalid HTTP Method: Unsupported HTTP method.");
	}
	close(fd);
	tear_down(&service);
}

Test(server, pipelined_requests_are_answered_in_order)
{
	struct service service;
	char text[64];

	start(&service);
	int fd = open_client(&service);
	FILE *out = fdopen(dup(fd), "w");

	for (unsigned i = 1; i <= 500; i++) {
		fprintf(out, "GET /%u HTTP/1.1\r\n\r\n", i);
	}
	fclose(out);
	for (unsigned i = 1; i <= 500; i++) {
		snprintf(text, sizeof(text), "%u", i);
		hear_text(fd, text);
	}
	close(fd);
	tear_down(&service);
}

Test(server, requests_may_come_byte_by_byte)
{
	static const char text[] = "PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
	struct service service;

	start(&service);
	int fd = open_client(&service);

	for (size_t i = 0; i < strlen(text); i++) {
		cr_assert_eq(send(fd, text + i, 1, 0), 1);
		nap();
	}
	hear_text(fd, "hello");
	close(fd);
	tear_down(&service);
}

Test(server, who_expects_100_continue_gets_it)
{
	struct service service;

	start(&service);
	int fd = open_client(&service);

	say(fd, "PUT / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	hear(fd, "HTTP/1.1 100 \r\n" FIXED "\r\n");
	say(fd, "hi");
	hear_text(fd, "hi");
	close(fd);
	tear_down(&service);
}

Test(server, the_eleventh_connection_is_turned_away)
{
	int fds[API_CONNECTIONS_MAX];
	struct service service;

	start(&service);
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
			fds[i] = open_client(&service);
			ask_on(fds[i]);
		}
		int eleventh = open_client(&service);

		hear(eleventh, FULL);
		hear_end(eleventh);
		for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
			ask_on(fds[i]);
			shutdown(fds[i], SHUT_WR);
			hear_end(fds[i]);
		}
	}
	tear_down(&service);
}

/* Ten connections that send nothing, or half a request, can't keep others out for ever. */
Test(server, a_new_client_gets_the_place_of_the_quietest)
{
	int fds[API_CONNECTIONS_MAX];
	struct service service;
	struct error err = {0};

	set_up_quiet(&service, 50);
	cr_assert_eq(api_server_start(service.server, &err), 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
		fds[i] = open_client(&service);
		ask_on(fds[i]);
	}
	say(fds[3], "GET / HT");
	usleep(100 * 1000);
	for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
		if (i != 3) {
			ask_on(fds[i]);
		}
	}
	int eleventh = open_client(&service);

	ask_on(eleventh);
	hear_end(fds[3]);
	for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
		if (i != 3) {
			ask_on(fds[i]);
			close(fds[i]);
		}
	}
	close(eleventh);
	tear_down(&service);
}

Test(server, a_client_that_does_not_read_is_left_alone)
{
	enum {
		REQUESTS = 20
	};
	struct service service;

	start(&service);
	int fd = open_client(&service);

	for (unsigned i = 0; i < REQUESTS; i++) {
		say(fd, "GET /big HTTP/1.1\r\n\r\n");
	}
	wait_handled(&service, 1);
	cr_expect_lt(idle_cost_ms(), 100);
	/* One answer is in the making; no second request was taken. */
	cr_expect_eq(service.handled, 1);
	check_alive(&service);
	for (unsigned i = 0; i < REQUESTS; i++) {
		hear_big(fd);
	}
	ask_on(fd);
	cr_expect_lt(idle_cost_ms(), 100);
	close(fd);
	tear_down(&service);
}

Test(server, a_flood_without_reading_is_not_taken)
{
	static const char text[] = "GET / HTTP/1.1\r\n\r\n";
	struct service service;
	unsigned sent = 0;
	ssize_t count = 0;

	start(&service);
	int fd = open_client(&service);

	fcntl(fd, F_SETFL, O_NONBLOCK);
	/* Until both directions are full, for a good while. */
	for (unsigned i = 0; i < 100; i++) {
		while ((count = send(fd, text, strlen(text), MSG_NOSIGNAL)) ==
		       (ssize_t)strlen(text)) {
			sent++;
			i = 0;
		}
		cr_assert_lt(count, 0);
		nap();
	}
	unsigned handled = service.handled;

	cr_expect_lt(handled, sent);
	cr_expect_lt(idle_cost_ms(), 100);
	cr_expect_eq(service.handled, handled);
	check_alive(&service);
	fcntl(fd, F_SETFL, 0);
	for (unsigned i = 0; i < sent; i++) {
		hear(fd, NO_CONTENT);
	}
	close(fd);
	tear_down(&service);
}

Test(server, one_busy_client_does_not_starve_another)
{
	struct service service;

	start(&service);
	int busy = open_client(&service);
	int other = open_client(&service);

	ask_on(other);
	service.handled = 0;
	service.is_held = true;
	for (unsigned i = 0; i < 100; i++) {
		say(busy, "GET / HTTP/1.1\r\n\r\n");
	}
	wait_handled(&service, 1);
	say(other, "GET /mark HTTP/1.1\r\n\r\n");
	service.is_held = false;
	hear(other, NO_CONTENT);
	cr_expect_lt(service.handled_by, 50);
	for (unsigned i = 0; i < 100; i++) {
		hear(busy, NO_CONTENT);
	}
	close(busy);
	close(other);
	tear_down(&service);
}

Test(server, half_a_close_still_gets_all_answers)
{
	struct service service;

	start(&service);
	int fd = open_client(&service);

	say(fd, "GET /1 HTTP/1.1\r\n\r\nGET /big HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\nGET /4 HT");
	shutdown(fd, SHUT_WR);
	hear_text(fd, "1");
	hear_big(fd);
	hear_text(fd, "3");
	hear_end(fd);
	tear_down(&service);
}

Test(server, a_huge_header_is_refused_and_skipped)
{
	static const char before[] = "GET / HTTP/1.1\r\nX: ";
	struct service service;
	char *header = malloc(BIG_LEN);
	char why[ANSWER_LEN / 2];

	start(&service);
	int fd = open_client(&service);

	memset(header, 'x', BIG_LEN);
	say(fd, before);
	cr_assert_eq(send(fd, header, BIG_LEN, MSG_NOSIGNAL), BIG_LEN);
	snprintf(why, sizeof(why),
		 "Invalid header. Reason: Invalid content length. Header: X: %.*s",
		 HTTP_LINE_LEN - 3, header);
	hear_error(fd, why);
	say(fd, "\r\n\r\n");
	ask_on(fd);
	close(fd);
	free(header);
	tear_down(&service);
}

Test(server, a_body_over_the_limit_is_refused_before_it_comes)
{
	struct service service;
	char body[4096];

	start(&service);
	int fd = open_client(&service);

	say(fd, "PUT / HTTP/1.1\r\nContent-Length: 4096\r\n\r\n");
	hear_error(fd, "Request payload with size 4096 is larger than the limit of 2048 allowed by "
		       "server.");
	/* A client that sends it nevertheless stays in step. */
	memset(body, '\n', sizeof(body));
	cr_assert_eq(send(fd, body, sizeof(body), MSG_NOSIGNAL), sizeof(body));
	ask_on(fd);
	close(fd);
	tear_down(&service);
}

Test(server, clients_may_vanish_at_any_point)
{
	static const char text[] =
		"GET /big HTTP/1.1\r\n\r\nPUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhello";
	struct service service;

	start(&service);
	for (size_t len = 0; len <= strlen(text); len++) {
		int fd = open_client(&service);

		cr_assert_eq(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
		if (len % 2 == 1) {
			char c;

			/* In the middle of the answer, where there is one. */
			(void)!recv(fd, &c, 1, len < 21 ? MSG_DONTWAIT : 0);
		}
		close(fd);
		check_alive(&service);
	}
	cr_expect_lt(idle_cost_ms(), 100);
	tear_down(&service);
}

static unsigned count_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++) {
		count += fcntl(fd, F_GETFD) >= 0;
	}
	return count;
}

/* One whose close the server has seen. */
static void visit(const struct service *service)
{
	int fd = open_client(service);

	say(fd, "PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
	hear_text(fd, "hello");
	say(fd, "PUT / HTTP/1.1\r\nContent-Length: 1000\r\n\r\nhalf");
	shutdown(fd, SHUT_WR);
	hear_end(fd);
}

Test(server, two_hundred_visits_leave_nothing_behind)
{
	struct service service;

	start(&service);
	visit(&service);
	unsigned fds = count_fds();
	size_t bytes = mallinfo2().uordblks;

	for (unsigned i = 0; i < 200; i++) {
		visit(&service);
	}
	cr_expect_eq(count_fds(), fds);
	cr_expect_leq(mallinfo2().uordblks, bytes + 1024);
	tear_down(&service);
}

static void *stop_main(void *arg)
{
	struct service *service = arg;

	api_server_stop(service->server);
	return NULL;
}

Test(server, stopping_waits_for_the_request_in_flight)
{
	struct service service;
	pthread_t stopper;

	start(&service);
	int fd = open_client(&service);

	service.is_held = true;
	say(fd, "GET /last HTTP/1.1\r\n\r\n");
	wait_handled(&service, 1);
	cr_assert_eq(pthread_create(&stopper, NULL, stop_main, &service), 0);
	usleep(20 * 1000);
	service.is_held = false;
	pthread_join(stopper, NULL);
	hear_text(fd, "last");
	api_server_stop(service.server);
	api_server_free(service.server);
	service.server = NULL;
	hear_end(fd);
	tear_down(&service);
}

static void start_debts(struct service *service, uint64_t patience_ms)
{
	start(service);
	service->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	service->patience_ms = patience_ms;
}

static int open_debt(struct service *service)
{
	int fd = open_client(service);
	unsigned handled = service->handled;

	say(fd, "DELETE /owed HTTP/1.1\r\n\r\nGET /next HTTP/1.1\r\n\r\n");
	wait_handled(service, handled + 1);
	return fd;
}

Test(server, while_an_answer_is_owed_others_are_answered)
{
	struct service service;

	start_debts(&service, PATIENCE_S * 1000);
	int debtor = open_debt(&service);

	check_alive(&service);
	cr_expect_lt(idle_cost_ms(), 100);
	eventfd_write(service.event, 1);
	hear_text(debtor, "paid");
	hear_text(debtor, "next");
	close(debtor);
	close(service.event);
	tear_down(&service);
}

Test(server, an_owed_answer_comes_at_its_deadline)
{
	struct service service;

	start_debts(&service, 50);
	int debtor = open_debt(&service);

	hear_text(debtor, "late");
	hear_text(debtor, "next");
	close(debtor);
	close(service.event);
	tear_down(&service);
}

Test(server, owed_answers_are_given_when_it_stops)
{
	struct service service;

	start_debts(&service, PATIENCE_S * 1000);
	int debtor = open_debt(&service);

	api_server_stop(service.server);
	hear_text(debtor, "late");
	tear_down(&service);
	hear_end(debtor);
	close(service.event);
}

Test(server, a_client_that_is_owed_an_answer_may_vanish_and_keeps_its_place)
{
	struct service service;
	int debtors[API_CONNECTIONS_MAX];

	start_debts(&service, PATIENCE_S * 1000);
	for (size_t i = 0; i < API_CONNECTIONS_MAX; i++) {
		debtors[i] = open_debt(&service);
	}
	int client = open_client(&service);

	hear(client, FULL);
	hear_end(client);
	close(debtors[0]);
	cr_expect_lt(idle_cost_ms(), 100);
	eventfd_write(service.event, 1);
	for (size_t i = 1; i < API_CONNECTIONS_MAX; i++) {
		hear_text(debtors[i], "paid");
		close(debtors[i]);
	}
	check_alive(&service);
	close(service.event);
	tear_down(&service);
}

Test(server, stopping_is_at_once_when_a_client_does_not_read)
{
	struct service service;

	start(&service);
	int fd = open_client(&service);

	say(fd, "GET /big HTTP/1.1\r\n\r\nGET /big HTTP/1.1\r\n\r\n");
	wait_handled(&service, 1);
	tear_down(&service);
	close(fd);
}

Test(server, clients_may_come_before_it_starts)
{
	struct service service;
	struct error err = {0};

	set_up(&service);
	int fd = open_client(&service);

	say(fd, "GET /early HTTP/1.1\r\n\r\n");
	cr_assert_eq(api_server_start(service.server, &err), 0);
	hear_text(fd, "early");
	close(fd);
	tear_down(&service);
}

Test(server, it_may_be_freed_unstarted_or_not_be_there)
{
	struct service service;

	set_up(&service);
	tear_down(&service);
	api_server_stop(NULL);
	api_server_free(NULL);
}

#define CLIENTLESS                                                                                 \
	"The limit of open files (ulimit -n) leaves the API server no descriptor for a client: "   \
	"No "                                                                                      \
	"file descriptors available (os error 24)"

/* Takes all descriptors below the limit. */
static size_t fill_fds(int *fds, size_t count)
{
	const struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
	size_t filled = 0;

	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while (filled < count && (fds[filled] = dup(0)) >= 0) {
		filled++;
	}
	return filled;
}

Test(server, a_limit_that_leaves_no_descriptor_for_a_client_is_told_at_the_start)
{
	struct service service;
	struct error err = {0};
	int fds[64];

	set_up(&service);
	api_server_free(service.server);
	struct api_server_config config = config_of(&service, service.path);
	size_t filled = fill_fds(fds, ARRAY_COUNT(fds));

	/* As many as it has: a loop, an eventfd, a listener, and one of a client. */
	for (unsigned i = 0; i < 4; i++) {
		error_clear(&err);
		unlink(service.path);
		close(fds[filled - 1 - i]);
		cr_assert_eq(api_server_new(&config, &service.server, &err), i < 3 ? -1 : 0);
		cr_assert_eq(strcmp(err.msg, CLIENTLESS) == 0, i == 2, "%u: %s", i, err.msg);
	}
	tear_down(&service);
}

Test(server, without_descriptors_it_waits_and_does_not_spin)
{
	struct service service;
	int fds[64];
	int log = capture_log(LOG_WARN);

	start(&service);
	int old = open_client(&service);
	int new = new_socket();

	ask_on(old);
	size_t filled = fill_fds(fds, ARRAY_COUNT(fds));

	connect_to(new, &service);
	say(new, "GET /late HTTP/1.1\r\n\r\n");
	cr_expect_lt(idle_cost_ms(), 100);
	ask_on(old);
	for (size_t i = 0; i < filled; i++) {
		close(fds[i]);
	}
	hear_text(new, "late");
	cr_expect_eq(count_of(captured(log), "can't accept connections"), 1);
	close(old);
	close(new);
	tear_down(&service);
}

Test(server, its_thread_has_a_name_a_mask_and_a_line_in_the_log)
{
	struct service service;
	sigset_t mask;
	int log = capture_log(LOG_INFO);

	start(&service);
	int fd = open_client(&service);

	say(fd, "GET /thread HTTP/1.1\r\n\r\n");
	hear(fd, NO_CONTENT);
	cr_assert_eq(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
	cr_expect_eq(sigismember(&mask, SIGTERM), 0);
	cr_expect(service.is_masked);
	cr_expect(service.is_named);
	cr_expect_not_null(strstr(captured(log), ":fc_api"), "%s", captured(log));
	cr_expect_not_null(strstr(captured(log), "API server started.\n"), "%s", captured(log));
	close(fd);
	tear_down(&service);
}

Test(server, the_mode_of_its_file_is_the_umasks)
{
	struct service service;
	struct stat info;

	umask(022);
	set_up(&service);
	cr_assert_eq(stat(service.path, &info), 0);
	cr_expect_eq(info.st_mode, S_IFSOCK | 0755);
	tear_down(&service);
}

Test(server, a_path_that_can_not_be_bound_is_reported_with_its_cause)
{
	struct service service;
	char long_path[200];

	set_up(&service);
	memset(long_path, 'l', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';

	const struct {
		const char *path;
		const char *cause; /* behind the path */
	} cases[] = {
		{"", "the path is empty"},
		{"/nowhere/api", ": No such file or directory (os error 2)"},
		{"/dev/null", ". Check that it is not already used."},
		{service.path, ". Check that it is not already used."},
		{long_path, ": the path has 199 bytes, and that of a socket at most 107"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct api_server_config config = config_of(&service, cases[i].path);
		struct api_server *server = NULL;
		struct error err = {0};
		char expected[512];
		unsigned fds = count_fds();

		snprintf(expected, sizeof(expected), "Failed to open the API socket at: %s%s",
			 cases[i].path, cases[i].cause);
		cr_expect_eq(api_server_new(&config, &server, &err), -1);
		cr_expect_str_eq(err.msg, expected, "%s", err.msg);
		cr_expect_null(server);
		cr_expect_eq(count_fds(), fds);
	}
	tear_down(&service);
}

Test(server, descriptors_that_nobody_takes_are_closed)
{
	struct service service;

	quiet();
	start(&service);
	int fd = open_client(&service);

	/* With the answer, those that came with a part of the request too. */
	say_with_file(fd, "GET /a HT", "first");
	say_with_file(fd, "TP/1.1\r\n\r\n", "second");
	hear_text(fd, "a");
	wait_closed("first");
	wait_closed("second");
	/* With the next answer, if they came with what is no request. */
	say_with_file(fd, "FROB / HTTP/1.1\r\n\r\n", "third");
	hear_error(fd, "Invalid HTTP Method: Unsupported HTTP method.");
	say(fd, "GET /b HTTP/1.1\r\n\r\n");
	hear_text(fd, "b");
	wait_closed("third");
	/* With the connection. */
	say_with_file(fd, "GET /c HT", "fourth");
	close(fd);
	wait_closed("fourth");
	tear_down(&service);
}

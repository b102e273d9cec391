/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that mean no good, against a microVM that runs.
 *
 * Theory of operation. A payload guest counts on its console. One good client keeps its connection
 * from the beginning to the end and asks, between and during all attacks, what it knows the exact
 * answer to. Each attack is bounded in time, and after each the guest must have counted on. What
 * the process holds is compared at the end with what it held after a warm-up: the same number of
 * threads and descriptors, and at most GROWTH_KIB more resident, guest RAM not counted. The
 * attacks draw their bytes from a seeded generator: SEED in the environment repeats a run.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/api_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/squib.h"
#include "vmm/version.h"

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum {
	GUEST_MIB = 64,
	GROWTH_KIB = 512,
	ATTACK_MS = 2000, /* none takes longer, but for its last step */
	CROWD = 1000,
	PLACES = 9, /* of connections, beside the good client's */
	REFUSAL_LEN = 120,
};

struct scene {
	struct squib squib;
	unsigned good_asked;
	uint64_t random;
	uint64_t deadline;   /* of the attack */
	unsigned long count; /* the guest's, when it was looked at last */
};

/* xorshift64* */
static uint32_t draw(struct scene *scene, uint32_t below)
{
	scene->random ^= scene->random >> 12;
	scene->random ^= scene->random << 25;
	scene->random ^= scene->random >> 27;
	return (uint32_t)((scene->random * UINT64_C(2685821657736338717)) >> 32) % below;
}

/* --- the good client, and the guest --- */

static const struct exchange {
	const char *method;
	const char *path;
	const char *body; /* NULL: none */
	unsigned status;
	const char *answer; /* NULL: no body */
} exchanges[] = {
	{"GET", "/version", NULL, 200, "{\"firecracker_version\":\"" SQUIB_VERSION "\"}"},
	{"PATCH", "/vm", "{\"state\":\"Paused\"}", 204, NULL},
	{"PUT", "/actions", "{\"action_type\":\"InstanceStart\"}", 400,
	 "{\"fault_message\":\"The requested operation is not supported after starting the "
	 "microVM.\"}"},
	{"PATCH", "/vm", "{\"state\":\"Resumed\"}", 204, NULL},
	{"GET", "/machine-config", NULL, 200,
	 "{\"vcpu_count\":1,\"mem_size_mib\":64,\"smt\":false,\"track_dirty_pages\":false,"
	 "\"huge_pages\":\"None\"}"},
};

static bool ask(struct scene *scene, int fd, const struct exchange *exchange)
{
	char request[1024];
	char expected[ANSWER_LEN];
	char answer[ANSWER_LEN];
	bool is_whole;
	size_t body_len = exchange->body != NULL ? strlen(exchange->body) : 0;
	size_t answer_len = exchange->answer != NULL ? strlen(exchange->answer) : 0;
	size_t len = api_format_request(request, sizeof(request), exchange->method, exchange->path,
					exchange->body, body_len);

	if (!api_send(fd, request, len, PATIENCE_MS)) {
		return squib_fail(&scene->squib, "the good client can't send %s", exchange->path);
	}
	len = api_format_answer(expected, sizeof(expected), exchange->status, false,
				exchange->answer, answer_len);
	size_t got = api_receive(fd, answer, sizeof(answer), PATIENCE_MS, &is_whole);

	return (got == len && memcmp(answer, expected, len) == 0) ||
	       squib_fail(&scene->squib, "the good client's %s %s got %.*s", exchange->method,
			  exchange->path, (int)(got < 300 ? got : 300), answer);
}

/* One question of the good client. */
static bool good(struct scene *scene)
{
	return ask(scene, scene->squib.api,
		   &exchanges[scene->good_asked++ % ARRAY_COUNT(exchanges)]);
}

/* All of them, so that the guest is not left paused. */
static bool good_round(struct scene *scene)
{
	do {
		if (!good(scene)) {
			return false;
		}
	} while (scene->good_asked % ARRAY_COUNT(exchanges) != 0);
	return true;
}

static unsigned long guest_count(const struct scene *scene)
{
	size_t len = 0;
	char *out = squib_file(&scene->squib, "out", &len);
	unsigned long count = 0;

	/* The last line may not be whole. */
	for (char *at = out; at != NULL && (at = strstr(at, "count: ")) != NULL; at++) {
		char *end;
		unsigned long number = strtoul(at + strlen("count: "), &end, 10);

		count = *end == '\n' || *end == '\r' ? number : count;
	}
	free(out);
	return count;
}

static bool guest_goes_on(struct scene *scene)
{
	uint64_t deadline = now_ms() + PATIENCE_MS;
	unsigned long before = guest_count(scene);

	if (before < scene->count) {
		return squib_fail(&scene->squib, "the guest's console has lost lines");
	}
	while (guest_count(scene) <= before) {
		if (now_ms() > deadline) {
			return squib_fail(&scene->squib, "the guest does not count on from %lu",
					  before);
		}
		sleep_ms(5);
	}
	scene->count = before;
	return true;
}

/* --- tools of the attackers --- */

static int attacker(struct scene *scene)
{
	char path[PATH_LEN];

	squib_path(&scene->squib, "api.sock", path);
	int fd = api_connect(path, PATIENCE_MS);

	if (fd < 0) {
		squib_fail(&scene->squib, "an attacker can't connect");
	}
	return fd;
}

static bool is_over(const struct scene *scene)
{
	return now_ms() >= scene->deadline;
}

static const char get[] = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
static const char put[] = "PUT /machine-config HTTP/1.1\r\nContent-Length: 35\r\nX: y\r\n\r\n"
			  "{\"vcpu_count\":1,\"mem_size_mib\":128}";

/* Sends without waiting; what is not taken is lost. */
static ssize_t throw_at(int fd, const void *data, size_t len)
{
	return send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* --- attacks --- */

/* Five clients, one byte each in turn: all get their answers. */
static bool slow_bytes(struct scene *scene)
{
	int fds[5];
	char answer[ANSWER_LEN];
	bool is_whole;
	bool ok = true;

	for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
		fds[i] = attacker(scene);
	}
	for (size_t at = 0; at < sizeof(get) - 1 && ok; at++) {
		for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
			throw_at(fds[i], &get[at], 1);
		}
		sleep_ms(2);
		ok = good(scene);
	}
	for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
		size_t len =
			ok ? api_receive(fds[i], answer, sizeof(answer), PATIENCE_MS, &is_whole)
			   : 0;

		if (ok && (!is_whole || memcmp(answer, "HTTP/1.1 200 ", 13) != 0)) {
			ok = squib_fail(&scene->squib, "a slow client got %.*s",
					(int)(len < 200 ? len : 200), answer);
		}
		close(fds[i]);
	}
	return ok;
}

/* Bytes without end after a beginning that promises an end. */
static bool endless(struct scene *scene, const char *beginning, char filler)
{
	static char chunk[16384];
	int fd = attacker(scene);
	bool ok = fd >= 0;
	size_t sent = 0;

	memset(chunk, filler, sizeof(chunk));
	throw_at(fd, beginning, strlen(beginning));
	while (ok && sent < 16 << 20 && !is_over(scene)) {
		ssize_t count = throw_at(fd, chunk, sizeof(chunk));

		sent += count > 0 ? (size_t)count : 0;
		ok = count > 0 || good(scene);
	}
	close(fd);
	return ok && good(scene);
}

static bool endless_line(struct scene *scene)
{
	return endless(scene, "GET /", 'a');
}

static bool endless_header(struct scene *scene)
{
	return endless(scene, "GET / HTTP/1.1\r\nX: ", 'a');
}

static bool endless_headers(struct scene *scene)
{
	int fd = attacker(scene);
	char lines[8192];
	bool ok = fd >= 0;

	for (size_t i = 0; i + 4 <= sizeof(lines); i += 4) {
		memcpy(lines + i, "a:\r\n", 4);
	}
	throw_at(fd, "GET / HTTP/1.1\r\n", 16);
	for (unsigned i = 0; ok && i < 1000 && !is_over(scene); i++) {
		ok = throw_at(fd, lines, sizeof(lines)) > 0 || good(scene);
	}
	close(fd);
	return ok && good(scene);
}

static bool endless_body(struct scene *scene)
{
	return endless(scene, "PUT /vm HTTP/1.1\r\nContent-Length: 4294967295\r\n\r\n", 'b');
}

/* Ten bodies, as large as they may be, that never end: what they hold goes with them. */
static bool large_bodies(struct scene *scene)
{
	static char body[51199];
	const char head[] = "PUT /vm HTTP/1.1\r\nContent-Length: 51200\r\n\r\n";
	int fds[PLACES];
	bool ok = true;

	memset(body, ' ', sizeof(body));
	for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
		fds[i] = attacker(scene);
		ok = ok && api_send(fds[i], head, sizeof(head) - 1, PATIENCE_MS) &&
		     api_send(fds[i], body, sizeof(body), PATIENCE_MS);
	}
	ok = (ok || squib_fail(&scene->squib, "a body within the limit is not taken")) &&
	     good_round(scene);
	for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
		close(fds[i]);
	}
	return ok;
}

/* Whoever stops sending gets what he asked for, and the end. */
static bool half_closed(struct scene *scene)
{
	char answer[ANSWER_LEN];
	bool is_whole;
	bool is_closed;
	bool ok = true;

	for (size_t len = 0; len < sizeof(get) && ok && !is_over(scene); len++) {
		int fd = attacker(scene);

		api_send(fd, get, len, PATIENCE_MS);
		shutdown(fd, SHUT_WR);
		if (len == sizeof(get) - 1) {
			api_receive(fd, answer, sizeof(answer), PATIENCE_MS, &is_whole);
			ok = is_whole ||
			     squib_fail(&scene->squib, "no answer after the end of the input");
		}
		size_t more = api_read(fd, answer, 1, PATIENCE_MS, &is_closed);

		ok = ok && ((more == 0 && is_closed) ||
			    squib_fail(&scene->squib,
				       "no end after the end of the input at byte %zu", len));
		close(fd);
	}
	return ok && good(scene);
}

/* Requests without end, whose answers nobody takes. */
static bool never_reading(struct scene *scene)
{
	int fds[PLACES];
	bool ok = true;

	for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
		fds[i] = attacker(scene);
	}
	for (unsigned turn = 0; ok && turn < 20000 && !is_over(scene); turn++) {
		throw_at(fds[turn % ARRAY_COUNT(fds)], get, sizeof(get) - 1);
		ok = turn % 100 != 0 || good(scene);
	}
	ok = ok && good_round(scene);
	for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
		close(fds[i]);
	}
	return ok;
}

/* One after another: silent ones, ones that ask and go, ones that leave an answer behind. */
static bool in_sequence(struct scene *scene)
{
	bool ok = true;

	for (unsigned i = 0; ok && i < CROWD && !is_over(scene); i++) {
		int fd = attacker(scene);

		if (i % 3 > 0) {
			throw_at(fd, get, sizeof(get) - (i % 3));
		}
		close(fd);
		ok = fd >= 0 && (i % 50 != 0 || good(scene));
	}
	return ok;
}

/* All at once: nine have a place, the others are told that they have none. */
static bool in_parallel(struct scene *scene)
{
	static int fds[CROWD];
	char answer[ANSWER_LEN];
	unsigned opened = 0;
	bool is_whole;
	bool is_closed;

	/* By the time of these answers the places of those who went before are free. */
	if (!good_round(scene)) {
		return false;
	}
	while (opened < CROWD && !is_over(scene)) {
		fds[opened] = attacker(scene);
		if (fds[opened] < 0) {
			break;
		}
		opened++;
	}
	bool ok = good_round(scene);

	for (unsigned i = PLACES; ok && i < opened; i++) {
		size_t len = api_receive(fds[i], answer, sizeof(answer), PATIENCE_MS, &is_whole);

		ok = (len == REFUSAL_LEN && memcmp(answer, "HTTP/1.1 503\r\n", 14) == 0 &&
		      api_read(fds[i], answer, 1, PATIENCE_MS, &is_closed) == 0 && is_closed) ||
		     squib_fail(&scene->squib, "connection %u is not refused, or not closed", i);
	}
	for (unsigned i = 0; i < opened; i++) {
		close(fds[i]);
	}
	ok = ok && (opened >= 100 || squib_fail(&scene->squib, "only %u connections", opened));
	return ok && good_round(scene);
}

/* A request cut at every byte, and then a reset or an end. */
static bool cut_requests(struct scene *scene)
{
	bool ok = true;

	for (size_t len = 0; len < sizeof(put) && ok && !is_over(scene); len++) {
		int fd = attacker(scene);

		ok = fd >= 0 && throw_at(fd, put, len) == (ssize_t)len;
		close(fd);
	}
	return ok && good(scene);
}

/* Bytes of any kind, and requests in which some were replaced. */
static bool random_bytes(struct scene *scene)
{
	char bytes[2048];
	bool ok = true;

	for (unsigned turn = 0; ok && turn < 1000000 && !is_over(scene); turn++) {
		size_t len = 1 + draw(scene, sizeof(bytes));
		int fd = attacker(scene);

		if (turn % 2 == 0) {
			for (size_t i = 0; i < len; i++) {
				bytes[i] = (char)draw(scene, 256);
			}
		} else {
			len = sizeof(put) - 1;
			memcpy(bytes, put, len);
			for (uint32_t i = draw(scene, 4); i < 4; i++) {
				bytes[draw(scene, (uint32_t)len)] = (char)draw(scene, 256);
			}
		}
		throw_at(fd, bytes, len);
		close(fd);
		ok = fd >= 0 && (turn % 20 != 0 || good(scene));
	}
	return ok && good_round(scene);
}

/* Descriptors that come along with the bytes: the server must not keep them. */
static bool passed_descriptors(struct scene *scene)
{
	int fd = attacker(scene);
	int passed[16];
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(passed))];
	} control = {0};
	char byte = 'G';
	struct iovec piece = {&byte, 1};
	struct msghdr message = {.msg_iov = &piece,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};

	for (size_t i = 0; i < ARRAY_COUNT(passed); i++) {
		passed[i] = fd;
	}
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(passed));
	memcpy(CMSG_DATA(&control.header), passed, sizeof(passed));
	for (unsigned i = 0; i < 100; i++) {
		if (sendmsg(fd, &message, MSG_NOSIGNAL) != 1) {
			close(fd);
			return squib_fail(&scene->squib, "cannot pass descriptors");
		}
	}
	close(fd);
	return good_round(scene);
}

/* Whatever system call waits is interrupted; SIGRTMIN is the one that kicks vCPUs. */
static bool interrupted(struct scene *scene)
{
	const int signals[] = {SIGSTOP, SIGCONT, SIGRTMIN, SIGWINCH, SIGCHLD};

	while (!is_over(scene)) {
		for (unsigned i = 0; i < 20; i++) {
			if (kill(scene->squib.pid, signals[i % ARRAY_COUNT(signals)]) < 0) {
				return squib_fail(&scene->squib, "cannot signal");
			}
		}
		kill(scene->squib.pid, SIGCONT);
		if (!good(scene)) {
			return false;
		}
	}
	return good_round(scene);
}

static const struct {
	const char *name;
	bool (*run)(struct scene *scene);
} attacks[] = {
	{"clients that send byte by byte", slow_bytes},
	{"a request line without end", endless_line},
	{"a header without end", endless_header},
	{"headers without end", endless_headers},
	{"a body without end", endless_body},
	{"large bodies that never end", large_bodies},
	{"clients that stop sending", half_closed},
	{"clients that never read", never_reading},
	{"a thousand connections in sequence", in_sequence},
	{"a thousand connections in parallel", in_parallel},
	{"requests cut at every byte", cut_requests},
	{"random bytes", random_bytes},
	{"descriptors that nobody asked for", passed_descriptors},
	{"signals that stop, wake and kick", interrupted},
};

/* --- the whole --- */

static bool prepare(struct scene *scene)
{
	static const char *const args[] = {"--level", "Error", NULL};
	struct squib *squib = &scene->squib;
	char kernel[PATH_LEN];

	payload_path("count", kernel);
	return squib_init(squib, 0) && squib_serve(squib, args) &&
	       squib_put(squib, "/machine-config", "{\"vcpu_count\":1,\"mem_size_mib\":%d}",
			 GUEST_MIB) &&
	       squib_put(squib, "/boot-source",
			 "{\"kernel_image_path\":\"%s\",\"boot_args\":\"console=ttyS0\"}",
			 kernel) &&
	       squib_api_start(squib, 204) && guest_goes_on(scene);
}

struct holdings {
	long threads;
	long fds;
	long own_kib;
};

static struct holdings look(const struct scene *scene)
{
	pid_t pid = scene->squib.pid;

	return (struct holdings){proc_status_field(pid, "Threads"), proc_fd_count(pid),
				 proc_own_kib(pid, GUEST_MIB, "Rss")};
}

static bool same_as(struct scene *scene, const struct holdings *before)
{
	uint64_t deadline = now_ms() + PATIENCE_MS;
	struct holdings now;

	/* The server notices the end of the last attackers when it gets to it. */
	do {
		now = look(scene);
	} while (now.fds != before->fds && now_ms() < deadline);
	printf("      threads %ld, then %ld; descriptors %ld, then %ld; KiB %ld, then %ld\n",
	       before->threads, now.threads, before->fds, now.fds, before->own_kib, now.own_kib);
	if (now.threads != before->threads || now.threads < 0) {
		return squib_fail(&scene->squib, "the number of threads has changed");
	}
	if (now.fds != before->fds || now.fds < 0) {
		return squib_fail(&scene->squib, "the number of descriptors has changed");
	}
	return (now.own_kib > 0 && now.own_kib <= before->own_kib + GROWTH_KIB) ||
	       squib_fail(&scene->squib, "more than %d KiB were kept", GROWTH_KIB);
}

static bool ends_well(struct scene *scene)
{
	return (kill(scene->squib.pid, SIGTERM) == 0 ||
		squib_fail(&scene->squib, "it has ended before")) &&
	       squib_ends(&scene->squib, KILLED_BY + SIGTERM);
}

static void attack_all(struct scene *scene, struct runner *runner)
{
	char *failure = scene->squib.failure;

	/* The warm-up: what is allocated at its first use is there, ten connections too. */
	runner->begin_ms = now_ms();
	scene->deadline = runner->begin_ms + ATTACK_MS;
	bool is_ok = runner_judge(runner, "the good client before all",
				  large_bodies(scene) && in_parallel(scene), failure);

	sleep_ms(100);
	const struct holdings before = look(scene);

	for (size_t i = 0; i < ARRAY_COUNT(attacks) && is_ok; i++) {
		runner->begin_ms = now_ms();
		scene->deadline = runner->begin_ms + ATTACK_MS;
		/* A good client that was served badly can't judge what follows. */
		is_ok = runner_judge(runner, attacks[i].name,
				     attacks[i].run(scene) && good_round(scene) &&
					     guest_goes_on(scene),
				     failure);
	}
	runner->begin_ms = now_ms();
	runner_judge(runner, "nothing is left behind", is_ok && same_as(scene, &before), failure);
	runner->begin_ms = now_ms();
	runner_judge(runner, "it ends as ever", ends_well(scene), failure);
}

int main(int argc, char **argv)
{
	static struct scene scene = {.random = UINT64_C(0x5eed5eed5eed)};
	const struct rlimit files = {4096, 4096};
	struct runner runner;

	if (!runner_init(&runner, argc, argv, "GUEST_DIR SEED")) {
		return 2;
	}
	if (env("SEED")[0] != '\0') {
		scene.random = strtoull(env("SEED"), NULL, 0) | 1;
	}
	if (runner_begins(&runner, "hostile clients", KVM_PAYLOAD)) {
		(void)setrlimit(RLIMIT_NOFILE, &files);
		printf("SEED=0x%llx\n", (unsigned long long)scene.random);
		if (prepare(&scene)) {
			attack_all(&scene, &runner);
		} else {
			runner_judge(&runner, "preparations", false, scene.squib.failure);
		}
		squib_destroy(&scene.squib);
	}
	return runner_end(&runner);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures squib's API beside the least server that could do it, and prints a table.
 *
 * usage: api [-n ROUND_TRIPS] [-s STARTS] SQUIB
 *
 *   -n   round trips of each request that are noted (default 20000)
 *   -s   starts of squib that are noted (default 100)
 *
 * Theory of operation
 *
 * Round trips: squib's answer to a request is learned first. A process of ours then serves a socket
 * of the same type with a bare epoll loop that writes this very answer whenever as many bytes as
 * the request has have come: what it takes is what system calls and scheduler take. Each round asks
 * one connection of squib and one of ours in turn, so that whatever disturbs the machine disturbs
 * both. Connections are kept, and used one after another.
 *
 * Starts: a child notes time and the CPU time it has used just before exec; we try to connect until
 * it works, and then read the CPU clock of that process, all its threads included. Attempts are
 * 20 us apart, which bounds the error of the wall time; the CPU time has no such error.
 *
 * Memory is Pss of smaps_rollup, before the guest starts. The program's file is in memory once for
 * all squibs of a machine, so a squib among others has less of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/api_client.h"

enum {
	CONNECTIONS = 4,
	WARM_UP = 500,
	ATTEMPT_GAP_NS = 20000,
	ATTEMPTS_MAX = 250000, /* five seconds */
	MESSAGE_MAX = 4096,
	EVENTS_MAX = 16,
	US = 1000,
	ANSWER_MS = 10000,
	SQUIBS = 10,
};

struct options {
	unsigned long round_trips;
	unsigned long starts;
	const char *squib;
};

/* What squib is asked, and what it answers. */
struct talk {
	const char *name;
	char request[MESSAGE_MAX];
	size_t request_len;
	char answer[MESSAGE_MAX];
	size_t answer_len;
};

struct start {
	pid_t pid;
	uint64_t wall_ns;
	uint64_t cpu_ns;
};

/* Shared with the child. */
struct before_exec {
	uint64_t wall_ns;
	uint64_t cpu_ns;
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "api: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now) < 0) {
		die("clock_gettime");
	}
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a;
	uint64_t right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

/* Sorts the samples. */
static double percentile_us(uint64_t *samples, size_t count, unsigned percent)
{
	qsort(samples, count, sizeof(*samples), compare);
	return (double)samples[(count - 1) * percent / 100] / US;
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return address;
}

static int must_connect(const char *path)
{
	int fd = api_connect(path, 0);

	if (fd < 0) {
		die("connect");
	}
	return fd;
}

/* --- Starting squib --- */

static void exec_squib(const struct options *options, const char *path, struct before_exec *before)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	before->cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	before->wall_ns = clock_ns(CLOCK_MONOTONIC);
	execl(options->squib, options->squib, "--api-sock", path, NULL);
	die(options->squib);
}

/* Starts squib and connects to it; the connection is closed again. */
static struct start start_squib(const struct options *options, const char *path)
{
	static struct before_exec *before;
	struct start start = {0};
	struct timespec gap = {.tv_nsec = ATTEMPT_GAP_NS};
	clockid_t clock;
	int fd = -1;

	if (before == NULL) {
		before = mmap(NULL, sizeof(*before), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	}
	if (before == MAP_FAILED) {
		die("mmap");
	}
	unlink(path);
	fflush(stdout);
	start.pid = fork();
	if (start.pid < 0) {
		die("fork");
	}
	if (start.pid == 0) {
		exec_squib(options, path, before);
	}
	for (unsigned i = 0; fd < 0; i++) {
		if (i == ATTEMPTS_MAX || waitpid(start.pid, NULL, WNOHANG) == start.pid) {
			errno = ETIMEDOUT;
			die("squib did not serve its socket");
		}
		nanosleep(&gap, NULL);
		fd = api_connect(path, 0);
	}
	start.wall_ns = clock_ns(CLOCK_MONOTONIC) - before->wall_ns;
	if (clock_getcpuclockid(start.pid, &clock) != 0) {
		die("clock_getcpuclockid");
	}
	start.cpu_ns = clock_ns(clock) - before->cpu_ns;
	close(fd);
	return start;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* --- Round trips --- */

static void send_whole(int fd, const char *bytes, size_t len)
{
	if (send(fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len) {
		die("send");
	}
}

static void receive_whole(int fd, char *bytes, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t part = recv(fd, bytes + got, len - got, 0);

		if (part <= 0) {
			die("recv");
		}
		got += (size_t)part;
	}
}

static void learn(struct talk *talk, const char *method, const char *path, const char *body, int fd)
{
	bool is_whole = false;

	talk->request_len = api_format_request(talk->request, MESSAGE_MAX, method, path, body,
					       body != NULL ? strlen(body) : 0);
	send_whole(fd, talk->request, talk->request_len);
	talk->answer_len = api_receive(fd, talk->answer, MESSAGE_MAX - 1, ANSWER_MS, &is_whole);
	if (!is_whole || strncmp(talk->answer, "HTTP/1.1 20", 11) != 0) {
		errno = EPROTO;
		die(talk->name);
	}
}

/* One connection of the bare server. Returns false at its end. */
static bool echo_some(int fd, const struct talk *talk)
{
	char bytes[MESSAGE_MAX];
	ssize_t got = recv(fd, bytes, sizeof(bytes), 0);

	if (got <= 0) {
		return false;
	}
	/* Requests are sent in one piece, and pieces of this size arrive as such. */
	if ((size_t)got == talk->request_len) {
		send_whole(fd, talk->answer, talk->answer_len);
	}
	return true;
}

static void serve_bare(int listener, const struct talk *talk)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		struct epoll_event events[EVENTS_MAX];
		int count = epoll_wait(epoll, events, EVENTS_MAX, -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;

			if (fd == listener) {
				event.data.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
				epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
			} else if (!echo_some(fd, talk)) {
				close(fd);
			}
		}
	}
}

static pid_t start_bare(const char *path, const struct talk *talk)
{
	struct sockaddr_un address = address_of(path);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	unlink(path);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, CONNECTIONS) < 0) {
		die("the bare server's socket");
	}
	fflush(stdout);
	pid_t pid = fork();

	if (pid < 0) {
		die("fork");
	}
	if (pid == 0) {
		serve_bare(listener, talk);
	}
	close(listener);
	return pid;
}

static uint64_t round_trip(int fd, const struct talk *talk)
{
	char bytes[MESSAGE_MAX];
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);

	send_whole(fd, talk->request, talk->request_len);
	receive_whole(fd, bytes, talk->answer_len);
	uint64_t taken = clock_ns(CLOCK_MONOTONIC) - begin;

	if (memcmp(bytes, talk->answer, talk->answer_len) != 0) {
		errno = EPROTO;
		die("another answer than before");
	}
	return taken;
}

/* A line of the table: figures of squib and of the bare server. */
static void compare_servers(const struct options *options, struct talk *talk, const char *squib,
			    const char *bare, const char *target)
{
	size_t count = options->round_trips;
	uint64_t *samples[2] = {calloc(count, sizeof(uint64_t)), calloc(count, sizeof(uint64_t))};
	int fds[2][CONNECTIONS];
	pid_t pid = start_bare(bare, talk);

	if (samples[0] == NULL || samples[1] == NULL) {
		die("calloc");
	}
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		fds[0][i] = must_connect(squib);
		fds[1][i] = must_connect(bare);
	}
	for (size_t i = 0; i < count + WARM_UP; i++) {
		for (unsigned turn = 0; turn < 2; turn++) {
			/* Neither always goes first. */
			unsigned server = (turn + i / CONNECTIONS) % 2;
			uint64_t taken = round_trip(fds[server][i % CONNECTIONS], talk);

			if (i >= WARM_UP) {
				samples[server][i - WARM_UP] = taken;
			}
		}
	}
	for (unsigned percent = 50; percent <= 99; percent += 49) {
		double own = percentile_us(samples[0], count, percent);
		double other = percentile_us(samples[1], count, percent);

		printf("%-28s p%u  %8.1f us   %8.1f us   %+8.1f us   %s\n", talk->name, percent,
		       own, other, own - other, percent == 50 ? target : "");
	}
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		close(fds[0][i]);
		close(fds[1][i]);
	}
	end(pid);
	free(samples[0]);
	free(samples[1]);
}

/* --- The report --- */

/* Of a line such as "Pss:" in smaps_rollup. */
static unsigned long memory_kib(pid_t pid, const char *what)
{
	char path[64];
	char line[256];
	unsigned long kib = 0;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	FILE *file = fopen(path, "re");

	if (file == NULL) {
		die(path);
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, what, strlen(what)) == 0) {
			kib = strtoul(line + strlen(what), NULL, 10);
		}
	}
	fclose(file);
	return kib;
}

/* What a squib among others adds: the program itself is shared. */
static unsigned long pss_of_many(const struct options *options, const char *dir)
{
	pid_t pids[SQUIBS];
	unsigned long sum = 0;

	for (unsigned i = 0; i < SQUIBS; i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s/%u", dir, i);
		pids[i] = start_squib(options, path).pid;
		unlink(path);
	}
	for (unsigned i = 0; i < SQUIBS; i++) {
		sum += memory_kib(pids[i], "Pss:");
	}
	for (unsigned i = 0; i < SQUIBS; i++) {
		end(pids[i]);
	}
	return sum / SQUIBS;
}

static void report_starts(const struct options *options, const char *path)
{
	size_t count = options->starts;
	uint64_t *wall = calloc(count, sizeof(*wall));
	uint64_t *cpu = calloc(count, sizeof(*cpu));

	if (wall == NULL || cpu == NULL) {
		die("calloc");
	}
	for (size_t i = 0; i < count; i++) {
		struct start start = start_squib(options, path);

		wall[i] = start.wall_ns;
		cpu[i] = start.cpu_ns;
		end(start.pid);
	}
	for (unsigned percent = 50; percent <= 99; percent += 49) {
		printf("%-28s p%u  %8.1f us\n", "exec to socket, wall", percent,
		       percentile_us(wall, count, percent));
	}
	for (unsigned percent = 50; percent <= 99; percent += 49) {
		printf("%-28s p%u  %8.1f us %29s %s\n", "exec to socket, CPU", percent,
		       percentile_us(cpu, count, percent), "", percent == 50 ? "2000 us" : "");
	}
	free(wall);
	free(cpu);
}

static void report(const struct options *options, const char *dir)
{
	char squib[64];
	char bare[64];
	struct talk get = {.name = "GET /"};
	struct talk put = {.name = "PUT /machine-config"};
	struct utsname host;

	uname(&host);
	snprintf(squib, sizeof(squib), "%s/squib", dir);
	snprintf(bare, sizeof(bare), "%s/bare", dir);
	printf("Linux %s %s, %ld CPUs; %lu round trips over %d connections, %lu starts\n\n",
	       host.release, host.machine, sysconf(_SC_NPROCESSORS_ONLN), options->round_trips,
	       CONNECTIONS, options->starts);
	printf("%-28s      %11s   %11s   %11s   %s\n", "", "squib", "bare server", "difference",
	       "target");
	struct start start = start_squib(options, squib);
	unsigned long alone_kib = memory_kib(start.pid, "Pss:");
	unsigned long own_kib = memory_kib(start.pid, "Pss_Anon:");
	int fd = must_connect(squib);

	learn(&get, "GET", "/", NULL, fd);
	learn(&put, "PUT", "/machine-config", "{\"vcpu_count\":2,\"mem_size_mib\":256}", fd);
	close(fd);
	compare_servers(options, &get, squib, bare, "100 us");
	compare_servers(options, &put, squib, bare, "100 us");
	unsigned long later_kib = memory_kib(start.pid, "Pss_Anon:");

	end(start.pid);
	report_starts(options, squib);
	printf("%-28s      %8lu KiB %29s 1024 KiB\n", "memory (Pss), the only squib", alone_kib,
	       "");
	printf("%-28s      %8lu KiB\n", "  each, of ten squibs", pss_of_many(options, dir));
	printf("%-28s      %8lu KiB\n", "  not shared with others", own_kib);
	printf("%-28s      %8lu KiB\n", "  the same, after requests", later_kib);
	unlink(squib);
	unlink(bare);
}

static unsigned long number(const char *text)
{
	char *rest;
	unsigned long value = strtoul(text, &rest, 10);

	if (*text < '1' || *text > '9' || *rest != '\0' || value > 100000000) {
		errno = EINVAL;
		die(text);
	}
	return value;
}

int main(int argc, char **argv)
{
	struct options options = {.round_trips = 20000, .starts = 100};
	char dir[] = "/tmp/squib-bench-XXXXXX";
	int option;

	while ((option = getopt(argc, argv, "n:s:")) != -1) {
		switch (option) {
		case 'n':
			options.round_trips = number(optarg);
			break;
		case 's':
			options.starts = number(optarg);
			break;
		default:
			return EXIT_FAILURE;
		}
	}
	if (optind != argc - 1) {
		fprintf(stderr, "usage: %s [-n ROUND_TRIPS] [-s STARTS] SQUIB\n", argv[0]);
		return EXIT_FAILURE;
	}
	options.squib = argv[optind];
	if (mkdtemp(dir) == NULL) {
		die(dir);
	}
	report(&options, dir);
	rmdir(dir);
	return EXIT_SUCCESS;
}

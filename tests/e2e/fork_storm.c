/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forks amid violence: monitor, image or a child is killed at a random instant of a request. Forks
 * without end: the monitor is afterwards as it was before. And forks amid requests on many
 * connections, of which a process that is forked has all descriptors for a moment.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/e2e/forks.h"
#include "tests/e2e/guest_test.h"
#include "tests/lib/api_client.h"
#include "tests/lib/squib.h"

enum {
	CHILDREN = 4, /* of a request */
	ROUNDS = 60,
	ROUNDS_MIN = 12, /* on a machine that is slow */
	STORM_MS = 10 * 1000,
	DELAY_US = 20 * 1000, /* at most, from a request to the killing */
	FORKS = 1000,
	FORKS_FIRST = 20, /* after which the monitor is as it will be */
	FORKS_MIN = 60,	  /* on a machine that is slow */
	ENDLESS_MS = 30 * 1000,
	SLACK_KIB = 128,
	ASKERS = 6,
	ASK_MS = 3 * 1000,
	ASK_ROUNDS_MIN = 5,
};

enum victim {
	VICTIM_IMAGE,
	VICTIM_CHILD,
	VICTIM_MONITOR,
	VICTIMS
};

/* --- A request by somebody else --- */

/* A process that asks, and ends with 0 if the answer has the status. */
static pid_t ask_beside(struct squib *squib, unsigned status, const char *path, const char *body)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(!squib_child(squib, "api", status, "PUT", path, body));
	}
	return pid;
}

/* Waits for the request's answer, or that it can't be answered any more. */
static bool is_answered(struct squib *squib, pid_t asker, bool *is_done)
{
	uint64_t deadline = now_ms() + FORK_PATIENCE_MS;
	int status = 0;

	while (waitpid(asker, &status, WNOHANG) == 0) {
		if (now_ms() > deadline) {
			kill(asker, SIGKILL);
			waitpid(asker, NULL, 0);
			return squib_fail(squib, "a request is not answered");
		}
		usleep(1000);
	}
	*is_done = exit_of(status) == 0;
	return true;
}

/* --- Forks --- */

static void children_of(unsigned round, char *body, size_t len)
{
	size_t at = (size_t)snprintf(body, len, "{\"all_or_none\": %s, \"children\": [",
				     round % 2 == 0 ? "true" : "false");

	for (unsigned i = 0; i < CHILDREN; i++) {
		at += (size_t)snprintf(body + at, len - at,
				       "%s{\"id\": \"c%u\", \"api_sock\": \"c%u.sock\", "
				       "\"paused\": true, \"ends_with_parent\": true}",
				       i > 0 ? ", " : "", i, i);
	}
	snprintf(body + at, len - at, "]}");
}

static void kill_victim(const struct squib *squib, enum victim victim)
{
	pid_t pids[CHILDREN] = {0};

	switch (victim) {
	case VICTIM_MONITOR:
		kill(squib->pid, SIGKILL);
		break;
	case VICTIM_IMAGE:
		if (fork_processes(squib, FORK_IMAGE, pids, 1) > 0) {
			kill(pids[0], SIGKILL);
		}
		break;
	case VICTIM_CHILD:
		if (fork_processes(squib, FORK_CHILD, pids, CHILDREN) > 0) {
			kill(pids[0], SIGKILL);
		}
		break;
	case VICTIMS:
		break;
	}
}

/* Whether there is a socket file behind which nobody listens. */
static bool is_stale(const struct squib *squib, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[PATH_LEN];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	squib_path(squib, name, path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", path);
	bool is_refused = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
			  errno == ECONNREFUSED;

	close(fd);
	return is_refused;
}

/* Ends the children that live, and removes all sockets. */
static void clear(const struct squib *squib)
{
	pid_t pids[CHILDREN];
	size_t count = fork_processes(squib, FORK_CHILD, pids, CHILDREN);

	for (size_t i = 0; i < count; i++) {
		kill(pids[i], SIGKILL);
	}
	for (unsigned i = 0; i < CHILDREN; i++) {
		char name[32];
		char path[PATH_LEN];

		snprintf(name, sizeof(name), "c%u.sock", i);
		squib_path(squib, name, path);
		unlink(path);
	}
}

/* A child that was made listens, one that was not has left nothing; but the one that was killed. */
static bool are_sockets_well(struct squib *squib, enum victim victim)
{
	uint64_t deadline = now_ms() + FORK_PATIENCE_MS;
	unsigned allowed = victim == VICTIM_CHILD ? 1 : 0;
	unsigned stale;

	do {
		stale = 0;
		for (unsigned i = 0; i < CHILDREN; i++) {
			char name[32];

			snprintf(name, sizeof(name), "c%u.sock", i);
			stale += is_stale(squib, name);
		}
		usleep(2000);
	} while (stale > allowed && now_ms() < deadline);
	return stale <= allowed || squib_fail(squib, "%u sockets of children are left", stale);
}

/* No process that has ended waits for the monitor to notice. */
static bool has_no_zombies(struct squib *squib)
{
	char command[128];

	snprintf(command, sizeof(command), "/proc/%d/task/%d/children", squib->pid, squib->pid);
	FILE *list = fopen(command, "re");
	int child;
	bool ok = true;

	while (list != NULL && fscanf(list, "%d", &child) == 1) {
		char path[64];
		char line[256] = "";

		snprintf(path, sizeof(path), "/proc/%d/stat", child);
		FILE *stat = fopen(path, "re");

		if (stat != NULL) {
			ok = ok && (fgets(line, sizeof(line), stat) == NULL ||
				    strstr(line, ") Z ") == NULL);
			fclose(stat);
		}
	}
	if (list != NULL) {
		fclose(list);
	}
	return ok || squib_fail(squib, "a zombie is left");
}

/* After a monitor that was killed. */
static bool start_anew(struct squib *squib)
{
	squib_stop(squib);
	if (!fork_all_end(squib)) {
		return false;
	}
	squib_destroy(squib);
	return squib_init(squib, 120) && fork_start(squib, ", \"forkable\": true");
}

static bool fork_amid(struct squib *squib, unsigned round, enum victim victim, unsigned delay_us)
{
	char body[1024];
	bool is_done;

	children_of(round, body, sizeof(body));
	pid_t asker = ask_beside(squib, 200, "/fork", body);

	usleep(delay_us);
	kill_victim(squib, victim);
	if (victim == VICTIM_MONITOR) {
		/* Who may not even have connected. */
		kill(asker, SIGKILL);
		waitpid(asker, NULL, 0);
		return start_anew(squib);
	}
	if (!is_answered(squib, asker, &is_done)) {
		return false;
	}
	if (!are_sockets_well(squib, victim) || !has_no_zombies(squib)) {
		return false;
	}
	clear(squib);
	/* The next request works. */
	bool ok = fork_all_end(squib) && squib_api(squib, 200, "PUT", "/fork", "%s", body) &&
		  squib_child(squib, "c0", 200, "GET", "/", NULL);

	clear(squib);
	return ok && fork_all_end(squib);
}

/* --- Live snapshots --- */

static bool has(const struct squib *squib, const char *name, const char *content)
{
	char *text = squib_text(squib, name);
	bool ok = text != NULL && strcmp(text, content) == 0;

	free(text);
	return ok;
}

/* The state is new only if the memory is. */
static bool are_files_whole(struct squib *squib)
{
	return has(squib, "state", "old") || !has(squib, "memory", "old") ||
	       squib_fail(squib, "the state of a live snapshot has no memory");
}

static bool await_end(struct squib *squib)
{
	uint64_t deadline = now_ms() + FORK_PATIENCE_MS;

	do {
		usleep(2000);
		if (!squib_api(squib, 200, "GET", "/snapshot", "%s", "")) {
			return false;
		}
	} while (strstr(squib->answer, "Writing") != NULL && now_ms() < deadline);
	return strstr(squib->answer, "Writing") == NULL ||
	       squib_fail(squib, "a live snapshot is written for ever");
}

static bool save_amid(struct squib *squib, enum victim victim, unsigned delay_us)
{
	static const char body[] = "{\"snapshot_type\": \"Live\", \"snapshot_path\": \"state\", "
				   "\"mem_file_path\": \"memory\"}";
	bool is_done;

	if (!squib_write(squib, "state", "old") || !squib_write(squib, "memory", "old")) {
		return false;
	}
	pid_t asker = ask_beside(squib, 204, "/snapshot/create", body);

	usleep(delay_us);
	kill_victim(squib, victim);
	if (victim == VICTIM_MONITOR) {
		kill(asker, SIGKILL);
		waitpid(asker, NULL, 0);
		squib_stop(squib);
		return are_files_whole(squib) && start_anew(squib);
	}
	return is_answered(squib, asker, &is_done) && is_done && await_end(squib) &&
	       are_files_whole(squib) &&
	       (strstr(squib->answer, "Done") != NULL || has(squib, "memory", "old") ||
		squib_fail(squib, "a live snapshot that failed has changed the memory")) &&
	       (fork_is_gone(squib, "state.part") || squib_fail(squib, "a part is left")) &&
	       (fork_is_gone(squib, "memory.part") || squib_fail(squib, "a part is left"));
}

bool fork_storm_test(struct squib *squib)
{
	unsigned seed = (unsigned)time(NULL);
	uint64_t end = now_ms() + STORM_MS;

	if (!fork_start(squib, ", \"forkable\": true")) {
		return false;
	}
	for (unsigned i = 0; i < ROUNDS && (i < ROUNDS_MIN || now_ms() < end); i++) {
		enum victim victim = (enum victim)((unsigned)rand_r(&seed) % VICTIMS);
		unsigned delay_us = (unsigned)rand_r(&seed) % DELAY_US;
		bool ok = i % 3 == 2 ? save_amid(squib, victim, delay_us)
				     : fork_amid(squib, i, victim, delay_us);

		if (!ok) {
			fprintf(stderr, "round %u, victim %d after %u us\n", i, (int)victim,
				delay_us);
			return false;
		}
	}
	return squib_expect(squib, "round: ", NULL);
}

/* --- A monitor that is killed before it says that the children are wanted --- */

/* Stops the monitor while its image makes children; *is_late: the request was done already. */
static bool stop_amid(struct squib *squib, const char *body, bool *is_late)
{
	pid_t asker = ask_beside(squib, 200, "/fork", body);
	pid_t pid;

	*is_late = false;
	/* The image is at first called as its monitor is, and a child as its image. */
	while ((fork_processes(squib, FORK_IMAGE, &pid, 1) == 0 ||
		fork_processes(squib, FORK_CHILD, &pid, 1) == 0) &&
	       !*is_late) {
		*is_late = waitpid(asker, NULL, WNOHANG) != 0;
	}
	kill(squib->pid, SIGSTOP);
	for (unsigned i = 0; i < 100 && !*is_late; i++) {
		*is_late = waitpid(asker, NULL, WNOHANG) != 0;
		usleep(1000);
	}
	if (!*is_late) {
		kill(asker, SIGKILL);
		waitpid(asker, NULL, 0);
	}
	return true;
}

static bool await_children(struct squib *squib)
{
	uint64_t deadline = now_ms() + FORK_PATIENCE_MS;
	pid_t pids[CHILDREN];

	while (fork_processes(squib, FORK_CHILD, pids, CHILDREN) < CHILDREN) {
		if (now_ms() > deadline) {
			return squib_fail(squib, "the image makes no children");
		}
		usleep(1000);
	}
	return true;
}

bool fork_unwanted_test(struct squib *squib)
{
	static const char body[] = "{\"children\": [{\"id\": \"c0\", \"api_sock\": \"c0.sock\"}, "
				   "{\"id\": \"c1\", \"api_sock\": \"c1.sock\"}, "
				   "{\"id\": \"c2\", \"api_sock\": \"c2.sock\"}, "
				   "{\"id\": \"c3\", \"api_sock\": \"c3.sock\"}]}";
	bool is_late = true;

	if (!fork_start(squib, ", \"forkable\": true")) {
		return false;
	}
	for (unsigned i = 0; i < 50 && is_late; i++) {
		clear(squib);
		kill(squib->pid, SIGCONT);
		if (!fork_all_end(squib) || !stop_amid(squib, body, &is_late)) {
			return false;
		}
	}
	if (is_late) {
		return squib_fail(squib, "no request can be interrupted");
	}
	if (!await_children(squib)) {
		return false;
	}
	squib_stop(squib);
	return fork_all_end(squib) && are_sockets_well(squib, VICTIM_MONITOR);
}

/* --- Forks without end --- */

struct footprint {
	long fds;
	long threads;
	long size_kib;
	long own_kib; /* resident, but for the guest's memory */
};

static struct footprint measure(const struct squib *squib)
{
	return (struct footprint){
		.fds = proc_fd_count(squib->pid),
		.threads = proc_status_field(squib->pid, "Threads"),
		.size_kib = proc_status_field(squib->pid, "VmSize"),
		.own_kib = proc_own_kib(squib->pid, 64, "Rss"),
	};
}

static bool fork_and_end(struct squib *squib)
{
	pid_t child;

	if (!squib_api(squib, 200, "PUT", "/fork",
		       "{\"children\": [{\"id\": \"c0\", \"api_sock\": \"c0.sock\", \"paused\": "
		       "true}]}")) {
		return false;
	}
	child = (pid_t)squib_answer_number(squib, "pid");
	if (child <= 1 || kill(child, SIGKILL) < 0) {
		return squib_fail(squib, "there is no child: %.200s", squib->answer);
	}
	clear(squib);
	return true;
}

bool fork_endless_test(struct squib *squib)
{
	uint64_t end = now_ms() + ENDLESS_MS;
	unsigned count = 0;
	struct footprint before = {0};

	if (!fork_start(squib, ", \"forkable\": true")) {
		return false;
	}
	for (; count < FORKS && (count < FORKS_MIN || now_ms() < end); count++) {
		if (count == FORKS_FIRST) {
			before = measure(squib);
		}
		if (!fork_and_end(squib)) {
			return false;
		}
	}
	struct footprint after = measure(squib);

	if (after.fds != before.fds || after.threads != before.threads ||
	    after.size_kib > before.size_kib + SLACK_KIB ||
	    after.own_kib > before.own_kib + SLACK_KIB) {
		return squib_fail(squib,
				  "after %u forks: descriptors %ld -> %ld, threads %ld -> %ld, "
				  "VmSize %ld -> %ld KiB, own memory %ld -> %ld KiB",
				  count, before.fds, after.fds, before.threads, after.threads,
				  before.size_kib, after.size_kib, before.own_kib, after.own_kib);
	}
	return fork_all_end(squib) && has_no_zombies(squib) && squib_expect(squib, "round: ", NULL);
}

/* --- Requests meanwhile --- */

/* A process that asks until it is told to stop; it ends with 0 if each request is answered. */
static pid_t ask_on(struct squib *squib, bool is_kept, const int stop[2])
{
	char path[PATH_LEN];
	char answer[1024];
	struct pollfd end = {.fd = stop[0], .events = POLLIN};
	pid_t pid = fork();
	int fd = -1;

	if (pid != 0) {
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(stop[1]);
	squib_path(squib, "api.sock", path);
	while (poll(&end, 1, 0) == 0) {
		fd = fd >= 0 ? fd : api_connect(path, PATIENCE_MS);
		if (fd < 0 ||
		    api_ask(fd, "GET", "/", NULL, answer, sizeof(answer), PATIENCE_MS) != 200) {
			_exit(1);
		}
		if (!is_kept) {
			close(fd);
			fd = -1;
		}
	}
	_exit(0);
}

/* A child is asked on new connections, and saved. */
static bool fork_and_save(struct squib *squib)
{
	pid_t child;

	if (!squib_api(squib, 200, "PUT", "/fork",
		       "{\"children\": [{\"id\": \"c0\", \"api_sock\": \"c0.sock\"}]}")) {
		return false;
	}
	child = (pid_t)squib_answer_number(squib, "pid");
	bool ok = child > 1 &&
		  squib_child(squib, "c0", 204, "PATCH", "/vm", "{\"state\": \"Paused\"}") &&
		  squib_child(squib, "c0", 204, "PUT", "/snapshot/create",
			      "{\"snapshot_path\": \"state\", \"mem_file_path\": \"memory\"}") &&
		  squib_child(squib, "c0", 200, "GET", "/", NULL);

	if (child > 1) {
		kill(child, SIGKILL);
	}
	clear(squib);
	return ok;
}

bool fork_asked_test(struct squib *squib)
{
	pid_t askers[ASKERS];
	int stop[2];
	int status = 0;

	if (!fork_start(squib, ", \"forkable\": true") || pipe(stop) < 0) {
		return false;
	}
	for (unsigned i = 0; i < ASKERS; i++) {
		askers[i] = ask_on(squib, i % 2 == 0, stop);
	}
	uint64_t end = now_ms() + ASK_MS;
	bool ok = true;

	for (unsigned i = 0; ok && (i < ASK_ROUNDS_MIN || now_ms() < end); i++) {
		ok = fork_and_save(squib);
	}
	close(stop[1]);
	for (unsigned i = 0; i < ASKERS; i++) {
		waitpid(askers[i], &status, 0);
		ok = ok && (status == 0 || squib_fail(squib, "asker %u has no answer", i));
	}
	close(stop[0]);
	return ok && fork_all_end(squib) && squib_expect(squib, "round: ", NULL);
}

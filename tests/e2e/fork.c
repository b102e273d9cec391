/* SPDX-License-Identifier: Apache-2.0 */
/* Forks of running machines: children that count on from the instant of the fork. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/forks.h"
#include "tests/e2e/guest_test.h"
#include "tests/lib/squib.h"

enum {
	ROUNDS = 3, /* that a guest must have gone on for */
};

bool fork_configure(struct squib *squib, const char *more)
{
	char kernel[PATH_LEN];

	payload_path("pages", kernel);
	return squib_serve(squib, NULL) &&
	       squib_put(squib, "/boot-source",
			 "{\"kernel_image_path\": \"%s\", \"boot_args\": \"console=ttyS0\"}",
			 kernel) &&
	       squib_put(squib, "/machine-config", "{\"vcpu_count\": 2, \"mem_size_mib\": 64%s}",
			 more);
}

bool fork_start(struct squib *squib, const char *more)
{
	return fork_configure(squib, more) && squib_api_start(squib, 204) &&
	       squib_expect(squib, "round: 2", NULL);
}

/* The number in the first whole line of a child's console; its first line may lack its beginning.
 * The number of whole lines goes to *lines; -1: the guest found something wrong. */
static long first_round(const struct squib *squib, const char *file, long *lines)
{
	char *text = squib_text(squib, file);
	const char *at = text != NULL ? strchr(text, '\n') : NULL;
	long first = 0;

	*lines = 0;
	if (text != NULL && strstr(text, "WRONG:") != NULL) {
		*lines = -1;
	}
	while (at != NULL && *lines >= 0) {
		const char *end = strchr(at + 1, '\n');
		long round = end != NULL && strncmp(at + 1, "round: ", 7) == 0
				     ? strtol(at + 8, NULL, 10)
				     : 0;

		if (round > 0) {
			*lines += 1;
			first = first == 0 ? round : first;
		}
		at = end;
	}
	free(text);
	return first;
}

/* Waits until the guest whose console is `file` has printed some rounds. */
static bool goes_on(struct squib *squib, const char *file, long *first)
{
	uint64_t deadline = now_ms() + FORK_PATIENCE_MS;
	long lines = 0;

	do {
		*first = first_round(squib, file, &lines);
		if (lines < 0) {
			return squib_fail(squib, "%s: a page has another machine's number", file);
		}
		usleep(10000);
	} while (lines < ROUNDS && now_ms() < deadline);
	return lines >= ROUNDS || squib_fail(squib, "%s: the child's guest stands still", file);
}

#define CHILD(name)                                                                                \
	"{\"id\": \"" name "\", \"api_sock\": \"" name ".sock\", \"serial_out_path\": \"" name     \
	".out\", \"ends_with_parent\": true}"

static bool is_running(struct squib *squib, const char *name)
{
	char id[64];

	snprintf(id, sizeof(id), "\"id\":\"%s\",\"state\":\"Running\"", name);
	return squib_child(squib, name, 200, "GET", "/", NULL) &&
	       (strstr(squib->answer, id) != NULL ||
		squib_fail(squib, "%s says of itself: %s", name, squib->answer));
}

static bool lives(struct squib *squib, const char *name, long *first)
{
	char file[64];

	snprintf(file, sizeof(file), "%s.out", name);
	return goes_on(squib, file, first) && is_running(squib, name);
}

static bool has_name(pid_t pid, const char *name)
{
	char path[PATH_LEN];
	char comm[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	FILE *file = fopen(path, "re");
	bool is_it = file != NULL && fscanf(file, "%63s", comm) == 1 && strcmp(comm, name) == 0;

	if (file != NULL) {
		fclose(file);
	}
	return is_it;
}

size_t fork_processes(const struct squib *squib, const char *name, pid_t *pids, size_t max)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	size_t count = 0;

	while (proc != NULL && count < max && (entry = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid > 0 && pid != squib->pid && squib_owns(squib, pid) && has_name(pid, name)) {
			pids[count++] = pid;
		}
	}
	if (proc != NULL) {
		closedir(proc);
	}
	return count;
}

bool fork_all_end(struct squib *squib)
{
	uint64_t deadline = now_ms() + FORK_PATIENCE_MS;
	pid_t pid;
	bool is_left;

	do {
		is_left = fork_processes(squib, FORK_CHILD, &pid, 1) > 0 ||
			  fork_processes(squib, FORK_IMAGE, &pid, 1) > 0;
		usleep(10000);
	} while (is_left && now_ms() < deadline);
	return !is_left || squib_fail(squib, "process %d is left", pid);
}

/* A child whose console's file has a limit, and has reached it. */
static bool is_limited(struct squib *squib, const char *name, size_t limit)
{
	static const char dropped[] = "squib_uart_rate_limiter_dropped_bytes_total ";
	uint64_t deadline = now_ms() + FORK_PATIENCE_MS;
	char file[64];
	const char *at;

	do {
		at = squib_child(squib, name, 200, "GET", "/metrics", NULL)
			     ? strstr(squib->answer, dropped)
			     : NULL;
		usleep(10000);
	} while (at != NULL && atol(at + strlen(dropped)) == 0 && now_ms() < deadline);
	snprintf(file, sizeof(file), "%s.out", name);
	char *text = squib_text(squib, file);
	size_t len = text != NULL ? strlen(text) : 0;

	free(text);
	return (at != NULL && len > 0 && len <= limit) ||
	       squib_fail(squib, "the console of %s has %zu bytes of at most %zu", name, len,
			  limit);
}

bool fork_test(struct squib *squib)
{
	long a;
	long b;
	long other;

	if (!fork_start(squib, ", \"forkable\": true, \"track_dirty_pages\": true") ||
	    !squib_api(squib, 200, "PUT", "/fork",
		       "{\"children\": [" CHILD("a") ", " CHILD("b") "], \"keep\": \"warm\"}") ||
	    !lives(squib, "a", &a) || !lives(squib, "b", &b)) {
		return false;
	}
	/* Children of children, and one of the first instant. */
	if (!squib_child(squib, "a", 200, "PUT", "/fork", "{\"children\": [" CHILD("aa") "]}") ||
	    !squib_child(squib, "aa", 200, "PUT", "/fork", "{\"children\": [" CHILD("aaa") "]}") ||
	    !lives(squib, "aa", &other) || !lives(squib, "aaa", &other) ||
	    !squib_api(squib, 200, "PUT", "/fork",
		       "{\"children\": [" CHILD(
			       "c") ", {\"id\": \"d\", \"api_sock\": \"d.sock\", "
				    "\"ends_with_parent\": true, \"serial_out_path\": \"d.out\", "
				    "\"serial_rate_limiter\": {\"size\": 16, \"refill_time\": "
				    "3600000}}], "
				    "\"image\": \"warm\"}") ||
	    !lives(squib, "c", &other) || !is_limited(squib, "d", 16)) {
		return false;
	}
	if (a != b || a != other) {
		return squib_fail(squib, "children of one instant begin at %ld, %ld, %ld", a, b,
				  other);
	}
	/* A child is saved as any machine is. */
	if (!squib_child(squib, "b", 204, "PATCH", "/vm", "{\"state\": \"Paused\"}") ||
	    !squib_child(squib, "b", 204, "PUT", "/snapshot/create",
			 "{\"snapshot_path\": \"state\", \"mem_file_path\": \"memory\", "
			 "\"snapshot_type\": \"Diff\"}") ||
	    !squib_api(squib, 204, "DELETE", "/fork/warm", "%s", "") || !is_running(squib, "c")) {
		return false;
	}
	/* The parent went on as well. */
	if (!squib_expect(squib, "round: ", NULL) || !squib_api(squib, 200, "GET", "/", "%s", "")) {
		return false;
	}
	squib_stop(squib);
	return fork_all_end(squib);
}

/* --- What fails leaves nothing --- */

static bool is_refused(struct squib *squib, const char *body, const char *why)
{
	return squib_api(squib, 400, "PUT", "/fork", "%s", body) &&
	       (strstr(squib->answer, why) != NULL ||
		squib_fail(squib, "the refusal is: %.300s", squib->answer));
}

unsigned fork_descriptors(pid_t pid)
{
	char path[PATH_LEN];
	unsigned count = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	DIR *folder = opendir(path);

	while (folder != NULL && readdir(folder) != NULL) {
		count++;
	}
	if (folder != NULL) {
		closedir(folder);
	}
	return count;
}

bool fork_is_gone(const struct squib *squib, const char *name)
{
	char path[PATH_LEN];

	squib_path(squib, name, path);
	return access(path, F_OK) < 0;
}

/* --- Images that are killed --- */

static bool are_gone(struct squib *squib, const char *wanted)
{
	uint64_t deadline = now_ms() + FORK_PATIENCE_MS;

	do {
		if (!squib_api(squib, 200, "GET", "/fork", "%s", "")) {
			return false;
		}
		if (strstr(squib->answer, wanted) != NULL) {
			return true;
		}
		usleep(10000);
	} while (now_ms() < deadline);
	return squib_fail(squib, "images that were killed are listed: %.300s", squib->answer);
}

bool fork_killed_test(struct squib *squib)
{
	if (!fork_start(squib, ", \"forkable\": true")) {
		return false;
	}
	for (unsigned i = 0; i < 8; i++) {
		if (!squib_api(squib, 200, "PUT", "/fork", "{\"keep\": \"i%u\"}", i)) {
			return false;
		}
	}
	pid_t images[9];
	size_t count = fork_processes(squib, FORK_IMAGE, images, 9);

	if (count != 8) {
		return squib_fail(squib, "%zu images are kept", count);
	}
	for (size_t i = 0; i < count; i++) {
		kill(images[i], SIGKILL);
	}
	return are_gone(squib, "\"images\":[]") &&
	       is_refused(squib, "{\"children\": [" CHILD("a") "], \"image\": \"i0\"}",
			  "There is no image `i0`") &&
	       squib_api(squib, 200, "PUT", "/fork", "{\"keep\": \"i0\"}") &&
	       squib_api(squib, 200, "PUT", "/fork",
			 "{\"children\": [" CHILD("a") "], \"image\": \"i0\"}");
}

/* The request names the instant, and has no failure: an image that no child came of is kept. */
static bool keeps_childless(struct squib *squib)
{
	long first;

	return squib_api(squib, 200, "PUT", "/fork",
			 "{\"all_or_none\": false, \"keep\": \"childless\", \"children\": "
			 "[{\"id\": \"b\", \"api_sock\": \"none/b.sock\"}]}") &&
	       (strstr(squib->answer, "\"error\":") != NULL ||
		squib_fail(squib, "a child has a socket in a directory that is not there")) &&
	       squib_api(squib, 200, "GET", "/fork", "%s", "") &&
	       (strstr(squib->answer, "\"images\":[\"childless\"]") != NULL ||
		squib_fail(squib, "the image without children is not kept: %s", squib->answer)) &&
	       squib_api(squib, 200, "PUT", "/fork",
			 "{\"image\": \"childless\", \"children\": [" CHILD("c") "]}") &&
	       lives(squib, "c", &first) &&
	       squib_api(squib, 204, "DELETE", "/fork/childless", "%s", "");
}

bool fork_failure_test(struct squib *squib)
{
	long first;

	if (!fork_start(squib, ", \"forkable\": true")) {
		return false;
	}
	unsigned fds = fork_descriptors(squib->pid);
	bool ok = is_refused(squib, "{}", "There is nothing to do") &&
		  is_refused(squib, "{\"children\": [" CHILD("a") "], \"image\": \"none\"}",
			     "There is no image `none`") &&
		  is_refused(squib, "{\"children\": [" CHILD("a") ", " CHILD("a") "]}",
			     "Two children have the id `a`") &&
		  is_refused(squib,
			     "{\"children\": [" CHILD("a") ", {\"id\": \"b\", \"api_sock\": "
							   "\"none/b.sock\"}]}",
			     "No child was made: `b`: ") &&
		  is_refused(squib,
			     "{\"children\": [{\"id\": \"a\", \"api_sock\": \"a.sock\", "
			     "\"log_path\": \"none/log\"}]}",
			     "No child was made: `a`: log_path none/log: ") &&
		  is_refused(squib,
			     "{\"children\": [{\"id\": \"a\", \"api_sock\": \"a.sock\", "
			     "\"metrics_path\": \"none/metrics\"}]}",
			     "No child was made: `a`: metrics_path none/metrics: ") &&
		  is_refused(squib,
			     "{\"children\": [{\"id\": \"a\", \"api_sock\": \"a.sock\", "
			     "\"drive_overrides\": [{\"drive_id\": \"x\", \"path_on_host\": "
			     "\"x\"}]}]}",
			     "No child was made: `a`: ");

	if (!ok) {
		return false;
	}
	if (!fork_is_gone(squib, "a.sock")) {
		return squib_fail(squib, "a child that was given up has left its socket");
	}
	if (!is_refused(squib,
			"{\"keep\": \"none\", \"children\": [{\"id\": \"b\", \"api_sock\": "
			"\"none/b.sock\"}]}",
			"No child was made: `b`: ") ||
	    !squib_api(squib, 200, "GET", "/fork", "%s", "")) {
		return false;
	}
	if (strstr(squib->answer, "\"images\":[]") == NULL) {
		return squib_fail(squib, "an image is kept of a fork that failed");
	}
	/* Where each may fail for itself, the other one is made. */
	if (!squib_api(squib, 200, "PUT", "/fork",
		       "{\"all_or_none\": false, \"children\": [" CHILD(
			       "a") ", {\"id\": \"b\", "
				    "\"api_sock\": \"none/b.sock\"}]}") ||
	    !lives(squib, "a", &first) || !keeps_childless(squib)) {
		return false;
	}
	for (unsigned i = 0; i < 20; i++) {
		if (!squib_api(squib, 200, "PUT", "/fork",
			       "{\"children\": [{\"id\": \"x%u\", \"api_sock\": \"x%u.sock\", "
			       "\"paused\": true, \"ends_with_parent\": true}]}",
			       i, i)) {
			return false;
		}
	}
	unsigned left = fork_descriptors(squib->pid);

	if (left != fds) {
		return squib_fail(squib, "%u descriptors have become %u", fds, left);
	}
	if (!squib_expect(squib, "round: ", NULL)) {
		return false;
	}
	squib_stop(squib);
	if (!fork_all_end(squib)) {
		return false;
	}
	return fork_start(squib, "") &&
	       is_refused(squib, "{\"children\": [" CHILD("z") "]}", "can't be forked");
}

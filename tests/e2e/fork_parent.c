/* SPDX-License-Identifier: Apache-2.0 */
/* Forked machines whose parent ends: they end with it or live on, as it was asked for. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/forks.h"
#include "tests/e2e/guest_test.h"
#include "tests/lib/squib.h"

#define CHILD(name, ends)                                                                          \
	"{\"id\": \"" name "\", \"api_sock\": \"" name ".sock\", \"serial_out_path\": \"" name     \
	".out\", \"ends_with_parent\": " ends "}"

static bool is_running(struct squib *squib, const char *name)
{
	return squib_child(squib, name, 200, "GET", "/", NULL) &&
	       (strstr(squib->answer, "\"state\":\"Running\"") != NULL ||
		squib_fail(squib, "%s says of itself: %s", name, squib->answer));
}

static size_t length_of(struct squib *squib, const char *file)
{
	size_t len = 0;
	char *text = squib_file(squib, file, &len);

	free(text);
	return len;
}

/* Its guest prints on. */
static bool prints(struct squib *squib, const char *file)
{
	uint64_t deadline = now_ms() + FORK_PATIENCE_MS;
	size_t before = length_of(squib, file);

	while (length_of(squib, file) == before) {
		if (now_ms() >= deadline) {
			return squib_fail(squib, "%s: its guest stands still", file);
		}
		usleep(5000);
	}
	return true;
}

/* Waits until just so many children live. */
static bool are_left(struct squib *squib, size_t count)
{
	uint64_t deadline = now_ms() + FORK_PATIENCE_MS;
	pid_t pids[8];
	size_t left;

	do {
		left = fork_processes(squib, FORK_CHILD, pids, 8);
		usleep(5000);
	} while (left != count && now_ms() < deadline);
	return left == count || squib_fail(squib, "%zu children live, not %zu", left, count);
}

/* All that a machine does, long after its parent has ended. */
static bool is_whole(struct squib *squib, const char *name, const char *file)
{
	return is_running(squib, name) && prints(squib, file) &&
	       squib_child(squib, name, 204, "PATCH", "/vm", "{\"state\": \"Paused\"}") &&
	       squib_child(squib, name, 204, "PUT", "/snapshot/create",
			   "{\"snapshot_path\": \"state\", \"mem_file_path\": \"memory\"}") &&
	       squib_child(squib, name, 204, "PATCH", "/vm", "{\"state\": \"Resumed\"}") &&
	       prints(squib, file);
}

static pid_t pid_of(const struct squib *squib, const char *id)
{
	char text[32];

	snprintf(text, sizeof(text), "\"id\":\"%s\"", id);
	const char *at = strstr(squib->answer, text);

	at = at != NULL ? strstr(at, "\"pid\":") : NULL;
	return at != NULL ? (pid_t)atoi(at + strlen("\"pid\":")) : 0;
}

/* Those that live, and the sockets that they leave behind. */
static void end_children(struct squib *squib)
{
	static const char *const names[] = {"a", "b", "ba", "bb", "bc"};
	pid_t pids[8];
	size_t count = fork_processes(squib, FORK_CHILD, pids, 8);

	for (size_t i = 0; i < count; i++) {
		kill(pids[i], SIGKILL);
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char file[32];
		char path[PATH_LEN];

		snprintf(file, sizeof(file), "%s.sock", names[i]);
		squib_path(squib, file, path);
		unlink(path);
	}
}

/* A parent that ends by the signal; then a child of it, which has become a parent, does. */
static bool end_by(struct squib *squib, int signo)
{
	pid_t image;

	if (!fork_start(squib, ", \"forkable\": true") ||
	    !squib_api(squib, 200, "PUT", "/fork",
		       "{\"keep\": \"image\", \"children\": [" CHILD("a", "true") ", " CHILD(
			       "b", "false") "]}")) {
		return false;
	}
	pid_t b = pid_of(squib, "b");

	if (!squib_child(squib, "b", 200, "PUT", "/fork",
			 "{\"children\": [" CHILD("ba", "true") ", " CHILD("bb", "false") "]}") ||
	    !are_left(squib, 4)) {
		return false;
	}
	kill(squib->pid, signo);
	if (!are_left(squib, 3) || !is_whole(squib, "b", "b.out") || !is_running(squib, "ba") ||
	    !is_running(squib, "bb") ||
	    !squib_child(squib, "b", 200, "PUT", "/fork",
			 "{\"children\": [" CHILD("bc", "true") "]}") ||
	    !prints(squib, "bc.out") || !are_left(squib, 4)) {
		return false;
	}
	kill(b, signo);
	if (!are_left(squib, 1) || !is_whole(squib, "bb", "bb.out")) {
		return false;
	}
	return fork_processes(squib, FORK_IMAGE, &image, 1) == 0 ||
	       squib_fail(squib, "the image %d is left of a parent that has ended", image);
}

bool fork_parent_test(struct squib *squib)
{
	static const int signals[] = {SIGKILL, SIGTERM};
	bool ok = true;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]) && ok; i++) {
		ok = end_by(squib, signals[i]);
		end_children(squib);
	}
	return ok;
}

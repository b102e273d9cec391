/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of metrics each minute, without waiting for one: /proc tells what the timer is set to, and
 * a descriptor that is taken from the monitor makes it ring at once.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tests/e2e/guest_test.h"

/* The monitor's timer with an interval of 60 s: its descriptor there, or -1. */
static int find_timer(const struct squib *squib)
{
	char path[64];
	char line[256];
	int found = -1;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)squib->pid);
	DIR *dir = opendir(path);

	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.16s", (int)squib->pid,
			 entry->d_name);
		FILE *file = fopen(path, "re");

		while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
			if (strncmp(line, "it_interval: (60, 0)", 20) == 0) {
				found = (int)strtol(entry->d_name, NULL, 10);
			}
		}
		if (file != NULL) {
			fclose(file);
		}
	}
	if (dir != NULL) {
		closedir(dir);
	}
	return found;
}

static bool has_lines(struct squib *squib, unsigned count, const char *when)
{
	uint64_t until = now_ms() + PATIENCE_MS;
	unsigned seen = 0;
	size_t len;

	while (seen < count && now_ms() < until) {
		char *text = squib_file(squib, "metrics", &len);

		seen = 0;
		for (char *at = text; at != NULL && (at = strchr(at, '\n')) != NULL; at++) {
			seen++;
		}
		free(text);
		sleep_ms(20);
	}
	return seen == count || squib_fail(squib, "%s: %u lines, not %u", when, seen, count);
}

/* Here, too, the descriptor is the monitor's own timer. */
static int take(struct squib *squib, int fd)
{
	int process = (int)syscall(SYS_pidfd_open, squib->pid, 0);
	int taken = (int)syscall(SYS_pidfd_getfd, process, fd, 0);

	close(process);
	return taken;
}

static bool rings(struct squib *squib, int timer)
{
	const struct itimerspec now = {.it_value.tv_nsec = 1, .it_interval.tv_sec = 60};
	struct itimerspec left;

	if (timerfd_settime(timer, 0, &now, NULL) < 0 || !has_lines(squib, 2, "it rang") ||
	    timerfd_gettime(timer, &left) < 0) {
		return squib_fail(squib, "the timer can't be set");
	}
	return left.it_interval.tv_sec == 60 ||
	       squib_fail(squib, "it will not ring again after 60 s");
}

static bool is_quiet_while_paused(struct squib *squib, int timer)
{
	struct itimerspec paused;
	struct itimerspec running;
	bool is_ok = squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") &&
		     timerfd_gettime(timer, &paused) == 0 &&
		     squib_patch(squib, "/vm", "{\"state\": \"Resumed\"}") &&
		     timerfd_gettime(timer, &running) == 0;

	return is_ok && ((paused.it_value.tv_sec == 0 && paused.it_value.tv_nsec == 0 &&
			  running.it_value.tv_sec > 0 && running.it_interval.tv_sec == 60) ||
			 squib_fail(squib, "a pause is not told to the timer"));
}

bool metrics_minute_test(struct squib *squib)
{
	char kernel[PATH_LEN];

	payload_path("idle", kernel);
	if (!squib_serve(squib, NULL) ||
	    !squib_put(squib, "/boot-source", "{\"kernel_image_path\": \"%s\"}", kernel) ||
	    !squib_put(squib, "/metrics", "{\"metrics_path\": \"metrics\"}") ||
	    !squib_api_start(squib, 204) || !has_lines(squib, 1, "started")) {
		return false;
	}
	int fd = find_timer(squib);
	int timer = fd >= 0 ? take(squib, fd) : -1;

	if (timer < 0) {
		return squib_fail(squib, fd < 0 ? "no timer of 60 s" : "the timer can't be taken");
	}
	bool is_ok = rings(squib, timer) && is_quiet_while_paused(squib, timer);

	close(timer);
	return is_ok;
}

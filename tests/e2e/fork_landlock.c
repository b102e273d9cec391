/* SPDX-License-Identifier: Apache-2.0 */
/* Children that confine themselves by Landlock, beside one that does not. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/e2e/forks.h"
#include "tests/e2e/guest_test.h"
#include "tests/lib/squib.h"
#include "tests/lib/testbed.h"

#define CHILD(name, more)                                                                          \
	"{\"id\": \"" name "\", \"api_sock\": \"" name ".sock\", \"ends_with_parent\": true" more  \
	"}"

const char *fork_landlock_lacks(void)
{
	/* LANDLOCK_CREATE_RULESET_VERSION */
	return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0 ? NULL
								    : "the kernel has no Landlock";
}

static bool start(struct squib *squib)
{
	char own[PATH_LEN];

	squib_path(squib, "own", own);
	return (mkdir(own, 0700) == 0 || squib_fail(squib, "cannot make a directory")) &&
	       squib_write(squib, "own/disk", "") && squib_write(squib, "own/next", "") &&
	       squib_write(squib, "outside", "") &&
	       fork_configure(squib, ", \"forkable\": true, \"track_dirty_pages\": true") &&
	       squib_put(squib, "/drives/d",
			 "{\"drive_id\": \"d\", \"path_on_host\": \"own/disk\", "
			 "\"is_root_device\": false, \"is_read_only\": true}") &&
	       squib_api_start(squib, 204) && squib_expect(squib, "round: 2", NULL);
}

static bool says(struct squib *squib, const char *why)
{
	return strstr(squib->answer, why) != NULL ||
	       squib_fail(squib, "the answer is: %.300s", squib->answer);
}

/* The drive of a child gets another file. */
static bool patch(struct squib *squib, const char *child, unsigned status, const char *file)
{
	char body[128];

	snprintf(body, sizeof(body), "{\"drive_id\": \"d\", \"path_on_host\": \"%s\"}", file);
	return squib_child(squib, child, status, "PATCH", "/drives/d", body);
}

/* Besides those of a child that forks: `vmm`, and `no_pci` for a machine without a bus. */
static bool has_narrow_filter(struct squib *squib, long confined, long free)
{
	long more = proc_status_field((pid_t)confined, "Seccomp_filters");
	long fewer = proc_status_field((pid_t)free, "Seccomp_filters");

	return more > fewer ||
	       squib_fail(squib, "a child is under %ld filters beside %ld", more, fewer);
}

static bool is_confined(struct squib *squib, const char *child)
{
	return patch(squib, child, 204, "own/next") && patch(squib, child, 400, "outside") &&
	       says(squib, "With --landlock, a drive goes on only with files of a directory") &&
	       squib_child(squib, child, 400, "PUT", "/fork",
			   "{\"children\": [" CHILD("aa", "") "]}") &&
	       says(squib, "A machine that Landlock holds in can't be forked") &&
	       squib_child(squib, child, 400, "PUT", "/snapshot/create",
			   "{\"snapshot_type\": \"Live\", \"snapshot_path\": \"own/state\", "
			   "\"mem_file_path\": \"own/memory\"}") &&
	       says(squib, "A machine that Landlock holds in can't be forked");
}

/* Its guest goes on, it is paused and resumed, and ends when it is told to. */
static bool lives(struct squib *squib, const char *child)
{
	return squib_child(squib, child, 204, "PATCH", "/vm", "{\"state\": \"Paused\"}") &&
	       squib_child(squib, child, 204, "PATCH", "/vm", "{\"state\": \"Resumed\"}") &&
	       squib_child(squib, child, 204, "PUT", "/actions",
			   "{\"action_type\": \"FlushMetrics\"}") &&
	       squib_child(squib, child, 200, "GET", "/", NULL) && says(squib, "\"Running\"");
}

bool fork_landlock_test(struct squib *squib)
{
	static const char both[] = CHILD("a", ", \"metrics_path\": \"a.metrics\"") ", " CHILD(
		"b", ", \"metrics_path\": \"b.metrics\", \"paused\": true");

	if (!start(squib) ||
	    !squib_api(squib, 200, "PUT", "/fork",
		       "{\"landlock\": true, \"keep\": \"warm\", \"children\": [%s]}", both)) {
		return false;
	}
	long confined = squib_answer_number(squib, "pid");

	/* The request confines its children alone: neither the image nor the parent. */
	if (!is_confined(squib, "a") || !lives(squib, "a") || !is_confined(squib, "b") ||
	    !squib_api(squib, 200, "PUT", "/fork", "{\"image\": \"warm\", \"children\": [%s]}",
		       CHILD("c", ""))) {
		return false;
	}
	long free = squib_answer_number(squib, "pid");

	if (!has_narrow_filter(squib, confined, free) ||
	    !squib_child(squib, "c", 200, "PUT", "/fork",
			 "{\"landlock\": true, \"children\": [" CHILD("cc", "") "]}") ||
	    !is_confined(squib, "cc") || !patch(squib, "c", 204, "outside")) {
		return false;
	}
	/* One that comes to nothing leaves nothing. */
	if (!squib_api(squib, 400, "PUT", "/fork", "{\"landlock\": true, \"children\": [%s, %s]}",
		       CHILD("d", ""), CHILD("e", ", \"log_path\": \"none/log\"")) ||
	    !says(squib, "No child was made: `e`: ")) {
		return false;
	}
	if (!fork_is_gone(squib, "d.sock")) {
		return squib_fail(squib, "a child that was given up has left its socket");
	}
	if (!squib_expect(squib, "round: ", NULL)) {
		return false;
	}
	squib_stop(squib);
	return fork_all_end(squib);
}

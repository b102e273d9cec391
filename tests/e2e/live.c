/* SPDX-License-Identifier: Apache-2.0 */
/* Live snapshots: files that appear, both or neither, while the guest goes on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/e2e/forks.h"
#include "tests/e2e/guest_test.h"
#include "tests/lib/squib.h"

bool live_await(struct squib *squib, const char *status)
{
	uint64_t deadline = now_ms() + FORK_PATIENCE_MS;

	do {
		if (!squib_api(squib, 200, "GET", "/snapshot", "%s", "")) {
			return false;
		}
		if (strstr(squib->answer, "Writing") == NULL) {
			return strstr(squib->answer, status) != NULL ||
			       squib_fail(squib, "the live snapshot: %.300s", squib->answer);
		}
		usleep(10000);
	} while (now_ms() < deadline);
	return squib_fail(squib, "the live snapshot takes for ever");
}

static bool has_written(struct squib *squib)
{
	return (squib_answer_number(squib, "written_bytes") == 64 << 20 &&
		squib_answer_number(squib, "total_bytes") == 64 << 20) ||
	       squib_fail(squib, "of 64 MiB there are written: %.300s", squib->answer);
}

static bool save_live(struct squib *squib, const char *memory)
{
	return squib_put(squib, "/snapshot/create",
			 "{\"snapshot_type\": \"Live\", \"snapshot_path\": \"state\", "
			 "\"mem_file_path\": \"%s\"}",
			 memory);
}

bool live_snapshot_test(struct squib *squib)
{
	if (!fork_start(squib, ", \"forkable\": true") || !save_live(squib, "memory") ||
	    !live_await(squib, "Done") || !has_written(squib) ||
	    !squib_expect(squib, "round: ", NULL)) {
		return false;
	}
	if (!fork_is_gone(squib, "state.part") || !fork_is_gone(squib, "memory.part")) {
		return squib_fail(squib, "a part of a live snapshot is left");
	}
	/* Over files that are there, and loaded from one of them. */
	return squib_replace(squib, NULL) &&
	       squib_put(squib, "/snapshot/load",
			 "{\"snapshot_path\": \"state\", \"mem_backend\": {\"backend_type\": "
			 "\"File\", \"backend_path\": \"memory\"}, \"resume_vm\": true}") &&
	       squib_expect(squib, "round: ", NULL) && squib_expect(squib, "round: ", NULL) &&
	       save_live(squib, "memory") && live_await(squib, "Done") &&
	       squib_expect(squib, "round: ", NULL) && squib_replace(squib, NULL) &&
	       squib_put(squib, "/snapshot/load",
			 "{\"snapshot_path\": \"state\", \"mem_backend\": {\"backend_type\": "
			 "\"File\", \"backend_path\": \"memory\"}, \"resume_vm\": true}") &&
	       squib_expect(squib, "round: ", NULL) && squib_expect(squib, "round: ", NULL);
}

/* --- What names may be --- */

/* A live snapshot that is refused, with words for why, before anything is made. */
static bool is_refused(struct squib *squib, const char *state, const char *memory, const char *why)
{
	return squib_api(squib, 400, "PUT", "/snapshot/create",
			 "{\"snapshot_type\": \"Live\", \"snapshot_path\": \"%s\", "
			 "\"mem_file_path\": \"%s\"}",
			 state, memory) &&
	       (strstr(squib->answer, why) != NULL ||
		squib_fail(squib, "%s and %s: %.300s", state, memory, squib->answer));
}

static bool has_kind(struct squib *squib, const char *name, mode_t kind)
{
	struct stat st;
	char path[PATH_LEN];

	squib_path(squib, name, path);
	return (lstat(path, &st) == 0 && (st.st_mode & S_IFMT) == kind) ||
	       squib_fail(squib, "%s is something else now", name);
}

static bool has_content(struct squib *squib, const char *name, const char *content)
{
	char *text = squib_text(squib, name);
	bool ok = text != NULL && strcmp(text, content) == 0;

	free(text);
	return ok || squib_fail(squib, "%s has been written to", name);
}

/* The state can't get its name, as a file is mounted there: then the memory gets none either. */
static bool fail_second_name(struct squib *squib)
{
	char path[PATH_LEN];

	squib_path(squib, "state", path);
	if (!squib_write(squib, "state", "an old state") ||
	    !squib_write(squib, "memory", "old memory")) {
		return false;
	}
	if (mount(path, path, NULL, MS_BIND, NULL) < 0) {
		return errno == EPERM /* not as root */ ||
		       squib_fail(squib, "cannot mount a file: %s", strerror(errno));
	}
	bool ok = save_live(squib, "memory") && live_await(squib, "Failed") &&
		  has_content(squib, "memory", "old memory") &&
		  has_content(squib, "state", "an old state");

	umount2(path, MNT_DETACH);
	return ok;
}

bool live_names_test(struct squib *squib)
{
	static const char no_memory[] =
		"Cannot perform open on the memory backing file: it is not a regular file";
	static const char no_state[] =
		"Cannot perform open on the snapshot backing file: it is not a regular file";
	static const char same[] = "snapshot_path and mem_file_path name the same file";
	char fifo[PATH_LEN];
	char link[PATH_LEN];

	squib_path(squib, "fifo", fifo);
	squib_path(squib, "link", link);
	if (!squib_write(squib, "target", "content") || mkfifo(fifo, 0600) < 0 ||
	    symlink("target", link) < 0 || !fork_start(squib, ", \"forkable\": true")) {
		return squib_fail(squib, "cannot begin");
	}
	return is_refused(squib, "state", "fifo", no_memory) &&
	       is_refused(squib, "fifo", "memory", no_state) &&
	       is_refused(squib, "state", "link", no_memory) &&
	       is_refused(squib, "link", "memory", no_state) &&
	       is_refused(squib, "state", "none/memory", "No such file or directory") &&
	       is_refused(squib, "new", "./new", same) &&
	       is_refused(squib, "target", "./target", same) &&
	       is_refused(squib, "new.part", "new", same) && has_kind(squib, "fifo", S_IFIFO) &&
	       has_kind(squib, "link", S_IFLNK) && has_content(squib, "target", "content") &&
	       fail_second_name(squib) &&
	       ((fork_is_gone(squib, "state.part") && fork_is_gone(squib, "memory.part") &&
		 fork_is_gone(squib, "new.part") && fork_is_gone(squib, "new")) ||
		squib_fail(squib, "a part is left of a live snapshot that failed"));
}

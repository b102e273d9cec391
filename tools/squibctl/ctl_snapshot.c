/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saves and loads.
 *
 * Theory of operation. A save needs a paused machine, so one that runs is paused before and resumed
 * after it, failed or not; who wants to end us by a signal waits for that. squib answers when the
 * files are on disk, which may take as long as the disk does; meanwhile the memory's file is looked
 * at, to show how it grows. Names of files are squib's. Where they don't lead to files that were
 * just written, this process sees other ones than squib does, and says nothing of sizes. A live
 * snapshot needs no pause: squib answers before the files are there, and is asked how far they are.
 */
#include "tools/squibctl/ctl_snapshot.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tools/lib/progress.h"
#include "tools/squibctl/ctl_copy_file.h"
#include "tools/squibctl/ctl_overrides.h"
#include "tools/squibctl/ctl_request.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"

enum {
	LOOK_MS = 100,
	BLOCK = 512, /* of st_blocks */
};

struct wait {
	const char *what;
	const char *path; /* a file that grows meanwhile; NULL: none */
	time_t since;
	int end; /* readable: nobody waits any longer; 0: none */
};

/* What this process sees at `path`, if that was written since then. */
static bool look(const char *path, time_t since, struct stat *st)
{
	return path != NULL && stat(path, st) == 0 && S_ISREG(st->st_mode) && st->st_mtime >= since;
}

/* Until squib answers. false: that is not waited for. */
static bool wait_answer(int fd, const struct wait *wait)
{
	struct pollfd slots[] = {{.fd = fd, .events = POLLIN},
				 {.fd = wait->end > 0 ? wait->end : -1, .events = POLLIN}};
	struct progress progress;
	int ready;

	progress_begin(&progress, wait->what, 0);
	do {
		struct stat st;

		ready = poll(slots, ARRAY_COUNT(slots), LOOK_MS);
		progress_set(&progress, look(wait->path, wait->since, &st)
						? (uint64_t)st.st_blocks * BLOCK
						: 0);
	} while (ready == 0 || (ready < 0 && errno == EINTR));
	progress_end(&progress);
	return slots[1].revents == 0;
}

/* A request that may take long; its answer's body is dropped. `fds`: see ctl_http_send. */
static enum ctl_exit request_slowly(int fd, const char *path, const char *body,
				    const struct ctl_fds *fds, const struct wait *wait)
{
	struct ctl_reply reply = {0};
	struct error err = {0};
	enum ctl_exit code = CTL_EXIT_OK;

	if (ctl_http_send(fd, "PUT", path, body, fds, &err) < 0) {
		return ctl_fail(CTL_EXIT_NO_CONNECTION, err.msg, NULL);
	}
	if (!wait_answer(fd, wait)) {
		return CTL_EXIT_NO_CONNECTION;
	}
	if (ctl_http_receive(fd, &reply, &err) < 0) {
		return ctl_fail(CTL_EXIT_NO_CONNECTION, err.msg, NULL);
	}
	if (reply.status >= CTL_STATUS_FAULT) {
		code = ctl_refused("PUT", path, &reply);
	}
	free(reply.body);
	return code;
}

enum ctl_exit ctl_set_running(int fd, bool runs)
{
	struct ctl_reply reply = {0};
	enum ctl_exit code =
		ctl_request(fd, "PATCH", "/vm",
			    runs ? "{\"state\":\"Resumed\"}" : "{\"state\":\"Paused\"}", &reply);

	free(reply.body);
	return code;
}

sigset_t ctl_hold_ends(void)
{
	sigset_t mask;
	sigset_t held = ctl_copy_signals();

	sigprocmask(SIG_BLOCK, &held, &mask);
	return mask;
}

void ctl_release_ends(const sigset_t *mask)
{
	sigprocmask(SIG_SETMASK, mask, NULL);
}

/* --- Saving --- */

enum ctl_exit ctl_find_running(int fd, bool *is_running)
{
	struct ctl_reply reply = {0};
	enum ctl_exit code = ctl_request(fd, "GET", "/", NULL, &reply);
	json_t *json =
		code == CTL_EXIT_OK && reply.body != NULL ? json_loads(reply.body, 0, NULL) : NULL;
	const char *state = json_string_value(json_object_get(json, "state"));

	*is_running = state != NULL && strcmp(state, "Running") == 0;
	json_decref(json);
	free(reply.body);
	return code;
}

static void print_file(const char *what, const char *path, time_t since)
{
	struct stat st;

	if (path == NULL) {
		return;
	}
	if (look(path, since, &st)) {
		printf("%-8s%s, %s on disk: %s\n", what, size_text((uint64_t)st.st_size).text,
		       size_text((uint64_t)st.st_blocks * BLOCK).text, path);
	} else {
		printf("%-8s%s, as squib sees it\n", what, path);
	}
}

static enum ctl_exit request_save(int fd, const char *const files[2], const char *type,
				  const struct ctl_fds *fds, const struct wait *wait)
{
	json_t *json = json_pack("{s:s, s:s, s:s*}", "snapshot_type", type, "snapshot_path",
				 files[0], "mem_file_path", files[1]);
	AUTO_FREE char *body = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	return body != NULL ? request_slowly(fd, "/snapshot/create", body, fds, wait)
			    : ctl_fail(CTL_EXIT_USAGE, "The names of the files are no UTF-8", NULL);
}

enum ctl_exit ctl_save(int fd, const char *state, const char *memory)
{
	const char *const files[] = {state, memory};
	const struct wait wait = {"saving", memory, time(NULL) - 1, 0};

	return request_save(fd, files, "Full", NULL, &wait);
}

static enum ctl_exit save_paused(int fd, const struct ctl_args *args)
{
	/* Files have the time of the kernel's last tick. */
	const struct wait wait = {"saving", args->operands[1], time(NULL) - 1, 0};
	bool was_running = false;
	enum ctl_exit code = ctl_find_running(fd, &was_running);
	uint64_t begin = clock_host.now_ns(CLOCK_MONOTONIC);

	if (code == CTL_EXIT_OK && was_running) {
		code = ctl_set_running(fd, false);
	}
	if (code != CTL_EXIT_OK) {
		return code;
	}
	code = request_save(fd, args->operands, args->is_diff ? "Diff" : "Full", NULL, &wait);
	bool resumes = was_running && !args->stay_paused;
	uint64_t end = clock_host.now_ns(CLOCK_MONOTONIC);

	if (resumes && code != CTL_EXIT_NO_CONNECTION) {
		enum ctl_exit resumed = ctl_set_running(fd, true);

		code = code != CTL_EXIT_OK ? code : resumed;
	}
	if (code == CTL_EXIT_OK) {
		printf("saved in %.2f s; the microVM %s\n", (double)(end - begin) / NS_PER_S,
		       resumes ? "runs again" : "is paused");
		print_file("state", args->operands[0], wait.since);
		print_file("memory", args->operands[1], wait.since);
	}
	return code;
}

static enum ctl_exit save(int fd, const struct ctl_args *args)
{
	sigset_t mask = ctl_hold_ends();
	enum ctl_exit code = save_paused(fd, args);

	ctl_release_ends(&mask);
	return code;
}

/* --- Live snapshots --- */

/* What GET /snapshot tells. */
struct live {
	bool is_writing;
	bool has_failed;
	uint64_t written;
	uint64_t total;
	char error[ERROR_MSG_LEN];
};

static enum ctl_exit ask_live(int fd, struct live *live)
{
	struct ctl_reply reply = {0};
	enum ctl_exit code = ctl_request(fd, "GET", "/snapshot", NULL, &reply);
	json_t *json = json_loads(reply.body != NULL ? reply.body : "", 0, NULL);
	const char *status = json_string_value(json_object_get(json, "live"));
	const char *error = json_string_value(json_object_get(json, "error"));

	live->is_writing = status != NULL && strcmp(status, "Writing") == 0;
	live->has_failed = status == NULL || strcmp(status, "Failed") == 0;
	live->written = (uint64_t)json_integer_value(json_object_get(json, "written_bytes"));
	live->total = (uint64_t)json_integer_value(json_object_get(json, "total_bytes"));
	snprintf(live->error, sizeof(live->error), "%s", error != NULL ? error : "");
	json_decref(json);
	free(reply.body);
	return code;
}

/* Until the files are complete, or never will be. */
static enum ctl_exit await_live(int fd)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * NS_PER_MS};
	struct progress progress;
	struct live live;
	enum ctl_exit code = ask_live(fd, &live);

	progress_begin(&progress, "saving", live.total);
	while (code == CTL_EXIT_OK && live.is_writing) {
		progress_set(&progress, live.written);
		nanosleep(&pause, NULL);
		code = ask_live(fd, &live);
	}
	progress_end(&progress);
	return code == CTL_EXIT_OK && live.has_failed ? ctl_fail(CTL_EXIT_REFUSED, live.error, NULL)
						      : code;
}

enum ctl_exit ctl_hand_on(int fd, const struct ctl_fds *fds)
{
	static const char *const files[] = {CTL_SENT_STATE, CTL_SENT_MEMORY};
	const struct wait wait = {"forking", NULL, 0, 0};
	enum ctl_exit code = request_save(fd, files, "Live", fds, &wait);

	return code == CTL_EXIT_OK ? await_live(fd) : code;
}

static enum ctl_exit save_live(int fd, const struct ctl_args *args)
{
	const struct wait wait = {"forking", NULL, time(NULL) - 1, 0};
	uint64_t begin = clock_host.now_ns(CLOCK_MONOTONIC);
	enum ctl_exit code = request_save(fd, args->operands, "Live", NULL, &wait);

	if (code == CTL_EXIT_OK) {
		code = await_live(fd);
	}
	if (code == CTL_EXIT_OK) {
		printf("saved in %.2f s; the microVM ran meanwhile\n",
		       (double)(clock_host.now_ns(CLOCK_MONOTONIC) - begin) / NS_PER_S);
		print_file("state", args->operands[0], wait.since);
		print_file("memory", args->operands[1], wait.since);
	}
	return code;
}

/* --- Loading --- */

json_t *ctl_load_body(const struct ctl_args *args, const char *state, const char *memory,
		      unsigned long number)
{
	bool is_paged = args->uffd != NULL;
	json_t *json = json_pack("{s:s, s:{s:s, s:s}, s:b, s:b, s:b}", "snapshot_path", state,
				 "mem_backend", "backend_type", is_paged ? "Uffd" : "File",
				 "backend_path", is_paged ? args->uffd : memory, "resume_vm",
				 (int)args->resume, "track_dirty_pages", (int)args->track_dirty,
				 "clock_realtime", (int)args->clock_realtime);
	bool failed = json == NULL;

	if (args->drives.count > 0) {
		failed |= json_object_set_new(json, "drive_overrides",
					      ctl_overrides(&args->drives, "drive_id",
							    "path_on_host", number)) < 0;
	}
	if (args->pmems.count > 0) {
		failed |= json_object_set_new(
				  json, "pmem_overrides",
				  ctl_overrides(&args->pmems, "id", "path_on_host", number)) < 0;
	}
	if (args->nets.count > 0) {
		failed |= json_object_set_new(json, "network_overrides",
					      ctl_overrides(&args->nets, "iface_id",
							    "host_dev_name", number)) < 0;
	}
	if (args->vsock != NULL) {
		failed |= json_object_set_new(json, "vsock_override",
					      json_pack("{s:o}", "uds_path",
							ctl_expanded(args->vsock, number))) < 0;
	}
	if (args->working_set != NULL) {
		failed |= json_object_set_new(json, "working_set_path",
					      ctl_expanded(args->working_set, number)) < 0;
	}
	if (failed) {
		json_decref(json);
		return NULL;
	}
	return json;
}

enum ctl_exit ctl_open_snapshot(const char *state, const char *memory, struct ctl_fds *fds)
{
	struct error err = {0};

	*fds = (struct ctl_fds){.items = {-1, -1}};
	if (fd_open_file(state, "The state", &fds->items[0], NULL, &err) < 0 ||
	    fd_open_file(memory, "The memory", &fds->items[1], NULL, &err) < 0) {
		ctl_close_fds(fds);
		return ctl_fail(CTL_EXIT_USAGE, err.msg, NULL);
	}
	fds->count = 2;
	return CTL_EXIT_OK;
}

void ctl_close_fds(struct ctl_fds *fds)
{
	for (size_t i = 0; i < CTL_FDS_MAX; i++) {
		fd_close(&fds->items[i]);
	}
	fds->count = 0;
}

enum ctl_exit ctl_load(int fd, json_t *body, const struct ctl_fds *fds, int end)
{
	const struct wait wait = {"loading", NULL, 0, end};
	AUTO_FREE char *text = json_dumps(body, JSON_COMPACT);

	json_decref(body);
	return text != NULL
		       ? request_slowly(fd, "/snapshot/load", text, fds, &wait)
		       : ctl_fail(CTL_EXIT_USAGE, "A name on the command line is no UTF-8", NULL);
}

static enum ctl_exit load(int fd, const struct ctl_args *args)
{
	struct ctl_fds fds = {.items = {-1, -1}};
	const char *state = args->sends ? CTL_SENT_STATE : args->operands[0];
	const char *memory = args->sends ? CTL_SENT_MEMORY : args->operands[1];
	uint64_t begin = clock_host.now_ns(CLOCK_MONOTONIC);
	enum ctl_exit code = args->sends
				     ? ctl_open_snapshot(args->operands[0], args->operands[1], &fds)
				     : CTL_EXIT_OK;

	if (code == CTL_EXIT_OK) {
		code = ctl_load(fd, ctl_load_body(args, state, memory, 0), &fds, 0);
	}
	ctl_close_fds(&fds);
	if (code == CTL_EXIT_OK) {
		printf("loaded in %.3f s; the microVM %s\n",
		       (double)(clock_host.now_ns(CLOCK_MONOTONIC) - begin) / NS_PER_S,
		       args->resume ? "runs" : "is paused: squibctl resume lets it go on");
	}
	return code;
}

enum ctl_exit ctl_snapshot_run(int fd, const struct ctl_args *args)
{
	if (strcmp(args->command->name, "load") == 0) {
		return load(fd, args);
	}
	return args->is_live ? save_live(fd, args) : save(fd, args);
}

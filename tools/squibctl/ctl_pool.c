/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools.
 *
 * Theory of operation. Who takes a machine needs no word with the keeper: the rename of its record
 * makes it the taker's, or fails as another one has it. Only then it is asked whether it is alive,
 * and resumed. If the taker is killed in between, the machine is taken and listed so. A machine
 * that does not answer is the taker's to end: nobody could tell later whether it runs.
 */
#include "tools/squibctl/ctl_pool.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/squibctl/ctl_deadline.h"
#include "tools/squibctl/ctl_http.h"
#include "tools/squibctl/ctl_machine.h"
#include "tools/squibctl/ctl_pool_dir.h"
#include "tools/squibctl/ctl_pool_keep.h"
#include "tools/squibctl/ctl_pool_named.h"
#include "tools/squibctl/ctl_process.h"
#include "tools/squibctl/ctl_request.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"

enum {
	TAKE_MS = 30 * 1000, /* until a machine is ready */
	STOP_MS = 60 * 1000, /* until all have ended */
	ANSWER_S = 5,	     /* of a machine that is handed out */
	TURN_MS = 200,	     /* between looks at the keeper */
	LOOK_MS = 2,
	COUNT_MAX = 10000,
};

static void nap(void)
{
	const struct timespec look = {.tv_nsec = LOOK_MS * NS_PER_MS};

	nanosleep(&look, NULL);
}

static bool is_over(uint64_t deadline)
{
	return deadline_left(deadline) == 0;
}

static enum ctl_exit start(const struct ctl_args *args, const struct pool_dir *dir)
{
	char *end = NULL;
	unsigned long want = args->count != NULL ? strtoul(args->count, &end, 10) : 1;

	if (args->count != NULL && (*args->count < '1' || *args->count > '9' || *end != '\0')) {
		want = 0;
	}
	return want > 0 && want <= COUNT_MAX
		       ? pool_keep(args, dir, want)
		       : ctl_fail(CTL_EXIT_USAGE, "--count is a number from 1 to 10000", NULL);
}

/* A keeper that a signal has stopped does nothing, and nobody waits for it. */
static enum ctl_exit fail_stopped(enum ctl_exit code, const char *what, pid_t keeper)
{
	AUTO_FREE char *text = ctl_text(
		"%s, and process %d, which keeps the pool, was stopped by a signal: kill -CONT %d "
		"lets it go on",
		what, keeper, keeper);

	return ctl_fail(code, text != NULL ? text : what, NULL);
}

/* --- take --- */

static enum ctl_exit resume(int fd)
{
	struct ctl_reply reply = {0};
	enum ctl_exit code = ctl_request(fd, "PATCH", "/vm", "{\"state\":\"Resumed\"}", &reply);

	free(reply.body);
	return code;
}

/* Lets a machine go on that is loaded; one that has none is as it was. */
static enum ctl_exit hand_out(const struct ctl_args *args, int fd,
			      const struct pool_machine *machine)
{
	struct ctl_reply reply = {0};
	enum ctl_exit code = ctl_request(fd, "GET", "/", NULL, &reply);
	json_t *json = json_loads(reply.body != NULL ? reply.body : "", 0, NULL);
	const char *state = json_string_value(json_object_get(json, "state"));

	if (code == CTL_EXIT_OK && !args->paused && state != NULL && strcmp(state, "Paused") == 0) {
		code = resume(fd);
	}
	json_decref(json);
	free(reply.body);
	if (code == CTL_EXIT_OK) {
		printf("%s %d %lu\n", machine->socket, machine->pid, machine->number);
	}
	return code;
}

/* Of the taker's machine. false: it has ended or stands still, and is gone now. */
static bool hand_out_or_end(const struct ctl_args *args, const struct pool_dir *dir,
			    struct pool_machine *machine, enum ctl_exit *code)
{
	bool has_ended = process_born(machine->pid) != machine->born;
	struct error err = {0};
	AUTO_FD fd = -1;

	if (pool_has_name(machine)) {
		*code = pool_named_take(machine);
	} else if (ctl_http_connect_for(machine->socket, ANSWER_S, &fd, &err) == 0) {
		*code = hand_out(args, fd, machine);
	} else if (err.kind == ERR_BAD_REQUEST) {
		/* It is another one's to take, who may connect. */
		(void)pool_move(dir, machine, POOL_READY);
		*code = ctl_fail(CTL_EXIT_USAGE, err.msg, NULL);
	} else {
		/* Nobody may have noticed that it has ended: that is nothing to tell. */
		*code = has_ended ? CTL_EXIT_NO_CONNECTION
				  : ctl_fail(CTL_EXIT_NO_CONNECTION, err.msg, NULL);
	}
	if (*code != CTL_EXIT_NO_CONNECTION) {
		return true;
	}
	pool_end(dir, machine);
	pool_forget(dir, machine);
	if (!has_ended) {
		fprintf(stderr, "squibctl: machine %lu was ended; the next one is taken\n",
			machine->number);
	}
	return false;
}

/* false: none is ready, so that there is no *code yet. */
static bool take_one(const struct ctl_args *args, const struct pool_dir *dir, uint64_t deadline,
		     enum ctl_exit *code)
{
	struct pool_list list;
	struct error err = {0};
	bool is_done = false;

	if (pool_list(dir, &list, &err) < 0) {
		*code = ctl_fail(CTL_EXIT_USAGE, err.msg, NULL);
		return true;
	}
	for (size_t i = 0; i < list.count && !is_done && !is_over(deadline); i++) {
		struct pool_machine *machine = &list.items[i];

		if (machine->state != POOL_READY) {
			continue;
		}
		if (pool_has_name(machine) && args->paused) {
			*code = ctl_fail(CTL_EXIT_USAGE,
					 "--paused is not for machines with names: squibctl pause "
					 "NAME",
					 NULL);
			is_done = true;
		} else {
			is_done = pool_move(dir, machine, POOL_TAKEN) &&
				  hand_out_or_end(args, dir, machine, code);
		}
	}
	pool_list_free(&list);
	return is_done;
}

/* Until a record has another name. A keeper's end changes none, hence the bound. */
static void await_change(int watch)
{
	struct pollfd changed = {.fd = watch, .events = POLLIN};

	if (poll(&changed, 1, TURN_MS) > 0) {
		pool_watch_clear(watch);
	}
}

static enum ctl_exit take(const struct ctl_args *args, const struct pool_dir *dir)
{
	uint64_t deadline = deadline_in(TAKE_MS);
	enum ctl_exit code = CTL_EXIT_OK;
	struct error err = {0};
	AUTO_FD watch = -1;

	while (!take_one(args, dir, deadline, &code)) {
		/* What has got ready before there was a watch is seen by another look. */
		if (watch < 0) {
			if (pool_watch(dir, &watch, &err) < 0) {
				return ctl_fail(CTL_EXIT_USAGE, err.msg, NULL);
			}
			continue;
		}
		pid_t keeper = pool_keeper(dir);

		if (keeper == 0) {
			return ctl_fail(CTL_EXIT_NO_CONNECTION,
					"No machine is ready, and no pool runs there that would "
					"make one",
					"squibctl pool start keeps some ready");
		}
		if (process_is_stopped(keeper)) {
			return fail_stopped(CTL_EXIT_NO_CONNECTION, "No machine is ready", keeper);
		}
		if (is_over(deadline)) {
			return ctl_fail(CTL_EXIT_NO_CONNECTION,
					"No machine has got ready in 30 s: what the pool prints "
					"tells why",
					NULL);
		}
		await_change(watch);
	}
	return code;
}

/* --- status --- */

static void print_text(const struct pool_list *list, pid_t keeper)
{
	if (keeper > 0) {
		printf("kept by process %d%s\n", keeper,
		       process_is_stopped(keeper) ? ", which was stopped by a signal" : "");
	} else {
		printf("%s\n", keeper == 0 ? "kept by nobody" : "kept in another PID namespace");
	}
	for (size_t i = 0; i < list->count; i++) {
		const struct pool_machine *machine = &list->items[i];

		printf("%-6lu %-8s %10d  %s\n", machine->number,
		       machine->was_live ? pool_state_name(machine->state) : "ended", machine->pid,
		       pool_has_name(machine) ? machine->name : machine->socket);
	}
}

static json_t *describe(const struct pool_machine *machine)
{
	return json_pack("{s:I, s:s, s:i, s:s, s:s}", "number", (json_int_t)machine->number,
			 "state", machine->was_live ? pool_state_name(machine->state) : "ended",
			 "pid", machine->pid, "name", machine->name, "socket", machine->socket);
}

/* false: there is a text that JSON can't have. */
static bool print_json(const struct pool_dir *dir, const struct pool_list *list, pid_t keeper)
{
	json_t *machines = json_array();
	json_int_t counts[POOL_STATES] = {0};
	bool is_whole = true;

	for (size_t i = 0; i < list->count; i++) {
		counts[list->items[i].state] += list->items[i].was_live;
		is_whole =
			json_array_append_new(machines, describe(&list->items[i])) == 0 && is_whole;
	}
	json_t *object =
		json_pack("{s:s, s:b, s:i, s:b, s:I, s:I, s:I, s:o}", "directory", dir->path,
			  "kept", keeper != 0, "keeper", keeper > 0 ? keeper : 0, "stopped",
			  process_is_stopped(keeper), "making", counts[POOL_MAKING], "ready",
			  counts[POOL_READY], "taken", counts[POOL_TAKEN], "machines", machines);

	is_whole = is_whole && object != NULL;
	if (is_whole) {
		ctl_print_json(object);
	}
	json_decref(object);
	return is_whole;
}

static enum ctl_exit status(const struct ctl_args *args, const struct pool_dir *dir)
{
	struct pool_list list;
	struct error err = {0};
	pid_t keeper = pool_keeper(dir);

	if (pool_list(dir, &list, &err) < 0) {
		return ctl_fail(CTL_EXIT_USAGE, err.msg, NULL);
	}
	bool is_whole = !args->run.json || print_json(dir, &list, keeper);

	if (!args->run.json) {
		print_text(&list, keeper);
	}
	pool_list_free(&list);
	if (!is_whole) {
		return ctl_fail(
			CTL_EXIT_REFUSED,
			"The path of the pool or of a socket is no UTF-8, as JSON is: leave "
			"--json out",
			NULL);
	}
	return keeper != 0 ? CTL_EXIT_OK : CTL_EXIT_NO_CONNECTION;
}

/* --- stop --- */

static enum ctl_exit fail_late(const struct pool_dir *dir, pid_t keeper)
{
	const char *saves = pool_named_saves(dir)
				    ? ". It still saves the machine of --of, which stands still "
				      "if it is killed: squibctl resume NAME lets that go on"
				    : "";
	AUTO_FREE char *text = ctl_text("The pool has not ended in 60 s: kill -KILL %d ends "
					"process %d, which keeps it, and "
					"squibctl pool stop %s what that leaves%s",
					keeper, keeper, dir->path, saves);

	return ctl_fail(CTL_EXIT_REFUSED, text != NULL ? text : "The pool has not ended", NULL);
}

static enum ctl_exit fail_unseen(void)
{
	return ctl_fail(CTL_EXIT_REFUSED, "The pool is kept in another PID namespace", NULL);
}

/* Until nobody keeps the pool: the process `first`, if any, was asked to end. */
static enum ctl_exit await_end(const struct pool_dir *dir, pid_t first)
{
	uint64_t deadline = deadline_in(STOP_MS);
	pid_t keeper;

	while ((keeper = pool_keeper(dir)) != 0) {
		if (keeper < 0) {
			return fail_unseen();
		}
		if (keeper != first) {
			AUTO_FREE char *text = ctl_text("Process %d keeps the pool by now: "
							"squibctl pool stop %s ends that one",
							keeper, dir->path);

			return ctl_fail(CTL_EXIT_REFUSED,
					text != NULL ? text : "Another process keeps it", NULL);
		}
		if (process_is_stopped(keeper)) {
			return fail_stopped(CTL_EXIT_REFUSED, "The pool can't end", keeper);
		}
		if (is_over(deadline)) {
			return fail_late(dir, keeper);
		}
		nap();
	}
	return CTL_EXIT_OK;
}

static enum ctl_exit stop(const struct pool_dir *dir)
{
	pid_t keeper = pool_keeper(dir);
	struct error err = {0};
	int lock = -1;

	if (keeper < 0) {
		return fail_unseen();
	}
	if (keeper > 0 && kill(keeper, SIGTERM) < 0) {
		return ctl_fail(CTL_EXIT_REFUSED, "The pool's process can't be signalled", NULL);
	}
	enum ctl_exit code = await_end(dir, keeper);

	if (code != CTL_EXIT_OK) {
		return code;
	}
	/* One that was killed has left its machines. */
	if (pool_lock(dir, &lock, &err) < 0) {
		return ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
	}
	pool_sweep(dir);
	pool_unlock(dir, &lock);
	puts("stopped");
	return CTL_EXIT_OK;
}

/* Whether it is the name of a machine. */
static bool is_machine(const char *word)
{
	struct machine machine = {0};
	struct error ignored = {0};
	bool is_there =
		strchr(word, '/') == NULL && ctl_machine_open(word, &machine, &ignored) == 0;

	ctl_machine_close(&machine);
	return is_there;
}

/* Squibs without a machine in a directory called like one are hardly what was meant. */
static enum ctl_exit refuse_name(const char *word)
{
	fprintf(stderr,
		"squibctl: %s is a machine's name: squibctl pool start --of %s DIRECTORY keeps "
		"machines of it; for squibs without a machine say ./%s\n",
		word, word, word);
	return CTL_EXIT_USAGE;
}

/* Of a directory that can't be opened. */
static const char *missing_hint(const char *path)
{
	if (is_machine(path)) {
		return "A pool is its directory: squibctl pool start --of NAME DIRECTORY makes one "
		       "of a machine with a name";
	}
	return access(path, F_OK) < 0 ? "squibctl pool start makes a pool's directory" : NULL;
}

static bool has_source(const struct ctl_args *args)
{
	return args->of != NULL || args->state != NULL || args->is_live || args->program != NULL;
}

enum ctl_exit ctl_pool_run(const struct ctl_args *args)
{
	const char *action = args->operands[0];
	const char *path = args->operands[1];
	bool is_start = strcmp(action, "start") == 0;
	struct pool_dir dir;
	struct error err = {0};
	enum ctl_exit code;

	if (is_start && !has_source(args) && is_machine(path)) {
		return refuse_name(path);
	}
	if (pool_open(path, is_start, &dir, &err) < 0) {
		code = ctl_fail(CTL_EXIT_USAGE, err.msg, is_start ? NULL : missing_hint(path));
	} else if (is_start) {
		code = start(args, &dir);
		if (code != CTL_EXIT_OK) {
			pool_unmake(&dir, args->program != NULL);
		}
	} else if (strcmp(action, "take") == 0) {
		code = take(args, &dir);
	} else {
		code = strcmp(action, "status") == 0 ? status(args, &dir) : stop(&dir);
	}
	pool_close(&dir);
	return code;
}

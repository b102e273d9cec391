/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on machines that have names. */
#include "tools/squibctl/ctl_machines.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/squibctl/ctl_clean.h"
#include "tools/squibctl/ctl_build.h"
#include "tools/squibctl/ctl_clone.h"
#include "tools/squibctl/ctl_copy.h"
#include "tools/squibctl/ctl_events.h"
#include "tools/squibctl/ctl_images.h"
#include "tools/squibctl/ctl_keeper.h"
#include "tools/squibctl/ctl_machine.h"
#include "tools/squibctl/ctl_request.h"
#include "tools/squibctl/ctl_run.h"
#include "tools/squibctl/ctl_stats.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	STOP_S = 10,	  /* between the stop signal and the kill */
	ANSWER_MS = 1000, /* for a guest that is told to kill its command */
	END_MS = 2000,	  /* between that and the end of squib itself */
	FOLLOW_MS = 100,  /* between looks at a log */
	AGE_LEN = 32,
};

struct task {
	const char *name;
	int (*run)(const struct ctl_args *args, struct machine *machine, struct error *err);
	bool takes_damaged; /* a machine whose record can't be read */
};

/* Why a machine did not do what it was to do, on standard error, if that is known. */
static void print_fault(const struct machine *machine)
{
	const char *fault = ctl_machine_text(machine, "fault");

	if (fault != NULL) {
		ctl_complain(fault);
	} else if (ctl_machine_state(machine) == MACHINE_LOST) {
		fprintf(stderr,
			"squibctl: The machine %s is lost: its squib, or the process that keeps "
			"it, "
			"was killed\n",
			machine->name);
	}
}

/* --- ps and inspect --- */

static void print_age(json_int_t created, char age[AGE_LEN])
{
	static const struct {
		long seconds;
		const char *name;
	} units[] = {{86400, "days"}, {3600, "hours"}, {60, "minutes"}, {1, "seconds"}};
	long seconds = (long)(time(NULL) - created);

	seconds = seconds > 0 ? seconds : 0;
	for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
		if (seconds >= 2 * units[i].seconds || units[i].seconds == 1) {
			snprintf(age, AGE_LEN, "%ld %s", seconds / units[i].seconds, units[i].name);
			return;
		}
	}
}

/* Of an image, or of a record that came from elsewhere. */
static void print_strange(const char *text, int width)
{
	AUTO_FREE char *own = strdup(text != NULL ? text : "-");

	if (own != NULL) {
		clean_text(own, strlen(own), '\0');
		printf(" %-*s", width, own);
	}
}

static void print_words(const json_t *words)
{
	const json_t *word;
	size_t i;

	json_array_foreach(words, i, word)
	{
		print_strange(json_string_value(word), 0);
	}
	putchar('\n');
}

static void print_row(const struct machine *machine)
{
	char age[AGE_LEN];
	char state[AGE_LEN];
	enum machine_state is = ctl_machine_state(machine);
	const char *image = ctl_machine_text(machine, "image");
	bool has_failed = ctl_machine_text(machine, "fault") != NULL;

	print_age(ctl_machine_number(machine, "created"), age);
	snprintf(state, sizeof(state), "%s", ctl_machine_state_name(is));
	if (is == MACHINE_ENDED) {
		snprintf(state, sizeof(state), "%s (%lld)", has_failed ? "failed" : "ended",
			 (long long)ctl_machine_number(machine, "exit_status"));
	}
	printf("%-20s %-14s %-12s", machine->name, state, is != MACHINE_DAMAGED ? age : "-");
	print_strange(image, 24);
	print_words(json_object_get(json_object_get(machine->record, "process"), "Args"));
}

/* The record with what can be seen of it now; a new object. */
static json_t *describe(const struct machine *machine)
{
	json_t *object = machine->record != NULL ? json_deep_copy(machine->record)
						 : json_pack("{s:s}", "name", machine->name);

	json_object_set_new(object, "state",
			    json_string(ctl_machine_state_name(ctl_machine_state(machine))));
	json_object_set_new(object, "directory", json_string(machine->dir));
	return object;
}

static void list_machine(const struct ctl_args *args, const struct machine *machine, json_t *list)
{
	enum machine_state state = ctl_machine_state(machine);

	/* One that is damaged may run, and so may squib without its keeper. */
	bool is_live = state <= MACHINE_RUNNING || state == MACHINE_DAMAGED ||
		       ctl_machine_process(machine, "squib") > 0;

	if (!is_live && !args->run.all) {
		return;
	}
	if (args->run.json) {
		json_array_append_new(list, describe(machine));
	} else if (args->run.quiet) {
		puts(machine->name);
	} else {
		print_row(machine);
	}
}

static int ps(const struct ctl_args *args)
{
	struct error err = {0};
	json_t *names = ctl_machine_names(&err);
	json_t *list = json_array();
	const json_t *name;
	size_t i;

	if (names == NULL) {
		json_decref(list);
		return ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
	}
	if (!args->run.json && !args->run.quiet) {
		printf("%-20s %-14s %-12s %-24s %s\n", "NAME", "STATE", "AGE", "IMAGE", "COMMAND");
	}
	json_array_foreach(names, i, name)
	{
		struct machine machine;

		error_clear(&err);
		/* One that is removed meanwhile is not there. */
		if (ctl_machine_open(json_string_value(name), &machine, &err) == 0 ||
		    err.kind == ERR_CORRUPT) {
			list_machine(args, &machine, list);
		}
		ctl_machine_close(&machine);
	}
	if (args->run.json) {
		ctl_print_json(list);
	}
	json_decref(list);
	json_decref(names);
	return CTL_EXIT_OK;
}

static int inspect(const struct ctl_args *args, struct machine *machine, struct error *err)
{
	json_t *object = describe(machine);

	(void)args;
	(void)err;
	ctl_print_json(object);
	json_decref(object);
	return CTL_EXIT_OK;
}

/* --- exec --- */

/* The machine's own environment, user and directory, unless the options say otherwise. */
static json_t *exec_process(const struct ctl_args *args, const struct machine *machine)
{
	json_t *process = json_deep_copy(json_object_get(machine->record, "process"));
	json_t *env = json_object_get(process, "Env");

	json_object_set_new(process, "Args", ctl_run_words(NULL, NULL, args->program));
	for (unsigned i = 0; i < args->run.env.count; i++) {
		ctl_run_set_variable(env, args->run.env.items[i]);
	}
	if (args->run.user != NULL) {
		json_object_set_new(process, "User", json_string(args->run.user));
	}
	if (args->run.workdir != NULL) {
		json_object_set_new(process, "WorkingDir", json_string(args->run.workdir));
	}
	return process;
}

static int exec(const struct ctl_args *args, struct machine *machine, struct error *err)
{
	static struct frames frames;
	static struct run_request request;
	const struct session_options options = ctl_run_options(args);
	json_t *process = exec_process(args, machine);
	AUTO_FD fd = -1;
	int status = -1;

	if (ctl_machine_check_runs(machine, err) == 0 && session_reach(machine, &fd, err) == 0 &&
	    session_request(process, &options, &request, err) == 0) {
		request.host = machine->name;
		frames.fd = fd;
		if (session_put_request(&frames, &request, err) == 0) {
			status = session_run(&frames, &options, err);
		}
	}
	json_decref(process);
	return ctl_run_end(status, err);
}

/* --- attach --- */

static int attach(const struct ctl_args *args, struct machine *machine, struct error *err)
{
	static struct frames frames;
	bool has_input = json_is_true(json_object_get(machine->record, "interactive"));
	const struct session_options options = {
		.has_terminal = json_is_true(json_object_get(machine->record, "tty")),
		.has_input = has_input && !args->run.no_stdin,
		.attaches = true,
		.may_detach = true,
	};
	AUTO_FD fd = -1;

	if (ctl_machine_check_runs(machine, err) < 0) {
		return -1;
	}
	if (ctl_machine_process(machine, "keeper") == 0) {
		return error_set(err, ERR_BAD_STATE,
				 "Nobody has the output of %s: its keeper was killed",
				 machine->name);
	}
	if (session_keeper(machine, &fd, err) < 0) {
		return -1;
	}
	frames.fd = fd;
	return ctl_run_end(ctl_run_detached(machine, session_run(&frames, &options, err)), err);
}

/* --- logs --- */

struct log {
	const struct machine *machine;
	const char *file;
	struct frames frames;
	ino_t inode;
};

static int open_log(struct log *log, const char *file)
{
	AUTO_FREE char *path = ctl_machine_path(log->machine, file);
	struct stat st;

	memset(&log->frames, 0, sizeof(log->frames));
	log->frames.fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	if (log->frames.fd < 0 || fstat(log->frames.fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		fd_close(&log->frames.fd);
		return -1;
	}
	log->inode = st.st_ino;
	return 0;
}

/* All that is there, to our own standard output and error. */
static void print_log(struct log *log)
{
	struct frame frame;

	do {
		while (frames_next(&log->frames, &frame) == FRAMES_FRAME) {
			int fd = frame.kind == FRAME_STDERR ? STDERR_FILENO : STDOUT_FILENO;

			if (write(fd, frame.data, frame.len) < 0) {
				exit(CTL_EXIT_REFUSED);
			}
		}
	} while (frames_fill(&log->frames));
}

static bool is_replaced(const struct log *log)
{
	AUTO_FREE char *path = ctl_machine_path(log->machine, KEEPER_LOG);
	struct stat st;

	return path != NULL && stat(path, &st) == 0 && st.st_ino != log->inode;
}

/* What there is to say of a machine whose log is at its end. */
static int end_log(const struct ctl_args *args, const struct machine *machine, struct error *err)
{
	struct machine now;
	struct error ignored = {0};
	int status = CTL_EXIT_OK;

	fflush(stdout);
	/* One that is gone meanwhile has nothing to say. */
	if (ctl_machine_open(machine->name, &now, &ignored) == 0) {
		print_fault(&now);
		if (args->run.follow && ctl_machine_state(&now) == MACHINE_RUNNING) {
			status = error_set(err, ERR_BAD_STATE,
					   "Nobody writes the log of %s any more: its keeper was "
					   "killed",
					   machine->name);
		}
	}
	ctl_machine_close(&now);
	return status;
}

static int logs(const struct ctl_args *args, struct machine *machine, struct error *err)
{
	static struct log log;
	bool goes_on = true;

	log.machine = machine;
	if (open_log(&log, KEEPER_LOG_OLD) == 0) {
		print_log(&log);
	}
	fd_close(&log.frames.fd);
	(void)open_log(&log, KEEPER_LOG);
	while (goes_on) {
		/* Asked before the look, so that the last words are seen. */
		goes_on = args->run.follow && ctl_machine_process(machine, "keeper") > 0;
		if (log.frames.fd >= 0) {
			print_log(&log);
		}
		if (log.frames.fd < 0 || is_replaced(&log)) {
			fd_close(&log.frames.fd);
			(void)open_log(&log, KEEPER_LOG);
		} else if (goes_on) {
			poll(NULL, 0, FOLLOW_MS);
		}
	}
	fd_close(&log.frames.fd);
	return end_log(args, machine, err);
}

/* --- stop, kill, wait, rm --- */

/* "TERM", "SIGTERM" or "15"; 0: none of these. */
static int signal_number(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (text[0] >= '0' && text[0] <= '9') {
		return *end == '\0' && number > 0 && number < NSIG ? (int)number : 0;
	}
	text += strncmp(text, "SIG", 3) == 0 ? 3 : 0;
	for (int i = 1; i < NSIG; i++) {
		const char *name = sigabbrev_np(i);

		if (name != NULL && strcmp(name, text) == 0) {
			return i;
		}
	}
	return 0;
}

static int stop(const struct ctl_args *args, struct machine *machine, struct error *err)
{
	const char *name = ctl_machine_text(machine, "stop_signal");
	int number = name != NULL ? signal_number(name) : 0;
	unsigned seconds;
	struct error ignored = {0};

	if (ctl_run_seconds(args->run.timeout, "timeout", STOP_S, &seconds, err) < 0) {
		return -1;
	}
	uint64_t deadline = deadline_in(1000 * (uint64_t)seconds);
	uint64_t answer = deadline_first(deadline, deadline_in(SESSION_ANSWER_MS));
	enum machine_state state = ctl_machine_state(machine);

	/* The command of one that is ready stands still with its guest. */
	if (state <= MACHINE_RUNNING && state != MACHINE_READY &&
	    (session_signal(machine, number > 0 ? number : SIGTERM, answer, &ignored) < 0 ||
	     !ctl_machine_wait(machine, "squib", deadline_left(deadline)))) {
		error_clear(&ignored);
		/* An orderly end, whose status the keeper gets to know, if the guest helps. */
		if (session_signal(machine, SIGKILL, deadline_in(ANSWER_MS), &ignored) == 0) {
			(void)ctl_machine_wait(machine, "squib", END_MS);
		}
	}
	if (state == MACHINE_LOST) {
		print_fault(machine);
	}
	if (state != MACHINE_ENDED) {
		ctl_machine_kill(machine);
	}
	puts(machine->name);
	return CTL_EXIT_OK;
}

static int kill_command(const struct ctl_args *args, struct machine *machine, struct error *err)
{
	const char *name = args->run.signal != NULL ? args->run.signal : "KILL";
	int number = signal_number(name);
	enum machine_state state = ctl_machine_state(machine);

	if (number == 0) {
		return error_set(err, ERR_BAD_REQUEST, "There is no signal '%s'", name);
	}
	if (state > MACHINE_RUNNING || state == MACHINE_READY) {
		return ctl_machine_check_runs(machine, err);
	}
	if (session_signal(machine, number, deadline_in(SESSION_ANSWER_MS), err) < 0) {
		if (number != SIGKILL) {
			return -1;
		}
		error_clear(err);
		ctl_machine_kill(machine);
	}
	puts(machine->name);
	return CTL_EXIT_OK;
}

/* Prints the exit status of the command. */
static int wait_end(const struct ctl_args *args, struct machine *machine, struct error *err)
{
	AUTO_FREE char *name = strdup(machine->name);

	(void)args;
	enum machine_state state = ctl_machine_state(machine);

	if (state <= MACHINE_RUNNING) {
		(void)ctl_machine_wait(machine, "keeper", -1);
		(void)ctl_machine_wait(machine, "squib", -1);
	}
	/* One that ends right now may look lost: the keeper has gone, the record is older. */
	if (state != MACHINE_ENDED) {
		ctl_machine_close(machine);
		if (name == NULL || ctl_machine_open(name, machine, err) < 0) {
			return -1;
		}
	}
	if (ctl_machine_state(machine) != MACHINE_ENDED) {
		return error_set(err, ERR_BAD_STATE,
				 "Nobody knows how %s has ended: its keeper was killed",
				 machine->name);
	}
	print_fault(machine);
	printf("%lld\n", (long long)ctl_machine_number(machine, "exit_status"));
	return CTL_EXIT_OK;
}

static int rm(const struct ctl_args *args, struct machine *machine, struct error *err)
{
	enum machine_state state = ctl_machine_state(machine);

	if (state == MACHINE_DAMAGED && !args->force) {
		return error_set(err, ERR_BAD_STATE,
				 "The record of %s can't be read: squibctl rm --force %s ends and "
				 "removes it",
				 machine->name, machine->name);
	}
	if (state == MACHINE_READY && !args->force) {
		const char *pool = ctl_machine_text(machine, "pool");

		return error_set(err, ERR_BAD_STATE,
				 "The machine %s is ready, in the pool %s: squibctl pool stop ends "
				 "all that nobody has taken, --force this one, for which the pool "
				 "makes another",
				 machine->name, pool != NULL ? pool : "that it is of");
	}
	if (state <= MACHINE_RUNNING && !args->force) {
		return error_set(err, ERR_BAD_STATE,
				 "The machine %s runs: squibctl stop %s first, or --force",
				 machine->name, machine->name);
	}
	/* Its keeper may still have a client that does not read. */
	if (state != MACHINE_ENDED) {
		ctl_machine_kill(machine);
	}
	ctl_event(machine, "removed", CTL_NO_STATUS);
	ctl_machine_remove(machine);
	puts(machine->name);
	return CTL_EXIT_OK;
}

/* --- all --- */

static const struct task tasks[] = {
	{"exec", exec, false}, {"attach", attach, false},     {"logs", logs, false},
	{"stop", stop, false}, {"kill", kill_command, false}, {"wait", wait_end, false},
	{"rm", rm, true},      {"inspect", inspect, false},
};

bool ctl_machines_has(const struct ctl_args *args)
{
	return args->command->output == CTL_PRINT_MACHINE ||
	       (strcmp(args->command->name, "stop") == 0 && args->operands[0] != NULL) ||
	       args->is_of_name;
}

/* What the command is to one machine. Returns the exit status of the process. */
static int run_task(const struct ctl_args *args, const struct task *task, const char *name)
{
	struct machine machine = {0};
	struct error err = {0};
	int status = -1;
	bool is_open = ctl_machine_open(name, &machine, &err) == 0;

	if (!is_open && err.kind == ERR_CORRUPT && task->takes_damaged) {
		error_clear(&err);
		is_open = true;
	}
	if (is_open) {
		status = task->run(args, &machine, &err);
	}
	ctl_machine_close(&machine);
	if (status >= 0) {
		return status;
	}
	(void)ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
	return task->run == exec || task->run == attach ? STATUS_OURS : CTL_EXIT_REFUSED;
}

int ctl_machines_run(const struct ctl_args *args)
{
	const char *name = args->command->name;
	const struct task *task = tasks;
	int status = CTL_EXIT_OK;

	if (strcmp(name, "run") == 0) {
		return ctl_run(args);
	}
	if (strcmp(name, "build") == 0) {
		return ctl_build(args);
	}
	if (strcmp(name, "fork") == 0) {
		return ctl_clone_fork(args);
	}
	if (strcmp(name, "save") == 0) {
		return ctl_clone_save(args->operands[0], args->operands[1], NULL);
	}
	if (strcmp(name, "restore") == 0) {
		return ctl_clone_restore(args);
	}
	if (strcmp(name, "pull") == 0) {
		return ctl_pull(args);
	}
	if (strcmp(name, "images") == 0) {
		return ctl_images_run(args);
	}
	if (strcmp(name, "prune") == 0) {
		return ctl_prune_run(args);
	}
	if (strcmp(name, "ps") == 0) {
		return ps(args);
	}
	if (strcmp(name, "cp") == 0) {
		return ctl_copy(args);
	}
	if (strcmp(name, "events") == 0) {
		return ctl_events_run(args);
	}
	if (strcmp(name, "stats") == 0 || strcmp(name, "top") == 0) {
		return ctl_stats_run(args);
	}
	while (strcmp(task->name, name) != 0) {
		task++;
	}
	for (const char *const *at = args->operands; *at != NULL; at++) {
		int one = run_task(args, task, *at);

		status = one != CTL_EXIT_OK ? one : status;
	}
	return status;
}

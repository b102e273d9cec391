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
	STOP_S = 10,	       /* between the stop signal and the kill */
	KILL_MS = 5000,	       /* between that and the end of squib itself */
	RECORD_MS = 10 * 1000, /* for the keeper to write what it knows */
	FOLLOW_MS = 100,       /* between looks at a log */
	AGE_LEN = 32,
};

struct task {
	const char *name;
	int (*run)(const struct ctl_args *args, struct machine *machine, struct error *err);
};

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

static void print_words(const json_t *words)
{
	const json_t *word;
	size_t i;

	json_array_foreach(words, i, word)
	{
		/* They may be an image's. */
		for (const char *at = json_string_value(word); *at != '\0'; at++) {
			putchar((unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at);
		}
		putchar(i + 1 < json_array_size(words) ? ' ' : '\n');
	}
	if (json_array_size(words) == 0) {
		putchar('\n');
	}
}

static void print_row(const struct machine *machine)
{
	char age[AGE_LEN];
	char state[AGE_LEN];
	enum machine_state is = ctl_machine_state(machine);

	print_age(ctl_machine_number(machine, "created"), age);
	snprintf(state, sizeof(state), "%s", ctl_machine_state_name(is));
	if (is == MACHINE_ENDED) {
		snprintf(state, sizeof(state), "ended (%lld)",
			 (long long)ctl_machine_number(machine, "exit_status"));
	}
	printf("%-20s %-14s %-12s %-24s ", machine->name, state, age,
	       ctl_machine_text(machine, "image"));
	print_words(json_object_get(json_object_get(machine->record, "process"), "Args"));
}

/* The record with what can be seen of it now; a new object. */
static json_t *describe(const struct machine *machine)
{
	json_t *object = json_deep_copy(machine->record);

	json_object_set_new(object, "state",
			    json_string(ctl_machine_state_name(ctl_machine_state(machine))));
	json_object_set_new(object, "directory", json_string(machine->dir));
	return object;
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
	if (!args->run.json) {
		printf("%-20s %-14s %-12s %-24s %s\n", "NAME", "STATE", "AGE", "IMAGE", "COMMAND");
	}
	json_array_foreach(names, i, name)
	{
		struct machine machine;

		error_clear(&err);
		/* One that is removed meanwhile is not there. */
		if (ctl_machine_open(json_string_value(name), &machine, &err) == 0) {
			bool is_live = ctl_machine_state(&machine) <= MACHINE_RUNNING;

			if ((is_live || args->run.all) && args->run.json) {
				json_array_append_new(list, describe(&machine));
			} else if (is_live || args->run.all) {
				print_row(&machine);
			}
		}
		ctl_machine_close(&machine);
	}
	if (args->run.json) {
		(void)json_dumpf(list, stdout, JSON_INDENT(2));
		putchar('\n');
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
	(void)json_dumpf(object, stdout, JSON_INDENT(2));
	putchar('\n');
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
	if (session_open(machine, KEEPER_SOCKET, &fd, err) < 0) {
		return -1;
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
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
	log->frames.fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (log->frames.fd < 0 || fstat(log->frames.fd, &st) < 0) {
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

static int logs(const struct ctl_args *args, struct machine *machine, struct error *err)
{
	static struct log log;
	bool goes_on = true;

	(void)err;
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
	return CTL_EXIT_OK;
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
	char *end = NULL;
	unsigned long seconds =
		args->run.timeout != NULL ? strtoul(args->run.timeout, &end, 10) : STOP_S;
	struct error ignored = {0};

	if (seconds > INT32_MAX / 1000 ||
	    (end != NULL && (*end != '\0' || end == args->run.timeout))) {
		return error_set(err, ERR_BAD_REQUEST, "--timeout is a number of seconds");
	}
	if (ctl_machine_state(machine) > MACHINE_RUNNING) {
		return CTL_EXIT_OK;
	}
	if (session_signal(machine, number > 0 ? number : SIGTERM, &ignored) < 0 ||
	    !ctl_machine_wait(machine, "squib", (int)seconds * 1000)) {
		error_clear(&ignored);
		if (session_signal(machine, SIGKILL, &ignored) < 0 ||
		    !ctl_machine_wait(machine, "squib", KILL_MS)) {
			ctl_machine_end(machine, "squib");
		}
	}
	(void)ctl_machine_wait(machine, "keeper", RECORD_MS);
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
	if (state > MACHINE_RUNNING) {
		return error_set(err, ERR_BAD_STATE, "The machine %s does not run: it is %s",
				 machine->name, ctl_machine_state_name(state));
	}
	if (session_signal(machine, number, err) < 0) {
		if (number != SIGKILL) {
			return -1;
		}
		error_clear(err);
		ctl_machine_end(machine, "squib");
	}
	puts(machine->name);
	return CTL_EXIT_OK;
}

/* Prints the exit status of the command. */
static int wait_end(const struct ctl_args *args, struct machine *machine, struct error *err)
{
	AUTO_FREE char *name = strdup(machine->name);

	(void)args;
	if (ctl_machine_state(machine) != MACHINE_ENDED) {
		(void)ctl_machine_wait(machine, "keeper", -1);
		(void)ctl_machine_wait(machine, "squib", -1);
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
	printf("%lld\n", (long long)ctl_machine_number(machine, "exit_status"));
	return CTL_EXIT_OK;
}

static int rm(const struct ctl_args *args, struct machine *machine, struct error *err)
{
	if (ctl_machine_state(machine) <= MACHINE_RUNNING) {
		if (!args->force) {
			return error_set(err, ERR_BAD_STATE,
					 "The machine %s runs: squibctl stop %s first, or --force",
					 machine->name, machine->name);
		}
		ctl_machine_end(machine, "squib");
		(void)ctl_machine_wait(machine, "keeper", RECORD_MS);
	}
	ctl_event(machine, "removed", CTL_NO_STATUS);
	ctl_machine_remove(machine);
	puts(machine->name);
	return CTL_EXIT_OK;
}

/* --- all --- */

static const struct task tasks[] = {
	{"exec", exec},		{"attach", attach}, {"logs", logs}, {"stop", stop},
	{"kill", kill_command}, {"wait", wait_end}, {"rm", rm},	    {"inspect", inspect},
};

bool ctl_machines_has(const struct ctl_args *args)
{
	return args->command->output == CTL_PRINT_MACHINE ||
	       (strcmp(args->command->name, "stop") == 0 && args->operands[0] != NULL);
}

int ctl_machines_run(const struct ctl_args *args)
{
	const char *name = args->command->name;
	struct machine machine = {0};
	struct error err = {0};
	int status = -1;

	if (strcmp(name, "run") == 0) {
		return ctl_run(args);
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
	if (ctl_machine_open(args->operands[0], &machine, &err) == 0) {
		for (size_t i = 0; i < ARRAY_COUNT(tasks); i++) {
			if (strcmp(tasks[i].name, name) == 0) {
				status = tasks[i].run(args, &machine, &err);
			}
		}
	}
	ctl_machine_close(&machine);
	if (status >= 0) {
		return status;
	}
	(void)ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
	return strcmp(name, "exec") == 0 || strcmp(name, "attach") == 0 ? STATUS_OURS
									: CTL_EXIT_REFUSED;
}

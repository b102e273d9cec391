/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a pool.
 *
 * Theory of operation. Machines are made one by one: a process, whose record is there before its
 * program is executed; its API; a load that leaves the machine paused; then the record's name says
 * that it is ready. Who takes one renames its record, which wakes the keeper. If the keeper is
 * killed in between, each process has a record: it is seen by `status`, ended by `stop` and by the
 * next `start`. Numbers are never used twice in a directory, nor is what is named by them.
 *
 * The snapshot is opened once, and handed on by descriptor: a squib in a jail has no name for it,
 * and all machines share the pages of the memory's file. Machines with names: ctl_pool_named.c.
 */
#include "tools/squibctl/ctl_pool_keep.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/squibctl/ctl_http.h"
#include "tools/squibctl/ctl_overrides.h"
#include "tools/squibctl/ctl_pool_named.h"
#include "tools/squibctl/ctl_process.h"
#include "tools/squibctl/ctl_request.h"
#include "tools/squibctl/ctl_snapshot.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"

enum {
	LISTEN_MS = 10 * 1000, /* until the API of a process answers */
	LOOK_NS = 200 * 1000,  /* between tries to connect */
	TURN_MS = 1000,	       /* between looks at machines that may have ended */
	WORDS_MAX = 128,
	SHOWN_MAX = 2048, /* bytes of what a process printed that has failed */
};

struct keeper {
	const struct ctl_args *args;
	const struct pool_dir *dir;
	struct machine saved;	 /* record NULL: its machines have no names */
	struct ctl_fds snapshot; /* count 0: squibs are made that have no machine */
	struct pool_list seen;	 /* all at the last look */
	int lock;
	int watch; /* an inotify of the directory */
	int end;   /* a signalfd: readable once there is a signal to end */
};

static bool is_ending(const struct keeper *keeper)
{
	struct pollfd end = {.fd = keeper->end, .events = POLLIN};

	return poll(&end, 1, 0) > 0;
}

/* A line on stdout, unless nobody reads that: a pipe that is full would hold up the pool. */
static PRINTF(1, 2) void say(const char *format, ...)
{
	struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
	char line[PIPE_BUF]; /* which a pipe that is writable takes whole */
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (poll(&out, 1, 0) > 0) {
		(void)!write(STDOUT_FILENO, line, strlen(line));
	}
}

/* --- A process --- */

/* In the process: the words of its command line; it is never freed. */
static char **command(const struct keeper *keeper, const struct pool_machine *machine)
{
	static char path[PATH_MAX];
	const char *name = keeper->args->name != NULL ? keeper->args->name : "pool";
	const char *const own[] = {process_own_squib(path), "--id", "", "--api-sock",
				   machine->socket,	    NULL};
	bool is_own = keeper->args->program == NULL;
	const char *const *words = is_own ? own : keeper->args->program;
	char **argv = calloc(WORDS_MAX + 1, sizeof(*argv));

	for (unsigned i = 0; argv != NULL && i < WORDS_MAX && words[i] != NULL; i++) {
		argv[i] = ctl_expand(words[i], is_own ? 0 : machine->number);
	}
	if (argv != NULL && is_own && asprintf(&argv[2], "%s-%lu", name, machine->number) < 0) {
		argv[2] = NULL;
	}
	return argv;
}

static _Noreturn void be_process(const struct keeper *keeper, struct pool_machine *machine)
{
	sigset_t none;
	struct error err = {0};
	int in = open("/dev/null", O_RDONLY);
	int out = pool_open_output(keeper->dir, machine->number);

	if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) {
		_exit(CTL_EXIT_USAGE);
	}
	close(in);
	close(out);
	/* A terminal's Ctrl-C is for the pool; those that were taken live on. */
	setsid();
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	machine->pid = getpid();
	machine->born = process_born(machine->pid);
	if (pool_write(keeper->dir, machine, &err) < 0) {
		dprintf(STDERR_FILENO, "squibctl: %s\n", err.msg);
		_exit(CTL_EXIT_USAGE);
	}
	char **argv = command(keeper, machine);

	if (argv != NULL && argv[0] != NULL) {
		execvp(argv[0], argv);
	}
	dprintf(STDERR_FILENO, "squibctl: Cannot execute %s: %s\n",
		argv != NULL && argv[0] != NULL ? argv[0] : "a program", strerror(errno));
	_exit(CTL_EXIT_USAGE);
}

/* Whether the process has failed: by its end, but for one that says that all is well. */
static bool has_failed(pid_t pid)
{
	int status;

	return waitpid(pid, &status, WNOHANG) == pid &&
	       (!WIFEXITED(status) || WEXITSTATUS(status) != 0);
}

/* Connects as soon as something listens; -1: it has ended, or takes too long. */
static int await_api(const struct keeper *keeper, const struct pool_machine *machine)
{
	const struct timespec look = {.tv_nsec = LOOK_NS};
	uint64_t deadline = clock_host.now_ns(CLOCK_MONOTONIC) + LISTEN_MS * NS_PER_MS;
	struct error err = {0};
	int fd = -1;

	while (ctl_http_connect(machine->socket, &fd, &err) < 0) {
		error_clear(&err);
		if (is_ending(keeper) || has_failed(machine->pid) ||
		    clock_host.now_ns(CLOCK_MONOTONIC) > deadline) {
			return -1;
		}
		nanosleep(&look, NULL);
	}
	return fd;
}

/* --- A machine --- */

static enum ctl_exit fill(const struct keeper *keeper, const struct pool_machine *machine, int fd)
{
	struct ctl_reply reply = {0};

	if (keeper->snapshot.count > 0) {
		return ctl_load(fd,
				ctl_load_body(keeper->args, CTL_SENT_STATE, CTL_SENT_MEMORY,
					      machine->number),
				&keeper->snapshot, keeper->end);
	}
	enum ctl_exit code = ctl_request(fd, "GET", "/", NULL, &reply);

	free(reply.body);
	return code;
}

/* From the process to a machine that is ready. */
static enum ctl_exit bring_up(const struct keeper *keeper, struct pool_machine *machine)
{
	AUTO_FD fd = await_api(keeper, machine);
	struct error err = {0};

	if (fd < 0 && is_ending(keeper)) {
		return CTL_EXIT_NO_CONNECTION;
	}
	if (fd < 0) {
		return ctl_fail(CTL_EXIT_NO_CONNECTION,
				"Its program has failed, or does not listen", NULL);
	}
	enum ctl_exit code = fill(keeper, machine, fd);

	if (code != CTL_EXIT_OK) {
		return code;
	}
	machine->pid = process_peer(fd);
	machine->born = process_born(machine->pid);
	if (machine->born == 0) {
		return ctl_fail(CTL_EXIT_NO_CONNECTION,
				"The process behind its API has ended, or is not seen from here",
				NULL);
	}
	if (pool_write(keeper->dir, machine, &err) < 0) {
		return ctl_fail(CTL_EXIT_USAGE, err.msg, NULL);
	}
	return pool_move(keeper->dir, machine, POOL_READY)
		       ? CTL_EXIT_OK
		       : ctl_fail(CTL_EXIT_USAGE, "Its record is gone", NULL);
}

/* `pattern` with the number in it, from the root directory on; on the heap. */
static char *absolute(const char *pattern, unsigned long number)
{
	AUTO_FREE char *text = ctl_expand(pattern, number);
	char directory[PATH_MAX];
	char *path = NULL;

	if (text == NULL || text[0] == '/' || getcwd(directory, sizeof(directory)) == NULL) {
		path = text;
		text = NULL;
		return path;
	}
	return asprintf(&path, "%s/%s", directory, text) < 0 ? NULL : path;
}

static int name_machine(const struct keeper *keeper, struct pool_machine *machine,
			struct error *err)
{
	const struct ctl_args *args = keeper->args;

	if (pool_next(keeper->dir, &machine->number, err) < 0) {
		return -1;
	}
	if (args->listens != NULL) {
		machine->socket = absolute(args->listens, machine->number);
	} else if (asprintf(&machine->socket, "%s/%lu.sock", keeper->dir->path, machine->number) <
		   0) {
		machine->socket = NULL;
	}
	/* What another program starts may have another root directory. */
	machine->vsock = args->vsock != NULL && args->program == NULL
				 ? absolute(args->vsock, machine->number)
				 : strdup("");
	return machine->socket != NULL && machine->vsock != NULL
		       ? 0
		       : error_set(err, ERR_HOST, "There is no memory for a machine");
}

/* The end of what a process printed, from the begin of a line on. */
static void show_output(const struct pool_dir *dir, unsigned long number)
{
	char text[SHOWN_MAX + 1];
	AUTO_FD fd = pool_open_output(dir, number);
	off_t len = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	off_t start = len > SHOWN_MAX ? len - SHOWN_MAX : 0;
	ssize_t got = len > 0 ? pread(fd, text, SHOWN_MAX, start) : 0;

	text[got > 0 ? got : 0] = '\0';
	const char *line = start > 0 ? strchr(text, '\n') : NULL;

	fprintf(stderr, "squibctl: it printed %s\n%s", got > 0 ? "at last:" : "nothing",
		line != NULL ? line + 1 : text);
}

/* Of a machine that can't be made nothing is left. What the API has refused is told already. */
static void give_up(const struct keeper *keeper, struct pool_machine *machine, enum ctl_exit code)
{
	pool_end(keeper->dir, machine);
	if (!is_ending(keeper)) {
		fprintf(stderr, "squibctl: machine %lu was not made\n", machine->number);
	}
	if (!is_ending(keeper) && code != CTL_EXIT_REFUSED) {
		show_output(keeper->dir, machine->number);
	}
	pool_forget(keeper->dir, machine);
	pool_drop_output(keeper->dir, machine->number);
	/* What another program has made may be called after the number for ever. */
	if (keeper->args->program == NULL) {
		pool_give_back(keeper->dir, machine->number);
	}
}

static enum ctl_exit make_nameless(const struct keeper *keeper, struct pool_machine *machine)
{
	struct error err = {0};
	enum ctl_exit code = CTL_EXIT_USAGE;

	if (name_machine(keeper, machine, &err) < 0) {
		(void)ctl_fail(code, err.msg, NULL);
	} else if ((machine->pid = fork()) == 0) {
		be_process(keeper, machine);
	} else if (machine->pid > 0) {
		machine->born = process_born(machine->pid);
		code = bring_up(keeper, machine);
		if (code != CTL_EXIT_OK) {
			give_up(keeper, machine, code);
		}
	} else {
		(void)ctl_fail(code, strerror(errno), "a machine could not be made");
	}
	return code;
}

/* One more, which is seen from then on. */
static enum ctl_exit make(struct keeper *keeper)
{
	struct pool_machine machine = {.state = POOL_MAKING};
	enum ctl_exit code = keeper->saved.record != NULL
				     ? pool_named_make(keeper->args, keeper->dir, &keeper->saved,
						       keeper->end, &machine)
				     : make_nameless(keeper, &machine);

	if (code != CTL_EXIT_OK || pool_list_add(&keeper->seen, &machine) < 0) {
		pool_free(&machine);
	}
	return code;
}

/* --- The pool --- */

void pool_sweep(const struct pool_dir *dir)
{
	struct pool_list list;
	struct error err = {0};

	if (pool_list(dir, &list, &err) < 0) {
		return;
	}
	for (size_t i = 0; i < list.count; i++) {
		struct pool_machine *machine = &list.items[i];

		/* Renamed first, so that nobody takes it meanwhile. */
		if (machine->state == POOL_TAKEN || !pool_move(dir, machine, POOL_ENDING)) {
			continue;
		}
		pool_end(dir, machine);
		pool_forget(dir, machine);
		pool_drop_output(dir, machine->number);
	}
	pool_list_free(&list);
	pool_named_drop(dir);
}

static const struct pool_machine *find(const struct pool_list *list, unsigned long number)
{
	size_t from = 0;
	size_t to = list->count;

	while (from < to) {
		size_t at = from + (to - from) / 2;

		if (list->items[at].number < number) {
			from = at + 1;
		} else {
			to = at;
		}
	}
	return from < list->count && list->items[from].number == number ? &list->items[from] : NULL;
}

/* Of one that was ready, and whose record somebody has removed. false: it lives on. */
static bool lose(const struct pool_machine *machine)
{
	bool is_live = pool_is_live(machine);

	if (pool_has_name(machine)) {
		return pool_named_end(machine) || !is_live;
	}
	if (is_live) {
		fprintf(stderr, "squibctl: nobody knows who has process %d, of %s\n", machine->pid,
			machine->socket);
	}
	return !is_live;
}

/* What has happened to those that were ready at the last look. */
static void print_changes(const struct keeper *keeper, const struct pool_list *now)
{
	for (size_t i = 0; i < keeper->seen.count; i++) {
		const struct pool_machine *was = &keeper->seen.items[i];
		const struct pool_machine *is = find(now, was->number);

		if (was->state != POOL_READY) {
			continue;
		}
		const char *name = pool_has_name(was) ? was->name : was->socket;
		bool is_lost = is == NULL && !pool_is_recorded(keeper->dir, was);
		bool is_taken = !is_lost && (is == NULL || is->state == POOL_TAKEN);

		if (is_taken) {
			say("taken: %s\n", name);
		} else if (is_lost ? lose(was) : !is->was_live) {
			say("ended: %s, which nobody had taken\n", name);
		}
	}
}

/* How many are ready. Forgets those that have ended by themselves. */
static unsigned long look(struct keeper *keeper)
{
	struct pool_list list;
	struct error err = {0};
	unsigned long ready = 0;

	while (waitpid(-1, NULL, WNOHANG) > 0) {
	}
	if (pool_list(keeper->dir, &list, &err) < 0) {
		return 0;
	}
	print_changes(keeper, &list);
	for (size_t i = 0; i < list.count; i++) {
		struct pool_machine *machine = &list.items[i];

		if (machine->was_live) {
			ready += machine->state == POOL_READY;
		} else if (machine->state == POOL_TAKEN ||
			   (machine->state == POOL_READY &&
			    pool_move(keeper->dir, machine, POOL_ENDING))) {
			if (machine->state == POOL_ENDING) {
				pool_end(keeper->dir, machine);
			}
			pool_forget(keeper->dir, machine);
		}
	}
	pool_list_free(&keeper->seen);
	keeper->seen = list;
	return ready;
}

/* Until a machine was taken, one may have ended, or all is to end. */
static void await_change(const struct keeper *keeper)
{
	struct pollfd changes[] = {{.fd = keeper->watch, .events = POLLIN},
				   {.fd = keeper->end, .events = POLLIN}};

	(void)!poll(changes, ARRAY_COUNT(changes), TURN_MS);
	pool_watch_clear(keeper->watch);
}

/* What is ready, where that is less than a machine. */
static const char *kind(const struct keeper *keeper)
{
	return keeper->saved.record != NULL || keeper->snapshot.count > 0 ||
			       keeper->args->program != NULL
		       ? ""
		       : " (squibs without a machine)";
}

/* Somebody has removed the pool's files, or renamed its directory: paths in it are another's. */
static enum ctl_exit give_all_up(const struct keeper *keeper)
{
	for (size_t i = 0; i < keeper->seen.count; i++) {
		struct pool_machine *machine = &keeper->seen.items[i];

		if (machine->state != POOL_READY) {
			continue;
		}
		if (pool_move(keeper->dir, machine, POOL_ENDING)) {
			pool_end(keeper->dir, machine);
			pool_forget(keeper->dir, machine);
		} else if (!pool_is_recorded(keeper->dir, machine)) {
			(void)lose(machine);
		}
	}
	return ctl_fail(CTL_EXIT_REFUSED,
			"Somebody has removed the pool's files while it ran, or renamed its "
			"directory: squibctl pool stop ends one",
			NULL);
}

static enum ctl_exit keep(struct keeper *keeper, unsigned long want)
{
	struct pollfd end = {.fd = keeper->end, .events = POLLIN};
	unsigned long made = 0;
	unsigned long told = 0; /* machines that were made when that was said last */

	while (!is_ending(keeper)) {
		if (!pool_is_kept(keeper->lock) || !pool_has_path(keeper->dir)) {
			return give_all_up(keeper);
		}
		if (look(keeper) >= want) {
			if (made > told) {
				say("ready: %lu%s in %s\n", want, kind(keeper), keeper->dir->path);
				told = made;
			}
			await_change(keeper);
			continue;
		}
		enum ctl_exit code = make(keeper);

		if (code == CTL_EXIT_OK) {
			made++;
		} else if (made == 0 && !is_ending(keeper)) {
			return code;
		} else {
			(void)!poll(&end, 1, TURN_MS);
		}
	}
	return CTL_EXIT_OK;
}

/* --- The snapshot --- */

/* Of the microVM at --socket, which goes on. */
static enum ctl_exit take_image(const struct ctl_args *args, struct ctl_fds *fds)
{
	AUTO_FD parent = -1;
	struct error err = {0};

	if (ctl_http_connect(args->socket, &parent, &err) < 0) {
		return ctl_fail(CTL_EXIT_NO_CONNECTION, err.msg, NULL);
	}
	fds->items[0] = memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	fds->items[1] = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	fds->count = 2;
	if (fds->items[0] < 0 || fds->items[1] < 0) {
		return ctl_fail(CTL_EXIT_USAGE, "Cannot make a memfd", NULL);
	}
	return ctl_hand_on(parent, fds);
}

static enum ctl_exit get_snapshot(struct keeper *keeper)
{
	const struct ctl_args *args = keeper->args;

	if (args->of != NULL) {
		return pool_named_open(args, keeper->dir, &keeper->saved);
	}
	if (args->is_live) {
		return take_image(args, &keeper->snapshot);
	}
	return args->state != NULL ? ctl_open_snapshot(args->state, args->memory, &keeper->snapshot)
				   : CTL_EXIT_OK;
}

static int prepare(struct keeper *keeper, struct error *err)
{
	static const int ends[] = {SIGTERM, SIGINT, SIGHUP};
	sigset_t signals;

	sigemptyset(&signals);
	for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
		sigaddset(&signals, ends[i]);
	}
	sigprocmask(SIG_BLOCK, &signals, NULL);
	/* Nobody may read any more what is printed. */
	signal(SIGPIPE, SIG_IGN);
	keeper->end = signalfd(-1, &signals, SFD_CLOEXEC);
	if (keeper->end < 0) {
		return error_sys(err, "Cannot watch for signals");
	}
	return pool_watch(keeper->dir, &keeper->watch, err);
}

enum ctl_exit pool_keep(const struct ctl_args *args, const struct pool_dir *dir, unsigned long want)
{
	struct keeper keeper = {.args = args, .dir = dir, .snapshot = {.items = {-1, -1}}};
	struct error err = {0};
	enum ctl_exit code;

	keeper.lock = -1;
	keeper.watch = -1;
	keeper.end = -1;
	if (pool_lock(dir, &keeper.lock, &err) < 0 || prepare(&keeper, &err) < 0) {
		code = ctl_fail(CTL_EXIT_USAGE, err.msg, NULL);
	} else {
		/* What one that was killed has left. */
		pool_sweep(dir);
		code = get_snapshot(&keeper);
		if (code == CTL_EXIT_OK) {
			code = keep(&keeper, want);
		}
		if (pool_is_kept(keeper.lock)) {
			pool_sweep(dir);
		}
	}
	/* A lock that was removed may be another one's by now. */
	if (keeper.lock >= 0 && !pool_is_kept(keeper.lock)) {
		fd_close(&keeper.lock);
	}
	pool_unlock(dir, &keeper.lock);
	pool_list_free(&keeper.seen);
	ctl_machine_close(&keeper.saved);
	ctl_close_fds(&keeper.snapshot);
	fd_close(&keeper.watch);
	fd_close(&keeper.end);
	return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines of a pool that have names.
 *
 * Theory of operation. Such a machine has two records: its own, in its directory, which the process
 * that keeps it writes, and the pool's, which says whose it is and has its name and instance. The
 * latter is there before the machine is, so that who finds it knows what was being made by the name
 * when the pool's keeper was killed. The keeper loads the snapshot and waits, with all that the
 * machine is; who takes it connects to the keeper, which lets the guest go on and has its command
 * taken over. So between pool and machine there is nothing to hand over but the name.
 */
#include "tools/squibctl/ctl_pool_named.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/squibctl/ctl_clone.h"
#include "tools/squibctl/ctl_deadline.h"
#include "tools/squibctl/ctl_process.h"
#include "tools/squibctl/ctl_request.h"
#include "tools/squibctl/ctl_session.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/fd.h"

enum {
	LOAD_MS = 60 * 1000,
	BEGIN_MS = 15 * 1000, /* for a process that keeps a machine to be in its record */
	LOOK_MS = 20,
	ANSWER_MS = 15 * 1000, /* of a guest that is let go on */
};

/* A name that nobody gives to a directory of his own: it goes with the pool. */
static const char saved_name[] = ".squibctl-pool";

/* In the directory that is kept, whatever has its path by now. */
void pool_named_drop(const struct pool_dir *dir)
{
	AUTO_FREE char *path = ctl_text("/proc/self/fd/%d/%s", dir->fd, saved_name);

	if (path != NULL) {
		ctl_remove_tree(path);
	}
}

bool pool_named_saves(const struct pool_dir *dir)
{
	AUTO_FREE char *path = ctl_text("%s/machine.json", saved_name);

	return path != NULL && faccessat(dir->fd, saved_name, F_OK, 0) == 0 &&
	       faccessat(dir->fd, path, F_OK, 0) < 0;
}

/* Whether a word that is taken for a machine's name is that of a directory here alone. */
static bool is_only_directory(const char *word)
{
	struct machine machine = {0};
	struct error err = {0};
	struct stat st;
	bool is_machine = ctl_machine_open(word, &machine, &err) == 0 || err.kind == ERR_CORRUPT;

	ctl_machine_close(&machine);
	return !is_machine && stat(word, &st) == 0 && S_ISDIR(st.st_mode);
}

enum ctl_exit pool_named_open(const struct ctl_args *args, const struct pool_dir *dir,
			      struct machine *saved)
{
	AUTO_FREE char *own = ctl_text("%s/%s", dir->path, saved_name);
	bool is_name = strchr(args->of, '/') == NULL;
	struct error err = {0};

	if (own == NULL) {
		return ctl_fail(CTL_EXIT_USAGE, "There is no memory for a path", NULL);
	}
	if (is_name) {
		if (is_only_directory(args->of)) {
			fprintf(stderr,
				"squibctl: There is no machine with the name %s; for the directory "
				"say --of ./%s\n",
				args->of, args->of);
			return CTL_EXIT_REFUSED;
		}
		int code = ctl_clone_save(args->of, own, args);

		if (code != CTL_EXIT_OK) {
			return (enum ctl_exit)code;
		}
	}
	return ctl_clone_open(args, is_name ? own : args->of, saved, &err) == 0
		       ? CTL_EXIT_OK
		       : ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
}

/* --- making --- */

static int check_texts(const struct pool_machine *record, struct error *err)
{
	return record->socket != NULL && record->vsock != NULL && record->name != NULL &&
			       record->instance != NULL
		       ? 0
		       : error_set(err, ERR_HOST, "There is no memory for a machine");
}

/* The pool's record of a machine that this process begins to make. */
static int announce(const struct pool_dir *dir, struct pool_machine *record, const char *prefix,
		    struct error *err)
{
	pool_free(record);
	*record = (struct pool_machine){
		.state = POOL_MAKING, .pid = getpid(), .born = process_born(getpid())};
	if (pool_next(dir, &record->number, err) < 0) {
		return -1;
	}
	record->socket = strdup("");
	record->vsock = strdup("");
	record->name = ctl_text("%s-%lu", prefix, record->number);
	record->instance = strdup("");
	return check_texts(record, err) < 0 ? -1 : pool_write(dir, record, err);
}

/* A machine with the next number whose name is free. */
static int make_next(const struct ctl_args *args, const struct pool_dir *dir,
		     const struct machine *saved, struct pool_machine *record,
		     struct machine *machine, struct error *err)
{
	const char *prefix = args->name != NULL ? args->name : saved->name;

	do {
		error_clear(err);
		ctl_machine_close(machine);
		if (announce(dir, record, prefix, err) < 0) {
			return -1;
		}
		if (ctl_clone_make(saved, record->name, machine, err) == 0) {
			return 0;
		}
		pool_forget(dir, record);
	} while (err->kind == ERR_BAD_STATE);
	return -1;
}

/* The pool's record of it, once it is there. */
static int fill(struct pool_machine *record, const struct machine *machine, struct error *err)
{
	const char *instance = ctl_machine_text(machine, "instance");

	free(record->socket);
	free(record->instance);
	record->socket = ctl_machine_path(machine, "api.sock");
	record->instance = instance != NULL ? strdup(instance) : NULL;
	return check_texts(record, err);
}

/* What pool_named_make was given. */
struct maker {
	const struct ctl_args *args;
	const struct pool_dir *dir;
	const struct machine *saved;
	int end;
};

static bool is_ending(const struct maker *maker)
{
	struct pollfd end = {.fd = maker->end, .events = POLLIN};

	return poll(&end, 1, 0) > 0;
}

/* Whether the machine's record still names this process as its keeper, and so no squib. */
static bool is_ours(const struct pool_machine *record)
{
	struct machine found = {0};
	struct error ignored = {0};
	bool is_own = pool_find(record, &found, &ignored) == 0 &&
		      ctl_machine_is_process(&found, "keeper", getpid(), process_born(getpid()));

	ctl_machine_close(&found);
	return is_own;
}

/* A keeper can be ended once it has recorded itself, with its squib, or has gone: `client` says. */
static void await_keeper(const struct pool_machine *record, int client)
{
	struct pollfd gone = {.fd = client};
	uint64_t deadline = deadline_in(BEGIN_MS);

	while (is_ours(record) && deadline_left(deadline) > 0 && poll(&gone, 1, LOOK_MS) == 0) {
	}
}

/* Until its process is that of squib, and it waits. */
static int load(const struct maker *maker, struct machine *machine, struct pool_machine *record,
		struct error *err)
{
	const struct session_options options = {.only_starts = true,
						.no_signals = true,
						.end = maker->end,
						.deadline = deadline_in(LOAD_MS)};
	struct machine loaded = {0};
	int client = -1;
	const struct ctl_clone_way way = {.pool = maker->dir->path, .number = record->number};

	if (ctl_clone_load(maker->args, maker->saved, machine, way, &client, err) < 0) {
		fd_close(&client);
		return -1;
	}
	AUTO_FD also = fcntl(client, F_DUPFD_CLOEXEC, 0);

	if (ctl_clone_await(machine, &client, &options, err) < 0) {
		await_keeper(record, also);
		return -1;
	}
	if (pool_find(record, &loaded, err) < 0) {
		ctl_machine_close(&loaded);
		return -1;
	}
	record->pid = ctl_machine_process(&loaded, "squib");
	record->born = process_born(record->pid);
	record->keeper = ctl_machine_process(&loaded, "keeper");
	record->keeper_born = process_born(record->keeper);
	ctl_machine_close(&loaded);
	return record->born != 0
		       ? 0
		       : error_set(err, ERR_BAD_STATE, "The machine %s has ended", record->name);
}

/* From its record here to a machine that is ready. What fails leaves nothing. */
static int bring_up(const struct maker *maker, struct machine *machine, struct pool_machine *record,
		    struct error *err)
{
	const struct pool_dir *dir = maker->dir;

	if (fill(record, machine, err) < 0 || pool_write(dir, record, err) < 0 ||
	    is_ending(maker)) {
		ctl_machine_remove(machine);
		pool_forget(dir, record);
		return -1;
	}
	if (load(maker, machine, record, err) == 0 && pool_write(dir, record, err) == 0 &&
	    pool_move(dir, record, POOL_READY)) {
		return 0;
	}
	pool_end(dir, record);
	pool_forget(dir, record);
	return err->kind != ERR_NONE ? -1 : error_set(err, ERR_BAD_STATE, "Its record is gone");
}

enum ctl_exit pool_named_make(const struct ctl_args *args, const struct pool_dir *dir,
			      const struct machine *saved, int end, struct pool_machine *record)
{
	/* Until there is a squib the process is ours, which makes it. */
	struct machine machine = {0};
	struct error err = {0};
	const struct maker maker = {args, dir, saved, end};
	int result = make_next(args, dir, saved, record, &machine, &err);

	if (result == 0) {
		result = bring_up(&maker, &machine, record, &err);
	}
	if (result < 0 && record->number > 0) {
		pool_give_back(dir, record->number);
	}
	if (result < 0 && !is_ending(&maker)) {
		fprintf(stderr, "squibctl: machine %lu was not made\n", record->number);
		(void)ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
	}
	ctl_machine_close(&machine);
	return result == 0 ? CTL_EXIT_OK : CTL_EXIT_REFUSED;
}

bool pool_named_end(const struct pool_machine *machine)
{
	struct machine found = {0};
	struct error ignored = {0};
	bool is_ready = pool_find(machine, &found, &ignored) == 0 &&
			ctl_machine_state(&found) == MACHINE_READY;

	if (is_ready) {
		ctl_machine_kill(&found);
		ctl_machine_remove(&found);
	}
	ctl_machine_close(&found);
	return is_ready;
}

/* --- taking --- */

enum ctl_exit pool_named_take(const struct pool_machine *machine)
{
	/* Whoever is killed meanwhile has taken it. */
	const struct session_options options = {
		.only_starts = true, .no_signals = true, .deadline = deadline_in(ANSWER_MS)};
	struct machine found = {0};
	struct error err = {0};
	bool has_ended = process_born(machine->pid) != machine->born;
	int client = -1;
	enum ctl_exit code = CTL_EXIT_OK;

	if (pool_find(machine, &found, &err) == 0 && session_keeper(&found, &client, &err) == 0 &&
	    ctl_clone_await(&found, &client, &options, &err) == 0) {
		puts(found.name);
	} else {
		code = has_ended ? CTL_EXIT_NO_CONNECTION
				 : ctl_fail(CTL_EXIT_NO_CONNECTION, err.msg, NULL);
	}
	ctl_machine_close(&found);
	return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines that have names.
 *
 * Theory of operation. A machine's directory is made under another name, with a first record, and
 * renamed: that gives the name to one of those who want it, and nobody sees a machine without a
 * record. A record is replaced by a rename, so that it is read whole. Its processes have a pid and
 * the time when they began, which together mean one process for as long as the host runs: what is
 * recorded of one that has ended is never taken for another.
 */
#include "tools/squibctl/ctl_machine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/squibctl/ctl_http.h"
#include "tools/squibctl/ctl_keeper.h"
#include "tools/squibctl/ctl_process.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/fd.h"

enum {
	RECORD_MAX = 1 << 20,
	TRIES = 16,
	RANDOM_LEN = 4,
	INSTANCE_LEN = 8,
	CONNECT_S = 1,
	KEEPER_MS = 10 * 1000, /* for the keeper to write what it knows */
};

static const char record_file[] = "machine.json";

/* --- the directory of all --- */

/* On the heap; NULL with an error. */
static char *base_path(struct error *err)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	bool is_set = runtime != NULL && runtime[0] != '\0';

	/* One that is made by us would be gone, or another user's, at the next login. */
	if (is_set && (runtime[0] != '/' || access(runtime, F_OK) < 0)) {
		(void)error_set(err, ERR_BAD_REQUEST,
				"XDG_RUNTIME_DIR is '%s', which is no absolute path of a directory "
				"that is there: unset it, or set it to one of yours",
				runtime);
		return NULL;
	}
	char *path = is_set ? ctl_text("%s/squib", runtime) : ctl_text("/tmp/squib-%u", geteuid());

	if (path == NULL) {
		(void)error_set(err, ERR_HOST, "There is no memory for a path");
	}
	return path;
}

/* Records name processes to end and sockets to trust. */
static bool is_ours_alone(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	       (st.st_mode & (S_IRWXG | S_IRWXO)) == 0;
}

static int open_base(char **base, struct error *err)
{
	*base = base_path(err);
	if (*base == NULL || ctl_make_dir(*base, err) < 0) {
		return -1;
	}
	return is_ours_alone(*base)
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "%s is not a directory of user %u alone: set XDG_RUNTIME_DIR to "
				   "one",
				   *base, geteuid());
}

/* Of a machine: it is squib's --id, and the guest's host name. */
static bool is_name(const char *name)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	static const char others[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
	size_t len = strlen(name);

	return len > 0 && len <= MACHINE_NAME_MAX && strchr(letters, name[0]) != NULL &&
	       strspn(name, others) == len;
}

static int check_name(const char *name, struct error *err)
{
	return is_name(name) ? 0
			     : error_set(err, ERR_BAD_REQUEST,
					 "'%s' is no name of a machine: up to %d letters, digits "
					 "and hyphens, the first no hyphen",
					 name, MACHINE_NAME_MAX);
}

/* --- a machine --- */

/* Tells it from others that have its name before and after it. */
static void set_instance(const struct machine *machine)
{
	unsigned char bytes[INSTANCE_LEN];
	char text[2 * INSTANCE_LEN + 1] = "";

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) {
		return;
	}
	for (size_t i = 0; i < sizeof(bytes); i++) {
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	}
	json_object_set_new(machine->record, "instance", json_string(text));
}

/* The record that a machine begins with, in the directory `draft`. */
static int write_first(const struct machine *machine, const char *draft, struct error *err)
{
	struct machine draft_machine = *machine;
	AUTO_FREE char *dir = strdup(draft);

	draft_machine.dir = dir;
	json_object_set_new(machine->record, "name", json_string(machine->name));
	json_object_set_new(machine->record, "created", json_integer(time(NULL)));
	set_instance(machine);
	/* Until the keeper writes its own. */
	ctl_machine_set_process(machine, "keeper", getpid());
	return dir != NULL ? ctl_machine_save(&draft_machine, err)
			   : error_set(err, ERR_HOST, "There is no memory for a machine");
}

static int try_create(const char *base, struct machine *machine, struct error *err)
{
	AUTO_FREE char *draft = ctl_text("%s/.XXXXXX", base);
	int done = -1;

	machine->dir = ctl_text("%s/%s", base, machine->name);
	machine->record = json_object();
	if (draft == NULL || machine->dir == NULL || machine->record == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a machine");
	}
	if (mkdtemp(draft) == NULL) {
		return error_sys(err, "Cannot make a directory in %s", base);
	}
	if (write_first(machine, draft, err) == 0) {
		done = rename(draft, machine->dir);
		if (done < 0 && (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR)) {
			(void)error_set(err, ERR_BAD_STATE,
					"There is a machine with the name %s already: squibctl rm "
					"--force %s ends and removes it",
					machine->name, machine->name);
		} else if (done < 0) {
			(void)error_sys(err, "Cannot make %s", machine->dir);
		}
	}
	if (done < 0) {
		ctl_remove_tree(draft);
	}
	return done;
}

int ctl_machine_create(const char *name, struct machine *machine, struct error *err)
{
	AUTO_FREE char *base = NULL;
	unsigned char bytes[RANDOM_LEN];

	*machine = (struct machine){0};
	if (open_base(&base, err) < 0 || (name != NULL && check_name(name, err) < 0)) {
		return -1;
	}
	if (name != NULL) {
		machine->name = strdup(name);
		return machine->name != NULL ? try_create(base, machine, err)
					     : error_set(err, ERR_HOST, "There is no memory");
	}
	for (unsigned i = 0; i < TRIES; i++) {
		ctl_machine_close(machine);
		error_clear(err);
		if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) {
			return error_sys(err, "Cannot make up a name");
		}
		machine->name =
			ctl_text("vm-%02x%02x%02x%02x", bytes[0], bytes[1], bytes[2], bytes[3]);
		if (machine->name != NULL && try_create(base, machine, err) == 0) {
			return 0;
		}
		if (err->kind != ERR_BAD_STATE) {
			break;
		}
	}
	return -1;
}

json_t *ctl_machine_load(const char *path)
{
	/* A pipe would keep us waiting. */
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	struct stat st;
	json_t *record = NULL;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= RECORD_MAX) {
		record = json_loadfd(fd, 0, NULL);
	}
	const char *name = json_string_value(json_object_get(record, "name"));

	if (name != NULL && is_name(name)) {
		return record;
	}
	json_decref(record);
	return NULL;
}

static int read_record(struct machine *machine, struct error *err)
{
	AUTO_FREE char *path = ctl_machine_path(machine, record_file);
	struct stat st;

	if (lstat(machine->dir, &st) < 0) {
		return error_set(
			err, ERR_BAD_REQUEST,
			"There is no machine with the name %s: squibctl ps --all lists them",
			machine->name);
	}
	if (!is_ours_alone(machine->dir)) {
		return error_set(err, ERR_CORRUPT,
				 "%s is not a directory of user %u alone: squibctl rm --force %s "
				 "removes it",
				 machine->dir, geteuid(), machine->name);
	}
	machine->record = path != NULL ? ctl_machine_load(path) : NULL;
	if (machine->record != NULL) {
		return 0;
	}
	return error_set(
		err, ERR_CORRUPT,
		"The machine %s has no record that can be read, in %s: squibctl rm --force "
		"%s ends and removes it",
		machine->name, machine->dir, machine->name);
}

int ctl_machine_open(const char *name, struct machine *machine, struct error *err)
{
	AUTO_FREE char *base = NULL;

	*machine = (struct machine){0};
	if (check_name(name, err) < 0 || open_base(&base, err) < 0) {
		return -1;
	}
	machine->name = strdup(name);
	machine->dir = ctl_text("%s/%s", base, name);
	return machine->name != NULL && machine->dir != NULL
		       ? read_record(machine, err)
		       : error_set(err, ERR_HOST, "There is no memory for a machine");
}

void ctl_machine_close(struct machine *machine)
{
	free(machine->name);
	free(machine->dir);
	json_decref(machine->record);
	*machine = (struct machine){0};
}

bool ctl_machine_is_gone(const struct machine *machine)
{
	AUTO_FREE char *path = ctl_machine_path(machine, record_file);
	json_t *record =
		path != NULL && is_ours_alone(machine->dir) ? ctl_machine_load(path) : NULL;
	const char *there = json_string_value(json_object_get(record, "instance"));
	const char *own = ctl_machine_text(machine, "instance");
	bool is_gone = there != NULL && own != NULL && strcmp(there, own) != 0;

	json_decref(record);
	return is_gone;
}

void ctl_machine_remove(struct machine *machine)
{
	if (ctl_machine_is_gone(machine)) {
		return;
	}
	const char *disk = ctl_machine_text(machine, "disk");
	AUTO_FREE char *name = ctl_text(".%s-%d", machine->name, getpid());
	AUTO_FREE char *gone = name != NULL ? ctl_machine_beside(machine, name) : NULL;

	if (disk != NULL) {
		unlink(disk);
	}
	/* At once: what is half removed would look damaged. */
	ctl_remove_tree(gone != NULL && rename(machine->dir, gone) == 0 ? gone : machine->dir);
}

int ctl_machine_save(const struct machine *machine, struct error *err)
{
	AUTO_FREE char *path = ctl_machine_path(machine, record_file);
	AUTO_FREE char *text = json_dumps(machine->record, JSON_INDENT(2));

	return path != NULL && text != NULL
		       ? ctl_write_file(path, text, strlen(text), err)
		       : error_set(err, ERR_HOST, "There is no memory for a record");
}

char *ctl_machine_base(struct error *err)
{
	char *base = NULL;

	if (open_base(&base, err) < 0) {
		free(base);
		return NULL;
	}
	return base;
}

json_t *ctl_machine_names(struct error *err)
{
	AUTO_FREE char *base = NULL;
	struct dirent **entries = NULL;
	json_t *names = json_array();

	if (open_base(&base, err) < 0) {
		json_decref(names);
		return NULL;
	}
	int count = scandir(base, &entries, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		if (is_name(entries[i]->d_name)) {
			json_array_append_new(names, json_string(entries[i]->d_name));
		}
		free(entries[i]);
	}
	free(entries);
	return names;
}

char *ctl_machine_path(const struct machine *machine, const char *file)
{
	return ctl_text("%s/%s", machine->dir, file);
}

char *ctl_machine_beside(const struct machine *machine, const char *file)
{
	size_t len = strlen(machine->dir) - strlen(machine->name);

	return ctl_text("%.*s%s", (int)len, machine->dir, file);
}

const char *ctl_machine_text(const struct machine *machine, const char *key)
{
	return json_string_value(json_object_get(machine->record, key));
}

json_int_t ctl_machine_number(const struct machine *machine, const char *key)
{
	return json_integer_value(json_object_get(machine->record, key));
}

/* --- processes --- */

void ctl_machine_set_process(const struct machine *machine, const char *key, pid_t pid)
{
	json_object_set_new(
		machine->record, key,
		json_pack("{s:i, s:I}", "pid", pid, "born", (json_int_t)process_born(pid)));
}

static uint64_t born_of(const struct machine *machine, const char *key, pid_t *pid)
{
	const json_t *process = json_object_get(machine->record, key);

	*pid = (pid_t)json_integer_value(json_object_get(process, "pid"));
	return (uint64_t)json_integer_value(json_object_get(process, "born"));
}

pid_t ctl_machine_process(const struct machine *machine, const char *key)
{
	pid_t pid;
	uint64_t born = born_of(machine, key, &pid);

	return pid > 0 && born != 0 && process_born(pid) == born ? pid : 0;
}

bool ctl_machine_is_process(const struct machine *machine, const char *key, pid_t pid,
			    uint64_t born)
{
	pid_t own;

	return born_of(machine, key, &own) == born && own == pid;
}

bool ctl_machine_wait(const struct machine *machine, const char *key, int ms)
{
	pid_t pid;
	uint64_t born = born_of(machine, key, &pid);
	AUTO_FD fd = process_open(pid, born);
	struct pollfd end = {.fd = fd, .events = POLLIN};

	return fd < 0 || poll(&end, 1, ms) > 0;
}

/* Who listens at a socket of the machine's directory; 0: nobody. */
static pid_t listener(const struct machine *machine, const char *file)
{
	AUTO_FREE char *path = ctl_machine_path(machine, file);
	AUTO_FD fd = -1;
	struct error ignored = {0};

	return path != NULL && is_ours_alone(machine->dir) &&
			       ctl_http_connect_for(path, CONNECT_S, &fd, &ignored) == 0
		       ? process_peer(fd)
		       : 0;
}

void ctl_machine_end(const struct machine *machine, const char *key)
{
	pid_t pid;
	uint64_t born = born_of(machine, key, &pid);

	process_end(pid, born);
}

void ctl_machine_end_squib(const struct machine *machine)
{
	pid_t squib;
	uint64_t born = born_of(machine, "squib", &squib);

	if (squib == 0) {
		squib = listener(machine, "api.sock");
		born = process_born(squib);
	}
	process_end(squib, born);
}

void ctl_machine_kill(const struct machine *machine)
{
	pid_t keeper;
	uint64_t keeper_born = born_of(machine, "keeper", &keeper);

	if (machine->record == NULL) {
		keeper = listener(machine, KEEPER_SOCKET);
		keeper_born = process_born(keeper);
	}
	AUTO_FD fd = process_open(keeper, keeper_born);
	struct pollfd end = {.fd = fd, .events = POLLIN};

	ctl_machine_end_squib(machine);
	ctl_machine_end(machine, "passt");
	/* Who makes a machine is its keeper until that has one. */
	if (fd >= 0 && keeper != getpid()) {
		(void)!poll(&end, 1, KEEPER_MS);
	}
}

enum machine_state ctl_machine_state(const struct machine *machine)
{
	bool has_keeper = ctl_machine_process(machine, "keeper") > 0;

	if (machine->record == NULL) {
		return MACHINE_DAMAGED;
	}
	if (json_object_get(machine->record, "exit_status") != NULL) {
		return MACHINE_ENDED;
	}
	bool has_squib = ctl_machine_process(machine, "squib") > 0;

	if (has_squib && json_is_true(json_object_get(machine->record, "started"))) {
		return MACHINE_RUNNING;
	}
	if (has_squib && has_keeper && json_is_true(json_object_get(machine->record, "waits"))) {
		return MACHINE_READY;
	}
	/* Nobody else would run the command. */
	return has_keeper ? MACHINE_STARTING : MACHINE_LOST;
}

const char *ctl_machine_state_name(enum machine_state state)
{
	static const char *const names[] = {
		[MACHINE_STARTING] = "starting", [MACHINE_READY] = "ready",
		[MACHINE_RUNNING] = "running",	 [MACHINE_ENDED] = "ended",
		[MACHINE_LOST] = "lost",	 [MACHINE_DAMAGED] = "damaged",
	};

	return names[state];
}

int ctl_machine_check_runs(const struct machine *machine, struct error *err)
{
	enum machine_state state = ctl_machine_state(machine);
	const char *pool = ctl_machine_text(machine, "pool");

	if (state == MACHINE_RUNNING) {
		return 0;
	}
	if (state == MACHINE_READY) {
		return error_set(err, ERR_BAD_STATE,
				 "The machine %s does not run: it is ready, and waits for who "
				 "takes it by squibctl pool take %s",
				 machine->name, pool != NULL ? pool : "DIRECTORY");
	}
	if (state == MACHINE_ENDED) {
		return error_set(err, ERR_BAD_STATE,
				 "The machine %s does not run: it has %s (%lld)", machine->name,
				 ctl_machine_text(machine, "fault") != NULL ? "failed" : "ended",
				 (long long)ctl_machine_number(machine, "exit_status"));
	}
	return error_set(err, ERR_BAD_STATE, "The machine %s does not run: it is %s", machine->name,
			 ctl_machine_state_name(state));
}

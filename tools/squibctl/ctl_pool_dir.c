/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of a pool.
 *
 * Theory of operation. A record is written under another name and renamed, so that it is whole or
 * not there. It has the process's pid and the time at which that began: together they mean one
 * process for as long as the host runs. Of a machine with a name it has that, too, and its
 * instance: all else is in the machine's own record. The keeper holds a record lock on `lock`,
 * which the kernel drops with the process, however that ends, and which tells others who holds it.
 * One that ends by itself removes the file while it holds the lock: so a lock counts if its file is
 * still there. `next` has the number that comes next; it is counted up before a machine is made.
 */
#include "tools/squibctl/ctl_pool_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/squibctl/ctl_http.h"
#include "tools/squibctl/ctl_process.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/fd.h"

enum {
	NAME_LEN = 48,
	RECORD_MAX = 16 << 10,
	CONNECT_S = 5,
};

static const char *const state_names[POOL_STATES] = {
	[POOL_MAKING] = "making",
	[POOL_READY] = "ready",
	[POOL_TAKEN] = "taken",
	[POOL_ENDING] = "ending",
};

const char *pool_state_name(enum pool_state state)
{
	return state_names[state];
}

/* Its records name processes to end and sockets to trust. */
static int check_owner(const struct pool_dir *dir, struct error *err)
{
	struct stat st;

	if (fstat(dir->fd, &st) < 0) {
		return error_sys(err, "Cannot look at the pool's directory %s", dir->path);
	}
	if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The pool's directory %s is not this user's alone: it must belong "
				 "to user %u, and nobody else may write to it",
				 dir->path, geteuid());
	}
	return 0;
}

int pool_open(const char *path, bool makes, struct pool_dir *dir, struct error *err)
{
	*dir = (struct pool_dir){.fd = -1};
	dir->is_new = makes && mkdir(path, 0700) == 0;
	if (makes && !dir->is_new && errno != EEXIST) {
		return error_sys(err, "Cannot make the directory %s", path);
	}
	dir->path = realpath(path, NULL);
	if (dir->path != NULL) {
		dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (dir->fd < 0) {
		return error_sys(err, "Cannot open the pool's directory %s", path);
	}
	return check_owner(dir, err);
}

void pool_close(struct pool_dir *dir)
{
	fd_close(&dir->fd);
	free(dir->path);
	dir->path = NULL;
}

/* --- The keeper --- */

static struct flock whole_file(void)
{
	return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

/* 1: the file that was locked is not there any more. */
static int try_lock(const struct pool_dir *dir, int *lock, struct error *err)
{
	AUTO_FD fd = openat(dir->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct flock flock = whole_file();
	struct stat st;

	if (fd < 0) {
		return error_sys(err, "Cannot open %s/lock", dir->path);
	}
	if (fcntl(fd, F_SETLK, &flock) < 0) {
		return errno == EAGAIN || errno == EACCES
			       ? error_set(err, ERR_BAD_STATE, "A pool runs in %s already",
					   dir->path)
			       : error_sys(err, "Cannot lock %s/lock", dir->path);
	}
	if (fstat(fd, &st) < 0 || st.st_nlink == 0) {
		return 1;
	}
	*lock = fd_take(&fd);
	return 0;
}

int pool_lock(const struct pool_dir *dir, int *lock, struct error *err)
{
	int result;

	do {
		result = try_lock(dir, lock, err);
	} while (result > 0);
	return result;
}

void pool_unlock(const struct pool_dir *dir, int *lock)
{
	if (*lock >= 0) {
		unlinkat(dir->fd, "lock", 0);
	}
	fd_close(lock);
}

bool pool_is_kept(int lock)
{
	struct stat st;

	return fstat(lock, &st) == 0 && st.st_nlink > 0;
}

bool pool_has_path(const struct pool_dir *dir)
{
	struct stat own;
	struct stat there;

	return fstat(dir->fd, &own) == 0 && stat(dir->path, &there) == 0 &&
	       own.st_dev == there.st_dev && own.st_ino == there.st_ino;
}

pid_t pool_keeper(const struct pool_dir *dir)
{
	AUTO_FD fd = openat(dir->fd, "lock", O_RDWR | O_CLOEXEC);
	struct flock flock = whole_file();

	if (fd < 0 || fcntl(fd, F_GETLK, &flock) < 0 || flock.l_type == F_UNLCK) {
		return 0;
	}
	/* [linux fs/locks.c] The pid is 0 where it has none in this namespace. */
	return flock.l_pid > 0 ? flock.l_pid : -1;
}

int pool_watch(const struct pool_dir *dir, int *watch, struct error *err)
{
	AUTO_FD fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0 || inotify_add_watch(fd, dir->path, IN_MOVE | IN_DELETE) < 0) {
		return error_sys(err, "Cannot watch %s", dir->path);
	}
	*watch = fd_take(&fd);
	return 0;
}

void pool_watch_clear(int watch)
{
	char events[4096];

	while (read(watch, events, sizeof(events)) > 0) {
	}
}

static int open_next(const struct pool_dir *dir, struct error *err)
{
	int fd = openat(dir->fd, "next", O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);

	return fd >= 0 ? fd : error_sys(err, "Cannot open %s/next", dir->path);
}

/* As long as the longest number, so that one write replaces all of it. */
static int write_next(const struct pool_dir *dir, int fd, unsigned long next, struct error *err)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%020lu\n", next);

	return pwrite(fd, text, (size_t)len, 0) == len
		       ? 0
		       : error_sys(err, "Cannot write %s/next", dir->path);
}

int pool_next(const struct pool_dir *dir, unsigned long *number, struct error *err)
{
	AUTO_FD fd = open_next(dir, err);
	char text[24] = "";

	if (fd < 0) {
		return -1;
	}
	if (pread(fd, text, sizeof(text) - 1, 0) < 0) {
		return error_sys(err, "Cannot read %s/next", dir->path);
	}
	unsigned long next = strtoul(text, NULL, 10);

	*number = next > 0 ? next : 1;
	return write_next(dir, fd, *number + 1, err);
}

void pool_give_back(const struct pool_dir *dir, unsigned long number)
{
	struct error ignored = {0};
	AUTO_FD fd = -1;

	if (number == 1) {
		unlinkat(dir->fd, "next", 0);
		return;
	}
	fd = open_next(dir, &ignored);
	if (fd >= 0) {
		(void)!write_next(dir, fd, number, &ignored);
	}
}

/* --- What a machine prints --- */

static void format_output(unsigned long number, char *name)
{
	snprintf(name, NAME_LEN, "%lu.out", number);
}

int pool_open_output(const struct pool_dir *dir, unsigned long number)
{
	char name[NAME_LEN];

	format_output(number, name);
	return openat(dir->fd, name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

void pool_drop_output(const struct pool_dir *dir, unsigned long number)
{
	char name[NAME_LEN];

	format_output(number, name);
	unlinkat(dir->fd, name, 0);
}

/* --- Records --- */

static void format_name(const struct pool_machine *machine, enum pool_state state, char *name)
{
	snprintf(name, NAME_LEN, "%lu.%s", machine->number, state_names[state]);
}

int pool_write(const struct pool_dir *dir, const struct pool_machine *machine, struct error *err)
{
	char name[NAME_LEN];
	char draft[NAME_LEN];
	AUTO_FREE char *text = NULL;

	format_name(machine, machine->state, name);
	snprintf(draft, sizeof(draft), "%lu.draft", machine->number);
	bool has_name = pool_has_name(machine);
	int len =
		asprintf(&text, "%d %llu %d %llu\n%s\n%s\n%s\n%s\n", machine->pid,
			 (unsigned long long)machine->born, machine->keeper,
			 (unsigned long long)machine->keeper_born, machine->socket, machine->vsock,
			 has_name ? machine->name : "", has_name ? machine->instance : "");
	AUTO_FD fd = openat(dir->fd, draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (len < 0) {
		text = NULL;
		return error_set(err, ERR_HOST, "There is no memory for a record");
	}
	if (fd < 0 || write(fd, text, (size_t)len) != len ||
	    renameat(dir->fd, draft, dir->fd, name) < 0) {
		(void)error_sys(err, "Cannot write %s/%s", dir->path, name);
		unlinkat(dir->fd, draft, 0);
		return -1;
	}
	return 0;
}

static int read_record(const struct pool_dir *dir, const char *name, struct pool_machine *machine)
{
	AUTO_FREE char *text = calloc(1, RECORD_MAX + 1);
	AUTO_FD fd = openat(dir->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (text == NULL || fd < 0 || read(fd, text, RECORD_MAX) <= 0) {
		return -1;
	}
	char *rest = text;
	const char *process = strsep(&rest, "\n");
	const char *socket = rest != NULL ? strsep(&rest, "\n") : NULL;
	const char *vsock = rest != NULL ? strsep(&rest, "\n") : NULL;
	const char *machine_name = rest != NULL ? strsep(&rest, "\n") : NULL;
	const char *instance = rest != NULL ? strsep(&rest, "\n") : NULL;
	char *born = NULL;

	machine->pid = (pid_t)strtol(process, &born, 10);
	machine->born = strtoull(born, &born, 10);
	machine->keeper = (pid_t)strtol(born, &born, 10);
	machine->keeper_born = strtoull(born, NULL, 10);
	if (instance == NULL || rest == NULL || machine->pid <= 0 || machine->born == 0) {
		return -1;
	}
	machine->socket = strdup(socket);
	machine->vsock = strdup(vsock);
	machine->name = strdup(machine_name);
	machine->instance = strdup(instance);
	return machine->socket != NULL && machine->vsock != NULL && machine->name != NULL &&
			       machine->instance != NULL
		       ? 0
		       : -1;
}

void pool_free(struct pool_machine *machine)
{
	free(machine->socket);
	free(machine->vsock);
	free(machine->name);
	free(machine->instance);
	*machine = (struct pool_machine){0};
}

bool pool_is_live(const struct pool_machine *machine)
{
	bool needs_keeper = machine->state == POOL_READY && machine->keeper > 0;

	return process_born(machine->pid) == machine->born &&
	       (!needs_keeper || process_born(machine->keeper) == machine->keeper_born);
}

bool pool_has_name(const struct pool_machine *machine)
{
	return machine->name != NULL && machine->name[0] != '\0';
}

/* Whether it is the name of a record. */
static bool read_name(const char *name, struct pool_machine *machine)
{
	char *end;

	machine->number = strtoul(name, &end, 10);
	if (name[0] < '0' || name[0] > '9' || *end != '.') {
		return false;
	}
	for (unsigned i = 0; i < POOL_STATES; i++) {
		if (strcmp(end + 1, state_names[i]) == 0) {
			machine->state = (enum pool_state)i;
			return true;
		}
	}
	return false;
}

int pool_list_add(struct pool_list *list, const struct pool_machine *machine)
{
	struct pool_machine *items = realloc(list->items, (list->count + 1) * sizeof(*list->items));

	if (items == NULL) {
		return -1;
	}
	list->items = items;
	list->items[list->count++] = *machine;
	return 0;
}

static int compare(const void *a, const void *b)
{
	unsigned long left = ((const struct pool_machine *)a)->number;
	unsigned long right = ((const struct pool_machine *)b)->number;

	return (left > right) - (left < right);
}

int pool_list(const struct pool_dir *dir, struct pool_list *list, struct error *err)
{
	int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;

	*list = (struct pool_list){0};
	if (stream == NULL) {
		fd_close(&fd);
		return error_sys(err, "Cannot list %s", dir->path);
	}
	while ((entry = readdir(stream)) != NULL) {
		struct pool_machine machine = {0};

		if (!read_name(entry->d_name, &machine)) {
			continue;
		}
		if (read_record(dir, entry->d_name, &machine) < 0) {
			pool_free(&machine);
			continue;
		}
		machine.was_live = pool_is_live(&machine);
		if (pool_list_add(list, &machine) < 0) {
			pool_free(&machine);
		}
	}
	closedir(stream);
	if (list->count > 0) {
		qsort(list->items, list->count, sizeof(*list->items), compare);
	}
	return 0;
}

void pool_list_free(struct pool_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		pool_free(&list->items[i]);
	}
	free(list->items);
	*list = (struct pool_list){0};
}

void pool_unmake(const struct pool_dir *dir, bool keeps_numbers)
{
	struct pool_list list = {0};
	struct error ignored = {0};

	if (!dir->is_new || dir->path == NULL || !pool_has_path(dir)) {
		return;
	}
	if (!keeps_numbers && pool_keeper(dir) == 0 && pool_list(dir, &list, &ignored) == 0 &&
	    list.count == 0) {
		unlinkat(dir->fd, "next", 0);
	}
	pool_list_free(&list);
	(void)!rmdir(dir->path);
}

bool pool_is_recorded(const struct pool_dir *dir, const struct pool_machine *machine)
{
	char name[NAME_LEN];
	bool is_there = false;

	/* In the order in which states follow each other. */
	for (unsigned i = 0; i < POOL_STATES && !is_there; i++) {
		format_name(machine, (enum pool_state)i, name);
		is_there = faccessat(dir->fd, name, F_OK, 0) == 0;
	}
	return is_there;
}

bool pool_move(const struct pool_dir *dir, struct pool_machine *machine, enum pool_state to)
{
	char from_name[NAME_LEN];
	char to_name[NAME_LEN];

	format_name(machine, machine->state, from_name);
	format_name(machine, to, to_name);
	if (renameat(dir->fd, from_name, dir->fd, to_name) < 0) {
		return false;
	}
	machine->state = to;
	return true;
}

/* A path of a record, of a file in this directory also if that was renamed; on the heap. */
static char *own_path(const struct pool_dir *dir, const char *path)
{
	size_t len = strlen(dir->path);

	return strncmp(path, dir->path, len) == 0 && path[len] == '/'
		       ? ctl_text("/proc/self/fd/%d%s", dir->fd, path + len)
		       : strdup(path);
}

static void unlink_own(const struct pool_dir *dir, const char *path)
{
	AUTO_FREE char *own = own_path(dir, path);

	if (own != NULL) {
		unlink(own);
	}
}

void pool_forget(const struct pool_dir *dir, const struct pool_machine *machine)
{
	char name[NAME_LEN];

	if (!pool_has_name(machine)) {
		unlink_own(dir, machine->socket);
	}
	if (machine->vsock[0] != '\0') {
		unlink_own(dir, machine->vsock);
	}
	format_name(machine, machine->state, name);
	unlinkat(dir->fd, name, 0);
}

/* --- Its process --- */

int pool_find(const struct pool_machine *machine, struct machine *found, struct error *err)
{
	if (ctl_machine_open(machine->name, found, err) < 0) {
		return -1;
	}
	const char *instance = ctl_machine_text(found, "instance");
	bool is_begun = machine->instance[0] == '\0' &&
			ctl_machine_is_process(found, "keeper", machine->pid, machine->born);

	return is_begun || (instance != NULL && strcmp(instance, machine->instance) == 0)
		       ? 0
		       : error_set(err, ERR_BAD_STATE, "The machine %s is another one by now",
				   machine->name);
}

static void end_named(const struct pool_machine *machine)
{
	struct machine found = {0};
	struct error ignored = {0};

	if (pool_find(machine, &found, &ignored) == 0) {
		ctl_machine_kill(&found);
		ctl_machine_remove(&found);
	}
	ctl_machine_close(&found);
}

void pool_end(const struct pool_dir *dir, const struct pool_machine *machine)
{
	AUTO_FREE char *socket = own_path(dir, machine->socket);
	AUTO_FD fd = -1;
	struct error ignored = {0};

	if (pool_has_name(machine)) {
		end_named(machine);
		return;
	}
	process_end(machine->pid, machine->born);
	/* One that was started by another program is no child of its first process. */
	if (socket != NULL && ctl_http_connect_for(socket, CONNECT_S, &fd, &ignored) == 0) {
		pid_t pid = process_peer(fd);

		if (pid > 0) {
			process_end(pid, process_born(pid));
		}
	}
}

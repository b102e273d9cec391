/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of a pool: a record for each machine, whose name is N.STATE. A machine changes its
 * state by a rename, so that of two who want it one has it.
 */
#ifndef TOOLS_CTL_POOL_DIR_H
#define TOOLS_CTL_POOL_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tools/squibctl/ctl_machine.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum pool_state {
	POOL_MAKING,
	POOL_READY,
	POOL_TAKEN,
	POOL_ENDING,
	POOL_STATES
};

struct pool_machine {
	unsigned long number;
	enum pool_state state;
	pid_t pid;
	uint64_t born; /* when the process began, in ticks: with its pid it is the process's name */
	pid_t keeper;  /* of one with a name: the process that keeps it; 0: none yet */
	uint64_t keeper_born;
	char *socket;	/* heap: of its API */
	char *vsock;	/* heap: of its vsock device, "" if none is known */
	char *name;	/* heap: of a machine with a name, "" if it has none */
	char *instance; /* heap: tells it from others of that name, "" while it is being made */
	bool was_live;	/* pool_is_live at the listing that it is of */
};

struct pool_list {
	struct pool_machine *items; /* heap, by number */
	size_t count;
};

struct pool_dir {
	char *path;  /* heap, absolute */
	int fd;	     /* -1: not open */
	bool is_new; /* made by pool_open */
};

/* The name of a state, for people and in file names. */
const char *pool_state_name(enum pool_state state);

/* Opens the directory, which `makes` makes if there is none, for its owner alone. */
MUST_CHECK int pool_open(const char *path, bool makes, struct pool_dir *dir, struct error *err);
void pool_close(struct pool_dir *dir);

/*
 * Removes the directory if pool_open has made it, it has its path still, and no machine was made in
 * it. `keeps_numbers`: what other programs have made may be called by them, and it stays.
 */
void pool_unmake(const struct pool_dir *dir, bool keeps_numbers);

/* Becomes the one process that keeps the pool, until pool_unlock or its end. */
MUST_CHECK int pool_lock(const struct pool_dir *dir, int *lock, struct error *err);

/* Whether nobody has removed the lock, or the directory, under who keeps the pool. */
bool pool_is_kept(int lock);

/* Whether the directory still has its path: what is made by that would be in another one. */
bool pool_has_path(const struct pool_dir *dir);

/* -1: it was not locked. */
void pool_unlock(const struct pool_dir *dir, int *lock);

/* The process that keeps the pool; 0: none does; -1: one that is not seen from here. */
pid_t pool_keeper(const struct pool_dir *dir);

/*
 * An inotify of the directory: readable when a record got or lost a name, until pool_watch_clear.
 * The caller closes *watch.
 */
MUST_CHECK int pool_watch(const struct pool_dir *dir, int *watch, struct error *err);
void pool_watch_clear(int watch);

/* A number that no machine of this directory has had. By its keeper alone. */
MUST_CHECK int pool_next(const struct pool_dir *dir, unsigned long *number, struct error *err);

/* The last number that pool_next gave comes next, as nothing is named by it. */
void pool_give_back(const struct pool_dir *dir, unsigned long number);

/* The file of what a machine prints, to append to and to read; -1: there can't be one. */
int pool_open_output(const struct pool_dir *dir, unsigned long number);
void pool_drop_output(const struct pool_dir *dir, unsigned long number);

/* All records. What can't be read is not there. */
MUST_CHECK int pool_list(const struct pool_dir *dir, struct pool_list *list, struct error *err);
void pool_list_free(struct pool_list *list);

/* Adds one with a higher number than all that are there; the list has what is on its heap then. */
MUST_CHECK int pool_list_add(struct pool_list *list, const struct pool_machine *machine);

/* Writes the record of a machine in its state, in place of one that is there. */
MUST_CHECK int pool_write(const struct pool_dir *dir, const struct pool_machine *machine,
			  struct error *err);

/* Whether it has a record, in whatever state. A listing may miss one that is renamed meanwhile. */
bool pool_is_recorded(const struct pool_dir *dir, const struct pool_machine *machine);

/* Gives a machine another state. false: somebody else has, or it is gone. */
bool pool_move(const struct pool_dir *dir, struct pool_machine *machine, enum pool_state to);

/* Removes its record, and the sockets of a process that has ended. One with a name keeps all. */
void pool_forget(const struct pool_dir *dir, const struct pool_machine *machine);

/*
 * Ends its process, and whoever listens at its socket, and waits for that. One with a name is
 * removed.
 */
void pool_end(const struct pool_dir *dir, const struct pool_machine *machine);

/*
 * Opens the machine with its name, or what the record's process has begun to make by that. The
 * caller closes it in any case.
 */
MUST_CHECK int pool_find(const struct pool_machine *machine, struct machine *found,
			 struct error *err);

/* Whether its process lives, and of one with a name that is ready the one that keeps it. */
bool pool_is_live(const struct pool_machine *machine);

/* Whether it is one with a name. */
bool pool_has_name(const struct pool_machine *machine);

/* Frees what it has on the heap. */
void pool_free(struct pool_machine *machine);

#endif

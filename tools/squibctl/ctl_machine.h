/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines that have names: a directory for each, below ${XDG_RUNTIME_DIR}/squib or /tmp/squib-UID,
 * which is its user's alone. In it are its record, sockets, configuration, console and log.
 */
#ifndef TOOLS_CTL_MACHINE_H
#define TOOLS_CTL_MACHINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	MACHINE_NAME_MAX = 48, /* bytes; the name is a part of its sockets' paths */
};

struct machine {
	char *name;	/* heap */
	char *dir;	/* heap */
	json_t *record; /* machine.json, an object; NULL: it is damaged */
};

enum machine_state {
	MACHINE_STARTING, /* somebody makes it */
	MACHINE_READY,	  /* it is loaded, and waits for who takes it from its pool */
	MACHINE_RUNNING,
	MACHINE_ENDED,	/* it has an exit status */
	MACHINE_LOST,	/* squib or its keeper has ended too early for one */
	MACHINE_DAMAGED /* its record tells nothing */
};

/* Makes the directory of a new machine; `name` NULL: one is made up. */
MUST_CHECK int ctl_machine_create(const char *name, struct machine *machine, struct error *err);

/*
 * The machine of that name. ERR_CORRUPT: it is there, but its record or its directory can't be
 * trusted; name and directory are set then, for ctl_machine_kill and ctl_machine_remove.
 */
MUST_CHECK int ctl_machine_open(const char *name, struct machine *machine, struct error *err);

/* A record, with the name of a machine; NULL: the file is none. */
json_t *ctl_machine_load(const char *path);

/* Frees what is in memory; also after a failure. */
void ctl_machine_close(struct machine *machine);

/* Whether another one has its name by now: somebody has removed it. */
bool ctl_machine_is_gone(const struct machine *machine);

/* Removes its directory, and the disk that it had for itself; nothing of one that is gone. */
void ctl_machine_remove(struct machine *machine);

/* Writes the record. By one process: who creates the machine, then its keeper. */
MUST_CHECK int ctl_machine_save(const struct machine *machine, struct error *err);

/* The directory of all machines, on the heap; NULL with an error. */
char *ctl_machine_base(struct error *err);

/* All names, sorted, a JSON array; NULL with an error. */
json_t *ctl_machine_names(struct error *err);

enum machine_state ctl_machine_state(const struct machine *machine);
const char *ctl_machine_state_name(enum machine_state state);

/* An error unless it runs. */
MUST_CHECK int ctl_machine_check_runs(const struct machine *machine, struct error *err);

/* A file of the machine's directory; on the heap. */
char *ctl_machine_path(const struct machine *machine, const char *file);

/* One beside that directory, where no link of its name leads; on the heap. */
char *ctl_machine_beside(const struct machine *machine, const char *file);

/* Members of the record; NULL and 0: it has none. */
const char *ctl_machine_text(const struct machine *machine, const char *key);
json_int_t ctl_machine_number(const struct machine *machine, const char *key);

/* A process of the record: "squib", "keeper", or "passt", of a fork. */
void ctl_machine_set_process(const struct machine *machine, const char *key, pid_t pid);
pid_t ctl_machine_process(const struct machine *machine, const char *key); /* 0: it has ended */

/* Whether that is the process with this pid, which began then: it may have ended. */
bool ctl_machine_is_process(const struct machine *machine, const char *key, pid_t pid,
			    uint64_t born);

/* Waits up to so many milliseconds (-1: for ever) for the end of a process. false: it lives. */
bool ctl_machine_wait(const struct machine *machine, const char *key, int ms);

/* Kills that process. */
void ctl_machine_end(const struct machine *machine, const char *key);

/* Kills squib, also one that is not in the record yet: it listens in the machine's directory. */
void ctl_machine_end_squib(const struct machine *machine);

/*
 * Kills squib, and waits up to some seconds until the keeper has written what it knows. Where the
 * record is damaged they are who listens at the sockets of the machine's directory.
 */
void ctl_machine_kill(const struct machine *machine);

#endif

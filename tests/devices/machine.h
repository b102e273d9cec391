/* SPDX-License-Identifier: Apache-2.0 */
/* A guest under test: squib with its API, the guest's console, and what its host does. */
#ifndef TESTS_DEVICES_MACHINE_H
#define TESTS_DEVICES_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/lib/testbed.h"

enum {
	MESSAGE_LEN = 512,
	ANSWER_LEN = 8192,
};

/* Everything returns false after a failure, with the first one's words in `failure`. */
struct machine {
	struct squib squib;
	char root[PATH_LEN]; /* the disk to boot from, which is not to be written */
	int api;
	int typing;	/* the console's input */
	int status;	/* of squib, once it ended */
	size_t matched; /* of the console */
	uint64_t deadline_ms;
	char failure[MESSAGE_LEN];
	char answer[ANSWER_LEN]; /* the last answer's body */
};

/* One test of devices. */
struct device_test {
	const char *name;
	bool (*run)(struct machine *machine);
	unsigned timeout_s;
};

extern const struct device_test disk_tests[];
extern const struct device_test network_tests[];
extern const struct device_test memory_tests[];
extern const struct device_test many_tests[];
extern const struct device_test call_tests[];
extern const struct device_test fault_tests[];
extern const struct device_test hang_tests[];
extern const struct device_test payload_tests[]; /* each ends with an empty one */

/* What the guest is: its RAM, its CPUs, the script that it runs, further boot arguments. */
struct guest {
	unsigned vcpus;
	unsigned mem_mib;
	const char *script;
	const char *root;     /* the root disk, in the machine's directory or absolute */
	const char *partuuid; /* of the root; NULL: the whole disk */
	bool is_root_writable;
	const char *payload; /* in place of Linux, with no root */
};

bool machine_init(struct machine *machine, unsigned timeout_s);
void machine_destroy(struct machine *machine);

__attribute__((format(printf, 2, 3))) bool machine_fail(struct machine *machine, const char *fmt,
							...);

/* Starts squib and configures kernel, machine and root disk; devices come next, then start. */
bool machine_configure(struct machine *machine, const struct guest *guest);
bool machine_start(struct machine *machine);
/* SIGKILL; machine_configure may follow. */
void machine_kill(struct machine *machine);
/* Waits for a reset of the guest, which ends squib with 0. */
bool machine_ends(struct machine *machine);

/* A request; false unless its status is `status`. */
__attribute__((format(printf, 5, 6))) bool machine_api(struct machine *machine, unsigned status,
						       const char *method, const char *path,
						       const char *fmt, ...);
/* The number behind "name": in the last answer; -1 without. */
long machine_answer_number(const struct machine *machine, const char *name);

/*
 * Waits until the console has `text`, behind what was waited for last; what follows it in the line
 * is copied to `rest` where that is not NULL. A line with "WRONG:" is a failure.
 */
bool machine_expect(struct machine *machine, const char *text, char rest[MESSAGE_LEN]);
/* Waits for "ready: <name>" of the guest's scripts. */
bool machine_meet(struct machine *machine, const char *name);
/* Lets the guest go on. */
bool machine_go_on(struct machine *machine);
/* The whole console, to be freed. */
char *machine_console(const struct machine *machine);

/* --- files of the machine's directory --- */

void machine_path(const struct machine *machine, const char *name, char path[PATH_LEN]);
/* Of holes only. */
bool machine_make_disk(struct machine *machine, const char *name, unsigned mib);
/* From DEVICES_DIR. */
bool machine_copy_disk(struct machine *machine, const char *from, const char *name);
/* KiB that the file takes on its file system. */
long machine_disk_kib(const struct machine *machine, const char *name);

/* --- programs on the host's side, in the machine's directory --- */

/* Starts "gt" with these words, or the program named first if it has a slash; its pid. */
__attribute__((format(printf, 2, 3))) pid_t machine_spawn(struct machine *machine, const char *fmt,
							  ...);
/* Waits for its end, which must be with status 0. */
bool machine_reap(struct machine *machine, pid_t pid, const char *what);
__attribute__((format(printf, 2, 3))) bool machine_run(struct machine *machine, const char *fmt,
						       ...);

#endif

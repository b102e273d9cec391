/* SPDX-License-Identifier: Apache-2.0 */
/* --landlock: what a running machine's threads can still reach of the host by name. */
#ifndef VMM_LANDLOCK_H
#define VMM_LANDLOCK_H

#include <stdbool.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* Zeroed: Landlock is not asked for, and confining does nothing. */
struct landlock {
	int abi;     /* the kernel's; 0: not asked for */
	int nothing; /* descriptor of the rule set that allows nothing */
};

static inline bool landlock_is_on(const struct landlock *landlock)
{
	return landlock->abi != 0;
}

/* The version of the kernel's interface, or 0: the kernel lacks it, or it was not enabled. */
int landlock_kernel_abi(void);

/* Fails where the kernel lacks it. Before other threads start. */
MUST_CHECK int landlock_init(struct landlock *landlock, struct error *err);
void landlock_destroy(struct landlock *landlock); /* a zeroed one is fine */

/* A file that a confined thread may open again, with what lies below its directory. */
struct landlock_file {
	const char *path; /* as it was named */
	int fd;		  /* the file itself, open */
	bool is_read_only;
};

/*
 * A rule set, a descriptor that the caller closes; -1 where Landlock is not asked for. The files
 * that are allowed by it are added before it is used.
 */
MUST_CHECK int landlock_rules_new(const struct landlock *landlock, int *rules, struct error *err);

/*
 * Allows the file itself, and what lies below the directory that its path names, for reading, and
 * for writing unless it is read-only. Nothing happens where Landlock is not asked for.
 */
MUST_CHECK int landlock_allow(const struct landlock *landlock, int rules,
			      const struct landlock_file *file, struct error *err);

/*
 * From now on the calling thread, and threads that it makes, can open no file but those that
 * `rules` allows (-1: none), make no TCP connection or listener, and reach no process by signal or
 * abstract socket. What is open stays so. Also forbids to gain privileges by exec. To be called
 * before the thread's seccomp filter is installed. Fails before anything is confined.
 */
MUST_CHECK int landlock_confine(const struct landlock *landlock, int rules, struct error *err);

#endif

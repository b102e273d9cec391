/* SPDX-License-Identifier: Apache-2.0 */
/* --landlock: what a running machine's threads can still reach of the host by name. */
#ifndef VMM_LANDLOCK_H
#define VMM_LANDLOCK_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/config.h"

/* Zeroed: Landlock is not asked for, and confining does nothing. */
struct landlock {
	int abi;     /* the kernel's; 0: not asked for */
	int nothing; /* descriptor of the rule set that allows nothing */
};

/* The version of the kernel's interface, or 0: the kernel lacks it, or it was not enabled. */
int landlock_kernel_abi(void);

/* Fails where the kernel lacks it. Before other threads start. */
MUST_CHECK int landlock_init(struct landlock *landlock, struct error *err);
void landlock_destroy(struct landlock *landlock); /* a zeroed one is fine */

/*
 * From now on the calling thread, and threads that it makes, can open no file, make no TCP
 * connection or listener, and reach no process by signal or abstract socket. What is open stays so.
 * Also forbids to gain privileges by exec. To be called before the thread's seccomp filter.
 * NULL is as zeroed.
 */
MUST_CHECK int landlock_confine(const struct landlock *landlock, struct error *err);

/*
 * The same, but for what PATCH /drives needs: each drive's own file, and what lies below the
 * directory that its path names, for reading, and for writing where the drive is writable. Fails
 * before anything is confined.
 */
MUST_CHECK int landlock_confine_to_drives(const struct landlock *landlock,
					  const struct vm_config *config, struct error *err);

#endif

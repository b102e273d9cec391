/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of forks and of live snapshots have in common. */
#ifndef TESTS_E2E_FORKS_H
#define TESTS_E2E_FORKS_H

#include <stdbool.h>

#include "tests/lib/squib.h"

enum {
	FORK_PATIENCE_MS = 20000, /* for what a child or an image does */
};

/*
 * Starts a squib, and configures a guest that prints rounds; `more` goes behind the fields of its
 * machine-config.
 */
bool fork_configure(struct squib *squib, const char *more);

/* The same, and starts the guest. */
bool fork_start(struct squib *squib, const char *more);

/* Waits until a live snapshot is written or not, whose status must be `status`. */
bool live_await(struct squib *squib, const char *status);

/* How many descriptors a process has, or some more, always by the same number. */
unsigned fork_descriptors(pid_t pid);

/* Whether the directory has no file of this name. */
bool fork_is_gone(const struct squib *squib, const char *name);

/* What the processes that are forked from a machine are called. */
#define FORK_CHILD "squib"
#define FORK_IMAGE "fc_image"

/*
 * Lists processes of that name that were forked from the machine, or from what was. Returns how
 * many there are, `max` at most.
 */
size_t fork_processes(const struct squib *squib, const char *name, pid_t *pids, size_t max);

/* Waits until there are none. */
bool fork_all_end(struct squib *squib);

#endif

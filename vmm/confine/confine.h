/* SPDX-License-Identifier: Apache-2.0 */
/* What holds the threads of the monitor in: Landlock, then a system call filter. */
#ifndef VMM_CONFINE_CONFINE_H
#define VMM_CONFINE_CONFINE_H

#include "seccomp/filter.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/confine/landlock.h"

struct confine {
	struct filter_set filters; /* zeroed: --no-seccomp */
	struct landlock landlock;  /* zeroed: no --landlock */
};

/* A zeroed one is fine. */
void confine_destroy(struct confine *confine);

/*
 * Confines the calling thread for the rest of its life: by Landlock first, as the filter forbids
 * that, then by the filter of `thread`. `rules` is what landlock_rules_new made; -1: the thread may
 * open nothing. With a `confine` of NULL nothing happens. After a failure Landlock may be in force.
 */
MUST_CHECK int confine_thread(const struct confine *confine, enum filter_thread thread, int rules,
			      struct error *err);

/* Whether `thread` may do what an interface takes that the kernel's vhost serves; names what not.
 */
MUST_CHECK int confine_check_vhost(const struct confine *confine, enum filter_thread thread,
				   struct error *err);

/*
 * Adds to `err`, the failure to open a file for a `what` on a thread that Landlock holds in, why
 * that is so. `confine` may be NULL.
 */
void confine_explain(const struct confine *confine, const char *what, struct error *err);

#endif

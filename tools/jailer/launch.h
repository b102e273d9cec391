/* SPDX-License-Identifier: Apache-2.0 */
/* From the jailer to the jailed program: sessions, processes, the file with its pid, execve. */
#ifndef TOOLS_JAILER_LAUNCH_H
#define TOOLS_JAILER_LAUNCH_H

#include <stdint.h>
#include <sys/types.h>

#include "tools/jailer/args.h"
#include "tools/jailer/beneath.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct launch {
	const struct jail_args *args;
	const char *exec_name;
	const struct beneath_dir *root; /* the process's root by now, and taken */
	uint64_t start_us;		/* CLOCK_MONOTONIC when the jailer started */
	uint64_t start_cpu_us;		/* CLOCK_PROCESS_CPUTIME_ID then */
	mode_t mask;			/* umask of the jailed program */
	int dev_null;			/* where it is a daemon, the host's /dev/null */
};

/* Microseconds of a clock. */
uint64_t launch_clock_us(clockid_t clock);

/*
 * Writes the pid to /<exec name>.pid, hands over the root, starts the program. Returns only on
 * failure, or by the jailer's exit where the program has a process of its own.
 */
MUST_CHECK int launch_run(const struct launch *launch, struct error *err);

#endif

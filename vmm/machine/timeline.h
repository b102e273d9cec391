/* SPDX-License-Identifier: Apache-2.0 */
/* When each step of the start was done, for the boot timer's log lines and the boot timeline. */
#ifndef VMM_TIMELINE_H
#define VMM_TIMELINE_H

#include <stddef.h>
#include <stdint.h>

enum timeline_mark {
	TIMELINE_EXEC,	     /* process start: --start-time-us, or told from CPU time */
	TIMELINE_MAIN,	     /* main() entered */
	TIMELINE_CONFIGURED, /* arguments and configuration file read */
	TIMELINE_VM,	     /* VM, memory and interrupt controller there */
	TIMELINE_VCPUS,	     /* vCPUs there */
	TIMELINE_KERNEL,     /* kernel and initrd in guest memory */
	TIMELINE_DEVICES,    /* devices, tables and boot registers in place */
	TIMELINE_RUN,	     /* vCPU 0 enters the guest for the first time */
	TIMELINE_INIT,	     /* the guest poked the boot timer */
	TIMELINE_MARKS,
};

/* CLOCK_MONOTONIC in nanoseconds; 0: not reached. Each mark is written once, by one thread. */
struct timeline {
	uint64_t at_ns[TIMELINE_MARKS];
	uint64_t configured_cpu_ns; /* CPU time of the process at TIMELINE_CONFIGURED */
};

void timeline_set(struct timeline *timeline, enum timeline_mark mark);

/* Sets TIMELINE_EXEC: what the launcher says in microseconds, or 0: what can be told from here. */
void timeline_set_exec(struct timeline *timeline, uint64_t start_time_us);

/* "main 0, configured 215, ..." in microseconds since the first mark; always NUL-terminated. */
void timeline_format(const struct timeline *timeline, char *buf, size_t len);

/*
 * Logs the timeline of a start at Debug, and as a warning each step that took a second or more.
 * Before the vCPUs run.
 */
void timeline_log_start(const struct timeline *timeline);

/*
 * Logs the guest's boot time as orchestrators parse it [compat], counted from the moment that the
 * configuration was complete, and the timeline. On the vCPU thread that poked the boot timer.
 */
void timeline_log_boot(struct timeline *timeline);

#endif

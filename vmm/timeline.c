/* SPDX-License-Identifier: Apache-2.0 */
/* Marks of the start and how they are told. */
#include "vmm/timeline.h"

#include <stdio.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"

static const char *const mark_names[TIMELINE_MARKS] = {
	[TIMELINE_EXEC] = "exec",
	[TIMELINE_MAIN] = "main",
	[TIMELINE_CONFIGURED] = "configured",
	[TIMELINE_VM] = "vm",
	[TIMELINE_VCPUS] = "vcpus",
	[TIMELINE_KERNEL] = "kernel",
	[TIMELINE_DEVICES] = "devices",
	[TIMELINE_RUN] = "run",
	[TIMELINE_INIT] = "init",
};

void timeline_set(struct timeline *timeline, enum timeline_mark mark)
{
	timeline->at_ns[mark] = clock_host.now_ns(CLOCK_MONOTONIC);
	if (mark == TIMELINE_CONFIGURED) {
		timeline->configured_cpu_ns = clock_host.now_ns(CLOCK_PROCESS_CPUTIME_ID);
	}
}

void timeline_set_exec(struct timeline *timeline, uint64_t start_time_us)
{
	/* Up to now the process has done nothing but compute: its CPU time is its age. */
	timeline->at_ns[TIMELINE_EXEC] =
		start_time_us != 0 ? start_time_us * 1000
				   : clock_host.now_ns(CLOCK_MONOTONIC) -
					     clock_host.now_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void timeline_format(const struct timeline *timeline, char *buf, size_t len)
{
	uint64_t first = 0;
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < TIMELINE_MARKS; i++) {
		uint64_t at = timeline->at_ns[i];

		if (at == 0) {
			continue;
		}
		first = first == 0 ? at : first;
		int more = snprintf(buf + used, len - used, "%s%s %llu", used > 0 ? ", " : "",
				    mark_names[i], (unsigned long long)(at - first) / 1000);

		used = min_u64(used + (size_t)more, len - 1);
	}
}

void timeline_log_boot(struct timeline *timeline)
{
	char text[256];

	timeline_set(timeline, TIMELINE_INIT);
	uint64_t wall_us =
		(timeline->at_ns[TIMELINE_INIT] - timeline->at_ns[TIMELINE_CONFIGURED]) / 1000;
	uint64_t cpu_us =
		(clock_host.now_ns(CLOCK_PROCESS_CPUTIME_ID) - timeline->configured_cpu_ns) / 1000;

	log_info("Guest-boot-time = %6llu us %llu ms, %6llu CPU us %llu CPU ms",
		 (unsigned long long)wall_us, (unsigned long long)wall_us / 1000,
		 (unsigned long long)cpu_us, (unsigned long long)cpu_us / 1000);
	timeline_format(timeline, text, sizeof(text));
	log_info("Boot timeline (us): %s", text);
}

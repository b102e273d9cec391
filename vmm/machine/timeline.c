/* SPDX-License-Identifier: Apache-2.0 */
/* Marks of the start, and the log line that shows them. */
#include "vmm/machine/timeline.h"

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/base/text.h"

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
		start_time_us != 0 ? start_time_us * NS_PER_US
				   : clock_host.now_ns(CLOCK_MONOTONIC) -
					     clock_host.now_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void timeline_format(const struct timeline *timeline, char *buf, size_t len)
{
	uint64_t first = 0;
	struct text text;

	text_init(&text, buf, len);
	for (size_t i = 0; i < TIMELINE_MARKS; i++) {
		uint64_t at = timeline->at_ns[i];

		if (at == 0) {
			continue;
		}
		first = first == 0 ? at : first;
		text_add(&text, "%s%s %llu", text.len > 0 ? ", " : "", mark_names[i],
			 (unsigned long long)(at - first) / NS_PER_US);
	}
}

void timeline_log_start(const struct timeline *timeline)
{
	uint64_t before = 0;

	if (log_enabled(LOG_DEBUG, __FILE__)) {
		char text[256];

		timeline_format(timeline, text, sizeof(text));
		log_debug("Start timeline (us): %s", text);
	}
	for (size_t i = TIMELINE_CONFIGURED; i < TIMELINE_MARKS; i++) {
		uint64_t at = timeline->at_ns[i];

		if (at == 0) {
			continue;
		}
		if (before != 0 && at - before >= NS_PER_S) {
			log_warn("The start was slow: its step `%s` took %llu ms.", mark_names[i],
				 (unsigned long long)(at - before) / NS_PER_MS);
		}
		before = at;
	}
}

void timeline_log_boot(struct timeline *timeline)
{
	char text[256];

	timeline_set(timeline, TIMELINE_INIT);
	uint64_t wall_us =
		(timeline->at_ns[TIMELINE_INIT] - timeline->at_ns[TIMELINE_CONFIGURED]) / NS_PER_US;
	uint64_t cpu_us =
		(clock_host.now_ns(CLOCK_PROCESS_CPUTIME_ID) - timeline->configured_cpu_ns) /
		NS_PER_US;

	log_info("Guest-boot-time = %6llu us %llu ms, %6llu CPU us %llu CPU ms",
		 (unsigned long long)wall_us, (unsigned long long)wall_us / 1000,
		 (unsigned long long)cpu_us, (unsigned long long)cpu_us / 1000);
	timeline_format(timeline, text, sizeof(text));
	log_info("Boot timeline (us): %s", text);
}

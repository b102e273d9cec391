/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/machine/timeline.c. */
#include <criterion/criterion.h>
#include <regex.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/machine/timeline.h"

Test(timeline, marks_are_told_in_microseconds_since_the_first)
{
	struct timeline timeline = {0};
	char text[256];

	timeline_format(&timeline, text, sizeof(text));
	cr_assert_str_eq(text, "");
	timeline.at_ns[TIMELINE_MAIN] = 5000000;
	timeline.at_ns[TIMELINE_CONFIGURED] = 5215999;
	timeline.at_ns[TIMELINE_RUN] = 6000000000;
	timeline_format(&timeline, text, sizeof(text));
	cr_assert_str_eq(text, "main 0, configured 215, run 5995000");
}

Test(timeline, any_buffer_is_terminated)
{
	struct timeline timeline;
	char text[400];

	for (size_t i = 0; i < TIMELINE_MARKS; i++) {
		timeline.at_ns[i] = 1 + i * UINT64_C(1000000000000000000);
	}
	for (size_t len = 1; len < sizeof(text); len++) {
		memset(text, 'X', sizeof(text));
		timeline_format(&timeline, text, len);
		cr_assert(strlen(text) < len);
		for (size_t i = len; i < sizeof(text); i++) {
			cr_assert(text[i] == 'X', "length %zu, byte %zu", len, i);
		}
	}
}

Test(timeline, set_takes_the_monotonic_clock)
{
	struct timeline timeline = {0};

	timeline_set(&timeline, TIMELINE_MAIN);
	timeline_set(&timeline, TIMELINE_CONFIGURED);
	cr_assert(timeline.at_ns[TIMELINE_MAIN] > 0);
	cr_assert(timeline.at_ns[TIMELINE_CONFIGURED] >= timeline.at_ns[TIMELINE_MAIN]);
	cr_assert(timeline.configured_cpu_ns > 0);
	cr_assert(timeline.at_ns[TIMELINE_RUN] == 0);
}

Test(timeline, a_slow_step_of_the_start_is_named)
{
	int log = capture_log(LOG_DEBUG);
	struct timeline timeline = {0};

	timeline.at_ns[TIMELINE_MAIN] = 1;
	timeline.at_ns[TIMELINE_CONFIGURED] = 5000000001;
	timeline.at_ns[TIMELINE_VM] = 5999999999;
	timeline.at_ns[TIMELINE_KERNEL] = 7000000000;
	timeline_log_start(&timeline);
	const char *text = captured(log);

	cr_assert(strstr(text, "Start timeline (us): main 0, configured 5000000, vm 5999999, "
			       "kernel 6999999\n") != NULL,
		  "%s", text);
	cr_assert(strstr(text, "The start was slow: its step `kernel` took 1000 ms.\n") != NULL,
		  "%s", text);
	/* How long the client took to configure is no step, and less than a second is not slow. */
	cr_assert(strstr(text, "`configured`") == NULL && strstr(text, "`vm`") == NULL, "%s", text);
	close(log);
}

/* Orchestrators parse this line. */
Test(timeline, the_boot_time_has_the_known_form)
{
	int log = capture_log(LOG_INFO);
	struct timeline timeline = {0};
	regex_t regex;

	timeline_set(&timeline, TIMELINE_CONFIGURED);
	timeline_log_boot(&timeline);
	cr_assert(regcomp(&regex,
			  "Guest-boot-time = [ 0-9]{6} us [0-9]+ ms, [ 0-9]{6} CPU us [0-9]+ CPU "
			  "ms\n.*Boot timeline \\(us\\): configured 0, init [0-9]+\n",
			  REG_EXTENDED | REG_NOSUB) == 0);
	cr_assert(regexec(&regex, captured(log), 0, NULL, 0) == 0, "%s", captured(log));
	cr_assert(timeline.at_ns[TIMELINE_INIT] > 0);
	regfree(&regex);
}

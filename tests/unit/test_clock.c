/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/clock.c. */
#include <criterion/criterion.h>

#include "vmm/base/clock.h"

Test(clock, the_calendar_is_the_c_librarys)
{
	const int64_t day_s = 24 * 60 * 60;

	/* Every day until 2415, at a time of day that moves on. */
	for (int64_t day = 0; day < 445 * INT64_C(365); day++) {
		time_t at = day * day_s + (day * 12345) % day_s;
		struct tm want;
		struct tm got;

		gmtime_r(&at, &want);
		clock_calendar(at, &got);
		cr_assert(got.tm_year == want.tm_year && got.tm_mon == want.tm_mon &&
				  got.tm_mday == want.tm_mday && got.tm_hour == want.tm_hour &&
				  got.tm_min == want.tm_min && got.tm_sec == want.tm_sec,
			  "%lld", (long long)at);
	}
}

Test(clock, the_edges_of_a_day_and_of_time)
{
	struct tm tm;

	clock_calendar(951782399, &tm);
	cr_assert(tm.tm_mon == 1 && tm.tm_mday == 28 && tm.tm_hour == 23 && tm.tm_sec == 59);
	clock_calendar(951782400, &tm);
	cr_assert(tm.tm_mon == 1 && tm.tm_mday == 29 && tm.tm_hour == 0 && tm.tm_sec == 0);
	clock_calendar(-5, &tm);
	cr_assert(tm.tm_year == 70 && tm.tm_mon == 0 && tm.tm_mday == 1 && tm.tm_sec == 0);
}

Test(clock, the_host_clock_runs)
{
	uint64_t one = clock_host.now_ns(CLOCK_MONOTONIC);
	uint64_t two = clock_host.now_ns(CLOCK_MONOTONIC);

	cr_assert(one > 0 && two >= one);
}

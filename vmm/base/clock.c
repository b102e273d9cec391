/* SPDX-License-Identifier: Apache-2.0 */
/* The host's clocks, and the calendar. */
#include "vmm/base/clock.h"

#include <stdbool.h>

static uint64_t host_now_ns(clockid_t id)
{
	struct timespec now = {0};

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

const struct clock clock_host = {.now_ns = host_now_ns};

uint64_t clock_now_ms(void)
{
	return host_now_ns(CLOCK_MONOTONIC) / NS_PER_MS;
}

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month] + (month == 1 && is_leap(year));
}

void clock_calendar(int64_t seconds, struct tm *tm)
{
	const int64_t day_s = INT64_C(24) * 60 * 60;
	int64_t days = seconds > 0 ? seconds / day_s : 0;
	int second = seconds > 0 ? (int)(seconds % day_s) : 0;
	int year = 1970;
	int month = 0;

	/* From the present only some fifty rounds. */
	for (; days >= 365 + is_leap(year); year++) {
		days -= 365 + is_leap(year);
	}
	for (; days >= days_of_month(year, month); month++) {
		days -= days_of_month(year, month);
	}
	*tm = (struct tm){
		.tm_year = year - 1900,
		.tm_mon = month,
		.tm_mday = (int)days + 1,
		.tm_hour = second / 3600,
		.tm_min = second / 60 % 60,
		.tm_sec = second % 60,
	};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Time as a parameter: the host's clocks in the monitor, a script's in tests. */
#ifndef VMM_BASE_CLOCK_H
#define VMM_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

struct clock {
	/* Nanoseconds of the POSIX clock `id`. Callable from any thread. */
	uint64_t (*now_ns)(clockid_t id);
};

/* clock_gettime */
extern const struct clock clock_host;

/* Milliseconds of the host's CLOCK_MONOTONIC, as poll(2) counts: for deadlines. Any thread. */
uint64_t clock_now_ms(void);

/*
 * Splits seconds since 1970 (UTC, or shifted by a zone's offset) into tm_year to tm_sec; times
 * before 1970 count as 1970. Async-signal-safe, which gmtime_r and localtime_r are not: they take a
 * lock.
 */
void clock_calendar(int64_t seconds, struct tm *tm);

#endif

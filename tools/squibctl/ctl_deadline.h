/* SPDX-License-Identifier: Apache-2.0 */
/* Moments until which something is waited for, on the host's monotonic clock. */
#ifndef TOOLS_CTL_DEADLINE_H
#define TOOLS_CTL_DEADLINE_H

#include <limits.h>
#include <stdint.h>

#include "vmm/base/clock.h"

#define DEADLINE_NEVER UINT64_MAX

/* The moment in `ms` milliseconds. */
static inline uint64_t deadline_in(uint64_t ms)
{
	return clock_host.now_ns(CLOCK_MONOTONIC) + ms * NS_PER_MS;
}

/* Milliseconds until then, for poll(2): 0 if it is over, -1 if it never is. */
static inline int deadline_left(uint64_t deadline)
{
	uint64_t now = clock_host.now_ns(CLOCK_MONOTONIC);

	if (deadline == DEADLINE_NEVER) {
		return -1;
	}
	uint64_t ms = deadline > now ? (deadline - now + NS_PER_MS - 1) / NS_PER_MS : 0;

	return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* The earlier one. */
static inline uint64_t deadline_first(uint64_t one, uint64_t other)
{
	return one < other ? one : other;
}

#endif

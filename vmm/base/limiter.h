/* SPDX-License-Identifier: Apache-2.0 */
/* A device's rate limit: bytes and operations together, and a timer that says when to go on. */
#ifndef VMM_BASE_LIMITER_H
#define VMM_BASE_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/clock.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"
#include "vmm/base/ratelimit.h"

/* As the API describes a bucket; size or time 0: no limit. */
struct token_bucket_config {
	uint64_t size;
	uint64_t one_time_burst;
	uint64_t refill_time_ms;
};

struct limiter_config {
	struct token_bucket_config bandwidth; /* bytes */
	bool has_bandwidth;		      /* given: in an update, absent means unchanged */
	struct token_bucket_config ops;
	bool has_ops;
};

/*
 * Embedded in its owner, whose lock covers it. `timer` fires on the loop's thread when a request
 * that was turned away may pass; its handler calls limiter_drain first.
 */
struct limiter {
	const struct clock *clock;
	struct evloop *loop;
	struct token_bucket bandwidth;
	struct token_bucket ops;
	struct ev_source timer; /* fd -1: there is no limit */
	bool is_blocked;
	/* as they were before the last take, for limiter_put_back */
	struct token_bucket old_bandwidth;
	struct token_bucket old_ops;
};

/* `fn` handles limiter->timer. No descriptor is used while there is no limit. Loop's thread. */
MUST_CHECK int limiter_init(struct limiter *limiter, struct evloop *loop, const struct clock *clock,
			    ev_fn fn, struct error *err);

/* A zeroed or half-built one is fine. */
void limiter_destroy(struct limiter *limiter);

/*
 * Sets the buckets that *config has; each starts full. The caller then serves its queues again.
 * On failure the limits are as before. Loop's thread.
 */
MUST_CHECK int limiter_configure(struct limiter *limiter, const struct limiter_config *config,
				 struct error *err);

/*
 * Takes one operation of `bytes` bytes, or nothing: then false, and the timer is armed. While
 * blocked it takes nothing at all. [compat]: a request larger than its bucket passes at once and
 * is paid for by waiting.
 */
MUST_CHECK bool limiter_take(struct limiter *limiter, uint64_t bytes);

/* Gives back what the last limiter_take took, for a request that did not happen. */
void limiter_put_back(struct limiter *limiter, uint64_t bytes);

/* In the timer's handler: takes note of its expiry; false if it did not expire. */
bool limiter_drain(struct limiter *limiter);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A token bucket: a limited rate with bursts; time is the caller's. */
#ifndef VMM_BASE_RATELIMIT_H
#define VMM_BASE_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/attr.h"

/* Zeroed: no limit. The caller locks it. */
struct token_bucket {
	uint64_t size; /* 0: no limit */
	uint64_t refill_ns;
	uint64_t burst; /* what is left of the one-time burst */
	uint64_t budget;
	uint64_t updated_ns; /* up to when time was turned into tokens */
};

/*
 * A full bucket of `size` tokens that takes `refill_ms` to fill, and `burst` tokens besides, once.
 * If size or time is 0, or the time is beyond 2^64 ns, there is no limit [compat].
 */
void token_bucket_init(struct token_bucket *bucket, uint64_t size, uint64_t burst,
		       uint64_t refill_ms, uint64_t now_ns);

/*
 * Takes `count` tokens, or none if there are too few (false). More than the bucket can ever hold
 * passes at once, and nothing more does until the time of what was missing is over [compat].
 */
MUST_CHECK bool token_bucket_take(struct token_bucket *bucket, uint64_t now_ns, uint64_t count);

/*
 * How many ns from `now_ns` on a take of `count` tokens would fail if nobody else took any; for 0
 * tokens, what is left of a debt.
 */
uint64_t token_bucket_wait(const struct token_bucket *bucket, uint64_t now_ns, uint64_t count);

/* A bucket in plain numbers, without the host's time. */
struct token_bucket_state {
	uint64_t size; /* with the next one: which limit it was */
	uint64_t refill_ns;
	uint64_t burst;
	uint64_t budget;
	uint64_t elapsed_ns; /* that were not yet turned into tokens */
	uint64_t debt_ns;    /* until the first token comes; one of the two is 0 */
};

void token_bucket_save(const struct token_bucket *bucket, uint64_t now_ns,
		       struct token_bucket_state *state);

/*
 * Into a bucket that was just set to its limit: it goes on with what was left. One of another limit
 * than the saved one stays full. Any numbers will do: none gives more than the bucket has now.
 */
void token_bucket_load(struct token_bucket *bucket, uint64_t now_ns,
		       const struct token_bucket_state *state);

#endif

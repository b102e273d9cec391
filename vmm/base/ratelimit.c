/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets.
 *
 * Theory of operation [compat]. The one-time burst is spent first; as long as it alone pays, the
 * clock is reset, so that no refill piles up behind it. Then the budget pays, and only where it
 * falls short is the time since the last look turned into tokens. `updated_ns` moves on by the time
 * that the new tokens took, not to the present, so fractions of a token are carried, not lost.
 *
 * A request for more than `size` could never be paid. It passes at once and leaves the bucket empty
 * and in debt: `updated_ns` is moved into the future by the time that the missing tokens take, and
 * nothing is granted before.
 */
#include "vmm/base/ratelimit.h"

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"

__extension__ typedef unsigned __int128 u128;

void token_bucket_init(struct token_bucket *bucket, uint64_t size, uint64_t burst,
		       uint64_t refill_ms, uint64_t now_ns)
{
	uint64_t refill_ns;

	*bucket = (struct token_bucket){0};
	if (size == 0 || refill_ms == 0 || !mul_u64(refill_ms, NS_PER_MS, &refill_ns)) {
		return;
	}
	*bucket = (struct token_bucket){.size = size,
					.refill_ns = refill_ns,
					.burst = burst,
					.budget = size,
					.updated_ns = now_ns};
}

static void refill(struct token_bucket *bucket, uint64_t now_ns)
{
	uint64_t elapsed = now_ns - bucket->updated_ns;

	if (elapsed >= bucket->refill_ns) {
		bucket->budget = bucket->size;
		bucket->updated_ns = now_ns;
		return;
	}
	uint64_t tokens = (uint64_t)((u128)elapsed * bucket->size / bucket->refill_ns);

	if (tokens >= bucket->size - bucket->budget) {
		bucket->budget = bucket->size;
		bucket->updated_ns = now_ns;
		return;
	}
	bucket->budget += tokens;
	/* At most `elapsed`, as tokens were rounded down. */
	bucket->updated_ns += (uint64_t)((u128)tokens * bucket->refill_ns / bucket->size);
}

/* The time that `tokens` take to arrive. */
static uint64_t time_of(const struct token_bucket *bucket, uint64_t tokens)
{
	u128 time_ns = (u128)tokens * bucket->refill_ns / bucket->size;

	return time_ns < UINT64_MAX / 2 ? (uint64_t)time_ns : UINT64_MAX / 2;
}

bool token_bucket_take(struct token_bucket *bucket, uint64_t now_ns, uint64_t count)
{
	if (bucket->size == 0) {
		return true;
	}
	if (bucket->burst > 0 && count <= bucket->burst) {
		bucket->burst -= count;
		bucket->updated_ns = now_ns;
		return true;
	}
	uint64_t rest = count - bucket->burst;

	if (rest > bucket->budget) {
		if (now_ns < bucket->updated_ns) {
			return false; /* in debt */
		}
		refill(bucket, now_ns);
	}
	if (rest > bucket->size) {
		bucket->updated_ns = now_ns + time_of(bucket, rest - bucket->budget);
		bucket->budget = 0;
	} else if (rest <= bucket->budget) {
		bucket->budget -= rest;
	} else {
		return false;
	}
	bucket->burst = 0;
	return true;
}

uint64_t token_bucket_wait(const struct token_bucket *bucket, uint64_t now_ns, uint64_t count)
{
	if (bucket->size == 0 || (bucket->burst > 0 && count <= bucket->burst)) {
		return 0;
	}
	uint64_t rest = count - min_u64(count, bucket->burst);
	uint64_t missing = 0; /* as of updated_ns; more than the bucket can hold needs none */

	if (rest > bucket->budget && rest <= bucket->size) {
		missing = rest - bucket->budget;
	} else if (rest > 0 && rest <= bucket->budget) {
		return 0;
	}
	/* Rounded up: a fraction of a token is none. */
	u128 time_ns = ((u128)missing * bucket->refill_ns + bucket->size - 1) / bucket->size;
	uint64_t ready_ns = UINT64_MAX;

	if (time_ns > UINT64_MAX || !add_u64(bucket->updated_ns, (uint64_t)time_ns, &ready_ns)) {
		ready_ns = UINT64_MAX;
	}
	return ready_ns > now_ns ? ready_ns - now_ns : 0;
}

void token_bucket_save(const struct token_bucket *bucket, uint64_t now_ns,
		       struct token_bucket_state *state)
{
	bool is_in_debt = bucket->updated_ns > now_ns;

	*state = (struct token_bucket_state){
		.size = bucket->size,
		.refill_ns = bucket->refill_ns,
		.burst = bucket->burst,
		.budget = bucket->budget,
		.elapsed_ns = is_in_debt ? 0 : now_ns - bucket->updated_ns,
		.debt_ns = is_in_debt ? bucket->updated_ns - now_ns : 0,
	};
}

void token_bucket_load(struct token_bucket *bucket, uint64_t now_ns,
		       const struct token_bucket_state *state)
{
	if (state->size != bucket->size || state->refill_ns != bucket->refill_ns) {
		return;
	}
	bucket->burst = min_u64(state->burst, bucket->burst);
	bucket->budget = min_u64(state->budget, bucket->budget);
	if (state->debt_ns == 0) {
		/* More than the time of a whole bucket fills it as well. */
		bucket->updated_ns =
			now_ns - min_u64(min_u64(state->elapsed_ns, bucket->refill_ns), now_ns);
	} else if (!add_u64(now_ns, state->debt_ns, &bucket->updated_ns)) {
		bucket->updated_ns = UINT64_MAX;
	}
}

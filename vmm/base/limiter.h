/* SPDX-License-Identifier: Apache-2.0 */
/* A device's rate limit: bytes and operations together, and a timer that says when to go on. */
#ifndef VMM_BASE_LIMITER_H
#define VMM_BASE_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/clock.h"
#include "vmm/base/codec.h"
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
 * Embedded in its owner, whose lock covers it. `timer` expires on the loop's thread when a request
 * that was turned away may pass; its function calls limiter_unblock first.
 */
struct limiter {
	const struct clock *clock;
	struct evloop *loop;
	struct token_bucket bandwidth;
	struct token_bucket ops;
	struct ev_timer timer; /* made while there is a limit */
	bool is_blocked;
	/* as they were before the last take, for limiter_put_back */
	struct token_bucket old_bandwidth;
	struct token_bucket old_ops;
};

/* `fn` is limiter->timer's. No descriptor is used while there is no limit. Loop's thread. */
void limiter_init(struct limiter *limiter, struct evloop *loop, const struct clock *clock,
		  void (*fn)(struct ev_timer *timer));

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

/* In the timer's function, under the owner's lock. */
void limiter_unblock(struct limiter *limiter);

/* What is left of both buckets, in plain numbers. */
struct limiter_state {
	struct token_bucket_state bandwidth;
	struct token_bucket_state ops;
};

void limiter_save(const struct limiter *limiter, struct limiter_state *state);

/*
 * Into a limiter that was just configured, as token_bucket_load: neither burst nor bucket is full
 * again because its machine was loaded. The time in between does not count. Loop's thread.
 */
void limiter_load(struct limiter *limiter, const struct limiter_state *state);

/* In an open section. */
void token_bucket_state_codec(struct codec *codec, const char *name,
			      struct token_bucket_state *state);
void limiter_state_codec(struct codec *codec, const char *name, struct limiter_state *state);

#endif

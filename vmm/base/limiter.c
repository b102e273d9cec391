/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's rate limit.
 *
 * Theory of operation. A request pays into two buckets, bytes and operations, both or none. One
 * that is turned away arms the timer, and until that fires nothing passes: whoever asks in between
 * would only take what the one that waits needs, and requests are served in their order.
 *
 * The time to wait is computed from what is missing, so that a request passes when its tokens are
 * there and not up to a tick later; over time that is the same rate. But a wait is at least
 * wait_min_ns, since a timer per request would cost more than it gives: what arrives meanwhile is
 * served together.
 *
 * A request for more than a bucket holds passes at once and leaves a debt [compat]; then too the
 * timer is armed, for the time of the debt.
 *
 * Giving back restores both buckets as they were before the take, debt included.
 */
#include "vmm/base/limiter.h"

#include "vmm/base/bytes.h"

static const uint64_t wait_min_ns = NS_PER_MS;

void limiter_init(struct limiter *limiter, struct evloop *loop, const struct clock *clock,
		  void (*fn)(struct ev_timer *timer))
{
	*limiter = (struct limiter){
		.clock = clock,
		.loop = loop,
		.timer = {.fn = fn, .is_frozen_with_guest = true},
	};
}

void limiter_destroy(struct limiter *limiter)
{
	ev_timer_destroy(&limiter->timer);
	*limiter = (struct limiter){0};
}

static uint64_t now_ns(const struct limiter *limiter)
{
	return limiter->clock->now_ns(CLOCK_MONOTONIC);
}

static bool has_timer(const struct limiter *limiter)
{
	return limiter->timer.is_made;
}

/* Sets off the timer after `wait_ns`; 0: never. */
static void set_timer(struct limiter *limiter, uint64_t wait_ns)
{
	limiter->is_blocked = wait_ns != 0;
	ev_timer_set(&limiter->timer, wait_ns, 0);
}

static void set_bucket(struct token_bucket *bucket, const struct token_bucket_config *config,
		       uint64_t now)
{
	token_bucket_init(bucket, config->size, config->one_time_burst, config->refill_time_ms,
			  now);
}

int limiter_configure(struct limiter *limiter, const struct limiter_config *config,
		      struct error *err)
{
	uint64_t now = now_ns(limiter);
	struct token_bucket bandwidth = limiter->bandwidth;
	struct token_bucket ops = limiter->ops;

	if (config->has_bandwidth) {
		set_bucket(&bandwidth, &config->bandwidth, now);
	}
	if (config->has_ops) {
		set_bucket(&ops, &config->ops, now);
	}
	bool has_limit = bandwidth.size != 0 || ops.size != 0;

	if (has_limit && !has_timer(limiter) &&
	    ev_timer_init(&limiter->timer, limiter->loop, err) < 0) {
		return error_wrap(err, "Cannot limit a rate");
	}
	limiter->bandwidth = bandwidth;
	limiter->old_bandwidth = bandwidth;
	limiter->ops = ops;
	limiter->old_ops = ops;
	if (has_limit) {
		set_timer(limiter, 0);
	} else {
		ev_timer_destroy(&limiter->timer);
		limiter->is_blocked = false;
	}
	return 0;
}

static void block(struct limiter *limiter, uint64_t wait_ns)
{
	set_timer(limiter, max_u64(wait_ns, wait_min_ns));
}

static uint64_t find_debt(const struct limiter *limiter, uint64_t now)
{
	return max_u64(token_bucket_wait(&limiter->ops, now, 0),
		       token_bucket_wait(&limiter->bandwidth, now, 0));
}

bool limiter_take(struct limiter *limiter, uint64_t bytes)
{
	if (limiter->is_blocked) {
		return false;
	}
	if (!has_timer(limiter)) {
		return true; /* no limit */
	}
	uint64_t now = now_ns(limiter);

	limiter->old_ops = limiter->ops;
	limiter->old_bandwidth = limiter->bandwidth;
	if (!token_bucket_take(&limiter->ops, now, 1) ||
	    !token_bucket_take(&limiter->bandwidth, now, bytes)) {
		limiter->ops = limiter->old_ops;
		limiter->bandwidth = limiter->old_bandwidth;
		block(limiter, max_u64(token_bucket_wait(&limiter->ops, now, 1),
				       token_bucket_wait(&limiter->bandwidth, now, bytes)));
		return false;
	}
	uint64_t debt = find_debt(limiter, now);

	if (debt > 0) {
		block(limiter, debt);
	}
	return true;
}

void limiter_put_back(struct limiter *limiter, uint64_t bytes)
{
	(void)bytes;
	limiter->ops = limiter->old_ops;
	limiter->bandwidth = limiter->old_bandwidth;
	if (limiter->is_blocked) {
		set_timer(limiter, 0); /* by the debt that is no more */
	}
}

void limiter_unblock(struct limiter *limiter)
{
	limiter->is_blocked = false;
}

void limiter_save(const struct limiter *limiter, struct limiter_state *state)
{
	uint64_t now = now_ns(limiter);

	token_bucket_save(&limiter->bandwidth, now, &state->bandwidth);
	token_bucket_save(&limiter->ops, now, &state->ops);
}

void limiter_load(struct limiter *limiter, const struct limiter_state *state)
{
	uint64_t now = now_ns(limiter);

	if (!has_timer(limiter)) {
		return; /* no limit */
	}
	token_bucket_load(&limiter->bandwidth, now, &state->bandwidth);
	token_bucket_load(&limiter->ops, now, &state->ops);
	uint64_t debt = find_debt(limiter, now);

	if (debt > 0) {
		block(limiter, debt);
	}
}

void token_bucket_state_codec(struct codec *codec, const char *name,
			      struct token_bucket_state *state)
{
	codec_begin(codec, name);
	codec_u64(codec, "size", &state->size);
	codec_u64(codec, "refill_ns", &state->refill_ns);
	codec_u64(codec, "burst", &state->burst);
	codec_u64(codec, "budget", &state->budget);
	codec_u64(codec, "elapsed_ns", &state->elapsed_ns);
	codec_u64(codec, "debt_ns", &state->debt_ns);
	codec_end(codec);
}

void limiter_state_codec(struct codec *codec, const char *name, struct limiter_state *state)
{
	codec_begin(codec, name);
	token_bucket_state_codec(codec, "bandwidth", &state->bandwidth);
	token_bucket_state_codec(codec, "ops", &state->ops);
	codec_end(codec);
}

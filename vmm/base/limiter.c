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

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	NS_PER_S = 1000000000
};

static const uint64_t wait_min_ns = 1000000;

int limiter_init(struct limiter *limiter, struct evloop *loop, const struct clock *clock, ev_fn fn,
		 struct error *err)
{
	(void)err;
	*limiter = (struct limiter){
		.clock = clock,
		.loop = loop,
		.timer = {.fd = -1, .fn = fn, .is_frozen_with_guest = true},
	};
	return 0;
}

static void remove_timer(struct limiter *limiter)
{
	if (limiter->timer.is_added) {
		ev_del(limiter->loop, &limiter->timer);
		fd_close(&limiter->timer.fd);
	}
	limiter->is_blocked = false;
}

void limiter_destroy(struct limiter *limiter)
{
	remove_timer(limiter);
	*limiter = (struct limiter){.timer = {.fd = -1}};
}

static uint64_t now_ns(const struct limiter *limiter)
{
	return limiter->clock->now_ns(CLOCK_MONOTONIC);
}

static int add_timer(struct limiter *limiter, struct error *err)
{
	AUTO_FD fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0) {
		return error_sys(err, "Cannot create the timer of a rate limiter");
	}
	limiter->timer.fd = fd;
	if (ev_add(limiter->loop, &limiter->timer, EPOLLIN, err) < 0) {
		limiter->timer.fd = -1;
		return -1;
	}
	fd_take(&fd);
	return 0;
}

/* Sets off the timer after `wait_ns`; 0: never. */
static void set_timer(struct limiter *limiter, uint64_t wait_ns)
{
	const struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(wait_ns / NS_PER_S),
			     .tv_nsec = (long)(wait_ns % NS_PER_S)},
	};

	limiter->is_blocked = wait_ns != 0;
	/* Fails only for times that no clock reaches. */
	(void)timerfd_settime(limiter->timer.fd, 0, &when, NULL);
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

	if (has_limit && !limiter->timer.is_added && add_timer(limiter, err) < 0) {
		return -1;
	}
	limiter->bandwidth = bandwidth;
	limiter->old_bandwidth = bandwidth;
	limiter->ops = ops;
	limiter->old_ops = ops;
	if (has_limit) {
		set_timer(limiter, 0);
	} else {
		remove_timer(limiter);
	}
	return 0;
}

static void block(struct limiter *limiter, uint64_t wait_ns)
{
	/* The longest wait that a timer takes on every host: some 146 years. */
	set_timer(limiter, min_u64(max_u64(wait_ns, wait_min_ns), UINT64_MAX / 4));
}

bool limiter_take(struct limiter *limiter, uint64_t bytes)
{
	if (limiter->is_blocked) {
		return false;
	}
	if (!limiter->timer.is_added) {
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
	uint64_t debt = max_u64(token_bucket_wait(&limiter->ops, now, 0),
				token_bucket_wait(&limiter->bandwidth, now, 0));

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

bool limiter_drain(struct limiter *limiter)
{
	uint64_t count;

	if (read(limiter->timer.fd, &count, sizeof(count)) != (ssize_t)sizeof(count)) {
		return false;
	}
	limiter->is_blocked = false;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One thread's event loop on epoll: sources, timers and wakers embedded in their owners. */
#ifndef VMM_BASE_EVLOOP_H
#define VMM_BASE_EVLOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct ev_source;

/* `ready` has the epoll bits that fired. Must not block, and bounds its work per call. */
typedef void (*ev_fn)(struct ev_source *source, uint32_t ready);

/*
 * Embedded in its owner (container_of in the handler). The owner fills fd and fn before ev_add and
 * keeps the source alive until ev_del; the loop never closes the descriptor.
 */
struct ev_source {
	int fd;
	ev_fn fn;
	bool is_frozen_with_guest; /* silent while the machine is paused: see evloop_freeze */
	/* the loop's */
	uint32_t mask;
	bool is_added;
	struct ev_source *next; /* of those that freeze */
};

enum {
	EVLOOP_BATCH = 16
};

struct evloop {
	bool is_made;
	int epoll_fd;
	bool is_stopping;
	struct ev_source *batch[EVLOOP_BATCH]; /* what the running dispatch has yet to call */
	unsigned batch_count;
	bool is_frozen;
	struct ev_source *freezing; /* added sources with is_frozen_with_guest */
};

/* A zeroed or half-built loop may be destroyed. All calls are the loop's own thread's. */
MUST_CHECK int evloop_init(struct evloop *loop, struct error *err);
void evloop_destroy(struct evloop *loop);

/* Calls handlers until evloop_stop. */
MUST_CHECK int evloop_run(struct evloop *loop, struct error *err);

/* Waits up to `timeout_ms` (-1: no limit) and dispatches one batch. */
MUST_CHECK int evloop_run_once(struct evloop *loop, int timeout_ms, struct error *err);

/* No handler is called after the one that calls this, and evloop_run returns. */
void evloop_stop(struct evloop *loop);

/* `mask` of EPOLLIN, EPOLLOUT...; level-triggered unless EPOLLET is given. */
MUST_CHECK int ev_add(struct evloop *loop, struct ev_source *source, uint32_t mask,
		      struct error *err);

/*
 * Changes what is waited for; 0 silences a source, but for one call at most when its peer hangs up.
 * Only for added sources.
 */
void ev_mod(struct evloop *loop, struct ev_source *source, uint32_t mask);

/*
 * Removes a source; fine for one that was not added. A handler may remove any source, itself too:
 * one whose event is in the current batch is not called any more.
 */
void ev_del(struct evloop *loop, struct ev_source *source);

/*
 * No source with is_frozen_with_guest is called until evloop_thaw, which then finds what became
 * ready meanwhile. Such sources may be added, changed and removed in between. Idempotent.
 */
void evloop_freeze(struct evloop *loop);
void evloop_thaw(struct evloop *loop);

/*
 * A timer on CLOCK_MONOTONIC. The owner zeroes it, and fills fn and is_frozen_with_guest before
 * ev_timer_init; the rest is evloop.c's. All calls are on the loop's thread, but for ev_timer_set,
 * which any thread may call once the timer is made.
 */
struct ev_timer {
	bool is_made;
	/* Called once for all expirations since the last call, never for one before ev_timer_set.
	 */
	void (*fn)(struct ev_timer *timer);
	bool is_frozen_with_guest; /* as struct ev_source's */
	struct evloop *loop;
	struct ev_source source;
};

MUST_CHECK int ev_timer_init(struct ev_timer *timer, struct evloop *loop, struct error *err);

/* Frees the descriptor; fn stays. A zeroed one is fine. */
void ev_timer_destroy(struct ev_timer *timer);

/* Expires after `first_ns` (0: never, capped at some 146 years), then each `period_ns` (0: once).
 */
void ev_timer_set(struct ev_timer *timer, uint64_t first_ns, uint64_t period_ns);

/* How another thread calls a function on the loop's. As a timer: zeroed, filled, made. */
struct ev_wake {
	bool is_made;
	void (*fn)(struct ev_wake *wake); /* once for all signals since the last call */
	bool is_frozen_with_guest;
	struct evloop *loop;
	struct ev_source source;
};

MUST_CHECK int ev_wake_init(struct ev_wake *wake, struct evloop *loop, struct error *err);
void ev_wake_destroy(struct ev_wake *wake);

/* From any thread; one write(2). */
void ev_wake_signal(struct ev_wake *wake);

#endif

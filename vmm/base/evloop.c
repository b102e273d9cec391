/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event loop on epoll.
 *
 * Theory of operation. epoll hands back pointers to sources. One dispatch fetches a batch of them
 * and calls each handler in turn; a handler may remove any source, even free its owner, while the
 * batch still holds a pointer to it. ev_del therefore strikes the source out of the batch that is
 * being dispatched, and nothing else is needed: epoll itself forgets a source at EPOLL_CTL_DEL.
 *
 * epoll reports hangups and errors whatever the mask, so a silenced source whose peer has gone
 * would keep the loop spinning. Silence is therefore edge-triggered: such news comes once at most.
 *
 * A frozen source stays in the set, silenced, so that thawing can't fail; what epoll or the batch
 * under way still says of it is dropped. Nothing is lost by that: EPOLL_CTL_MOD looks at the file
 * anew and reports what is ready, to edge-triggered sources too.
 *
 * Timers and wakers are sources whose descriptor is a counter. It is read before their function is
 * called. A timer that was set anew between epoll's report and the read has a counter of 0 again:
 * such a report is dropped.
 */
#include "vmm/base/evloop.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"

int evloop_init(struct evloop *loop, struct error *err)
{
	*loop = (struct evloop){.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
	if (loop->epoll_fd < 0) {
		return error_sys(err, "Cannot create the event loop");
	}
	loop->is_made = true;
	return 0;
}

void evloop_destroy(struct evloop *loop)
{
	if (loop->is_made) {
		close(loop->epoll_fd);
	}
	*loop = (struct evloop){0};
}

static int control(const struct evloop *loop, int operation, struct ev_source *source,
		   uint32_t mask)
{
	struct epoll_event event = {.events = mask != 0 ? mask : EPOLLET, .data.ptr = source};

	return epoll_ctl(loop->epoll_fd, operation, source->fd, &event);
}

static bool is_frozen(const struct evloop *loop, const struct ev_source *source)
{
	return loop->is_frozen && source->is_frozen_with_guest;
}

int evloop_run_once(struct evloop *loop, int timeout_ms, struct error *err)
{
	struct epoll_event events[EVLOOP_BATCH] UNINITIALIZED; /* read as far as it is filled */
	int count = epoll_wait(loop->epoll_fd, events, EVLOOP_BATCH, timeout_ms);

	if (count < 0) {
		if (errno == EINTR) {
			return 0;
		}
		return error_sys(err, "Cannot wait for events");
	}
	for (int i = 0; i < count; i++) {
		loop->batch[i] = events[i].data.ptr;
	}
	loop->batch_count = (unsigned)count;
	for (int i = 0; i < count && !loop->is_stopping; i++) {
		struct ev_source *source = loop->batch[i];

		if (source == NULL || is_frozen(loop, source)) {
			continue;
		}
		/* An earlier handler of the batch may have silenced it. */
		uint32_t ready = events[i].events & (source->mask | EPOLLERR | EPOLLHUP);

		if (ready != 0) {
			source->fn(source, ready);
		}
	}
	loop->batch_count = 0;
	return 0;
}

int evloop_run(struct evloop *loop, struct error *err)
{
	while (!loop->is_stopping) {
		if (evloop_run_once(loop, -1, err) < 0) {
			return -1;
		}
	}
	return 0;
}

void evloop_stop(struct evloop *loop)
{
	loop->is_stopping = true;
}

int ev_add(struct evloop *loop, struct ev_source *source, uint32_t mask, struct error *err)
{
	if (control(loop, EPOLL_CTL_ADD, source, is_frozen(loop, source) ? 0 : mask) < 0) {
		return error_sys(err, "Cannot wait for descriptor %d", source->fd);
	}
	source->mask = mask;
	source->is_added = true;
	if (source->is_frozen_with_guest) {
		source->next = loop->freezing;
		loop->freezing = source;
	}
	return 0;
}

void ev_mod(struct evloop *loop, struct ev_source *source, uint32_t mask)
{
	if (!source->is_added || source->mask == mask) {
		return;
	}
	source->mask = mask;
	if (!is_frozen(loop, source)) {
		/* Changing a descriptor that is in the set can't fail [epoll_ctl(2)]. */
		control(loop, EPOLL_CTL_MOD, source, mask);
	}
}

static void forget_freezing(struct evloop *loop, const struct ev_source *source)
{
	struct ev_source **at = &loop->freezing;

	while (*at != NULL && *at != source) {
		at = &(*at)->next;
	}
	if (*at != NULL) {
		*at = source->next;
	}
}

void ev_del(struct evloop *loop, struct ev_source *source)
{
	if (!source->is_added) {
		return;
	}
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	source->is_added = false;
	forget_freezing(loop, source);
	for (unsigned i = 0; i < loop->batch_count; i++) {
		if (loop->batch[i] == source) {
			loop->batch[i] = NULL;
		}
	}
}

void evloop_freeze(struct evloop *loop)
{
	if (loop->is_frozen) {
		return;
	}
	loop->is_frozen = true;
	for (struct ev_source *source = loop->freezing; source != NULL; source = source->next) {
		control(loop, EPOLL_CTL_MOD, source, 0);
	}
}

void evloop_thaw(struct evloop *loop)
{
	if (!loop->is_frozen) {
		return;
	}
	loop->is_frozen = false;
	for (struct ev_source *source = loop->freezing; source != NULL; source = source->next) {
		control(loop, EPOLL_CTL_MOD, source, source->mask);
	}
}

/* --- timers and wakers --- */

/* Resets a counter of timerfd or eventfd; false if it is 0. */
static bool take_count(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

/* Adds the source of a timer or waker, which gets the descriptor. */
static int add_counter(struct evloop *loop, struct ev_source *source, int fd, struct error *err)
{
	source->fd = fd;
	if (ev_add(loop, source, EPOLLIN, err) < 0) {
		fd_close(&source->fd);
		return -1;
	}
	return 0;
}

static void on_timer(struct ev_source *source, uint32_t ready)
{
	struct ev_timer *timer = container_of(source, struct ev_timer, source);

	(void)ready;
	if (take_count(source->fd)) {
		timer->fn(timer);
	}
}

int ev_timer_init(struct ev_timer *timer, struct evloop *loop, struct error *err)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0) {
		return error_sys(err, "Cannot create a timer");
	}
	timer->source = (struct ev_source){.fn = on_timer,
					   .is_frozen_with_guest = timer->is_frozen_with_guest};
	if (add_counter(loop, &timer->source, fd, err) < 0) {
		return -1;
	}
	timer->loop = loop;
	timer->is_made = true;
	return 0;
}

void ev_timer_destroy(struct ev_timer *timer)
{
	if (timer->is_made) {
		ev_del(timer->loop, &timer->source);
		fd_close(&timer->source.fd);
		timer->is_made = false;
	}
}

static struct timespec timespec_of(uint64_t ns)
{
	/* The longest time that a timer takes on every host. */
	ns = min_u64(ns, UINT64_MAX / 4);
	return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S),
				 .tv_nsec = (long)(ns % NS_PER_S)};
}

void ev_timer_set(struct ev_timer *timer, uint64_t first_ns, uint64_t period_ns)
{
	const struct itimerspec when = {
		.it_value = timespec_of(first_ns),
		.it_interval = timespec_of(period_ns),
	};

	/* Can't fail: the descriptor is a timer's, the times are valid. */
	(void)timerfd_settime(timer->source.fd, 0, &when, NULL);
}

static void on_wake(struct ev_source *source, uint32_t ready)
{
	struct ev_wake *wake = container_of(source, struct ev_wake, source);

	(void)ready;
	if (take_count(source->fd)) {
		wake->fn(wake);
	}
}

int ev_wake_init(struct ev_wake *wake, struct evloop *loop, struct error *err)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0) {
		return error_sys(err, "Cannot create an eventfd");
	}
	wake->source = (struct ev_source){.fn = on_wake,
					  .is_frozen_with_guest = wake->is_frozen_with_guest};
	if (add_counter(loop, &wake->source, fd, err) < 0) {
		return -1;
	}
	wake->loop = loop;
	wake->is_made = true;
	return 0;
}

void ev_wake_destroy(struct ev_wake *wake)
{
	if (wake->is_made) {
		ev_del(wake->loop, &wake->source);
		fd_close(&wake->source.fd);
		wake->is_made = false;
	}
}

void ev_wake_signal(struct ev_wake *wake)
{
	/* Fails only when 2^64 - 2 signals are pending, which is a signal pending. */
	(void)!eventfd_write(wake->source.fd, 1);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/evloop.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/evloop.h"

/* A source on an eventfd that counts its calls and may do something to another. */
struct probe {
	struct ev_source source;
	struct evloop *loop;
	struct probe *victim;
	void (*act)(struct probe *self);
	bool is_frozen_with_guest;
	unsigned calls;
	uint32_t ready;
};

static void on_probe(struct ev_source *source, uint32_t ready)
{
	struct probe *probe = container_of(source, struct probe, source);

	probe->calls++;
	probe->ready = ready;
	if (probe->act != NULL) {
		probe->act(probe);
	}
}

static void add(struct evloop *loop, struct probe *probe, int fd, uint32_t mask)
{
	struct error err = {0};

	probe->loop = loop;
	probe->source = (struct ev_source){
		.fd = fd, .fn = on_probe, .is_frozen_with_guest = probe->is_frozen_with_guest};
	cr_assert(ev_add(loop, &probe->source, mask, &err) == 0, "%s", err.msg);
}

/* One that is ready to be read from the start. */
static void add_ready(struct evloop *loop, struct probe *probe)
{
	add(loop, probe, eventfd(1, EFD_NONBLOCK), EPOLLIN);
}

static void start(struct evloop *loop)
{
	struct error err = {0};

	cr_assert(evloop_init(loop, &err) == 0);
}

static void once(struct evloop *loop, int timeout_ms)
{
	struct error err = {0};

	cr_assert(evloop_run_once(loop, timeout_ms, &err) == 0, "%s", err.msg);
}

static void delete_victim(struct probe *self)
{
	ev_del(self->loop, &self->victim->source);
}

static void silence_victim(struct probe *self)
{
	ev_mod(self->loop, &self->victim->source, 0);
}

static void re_add_victim(struct probe *self)
{
	struct error err = {0};

	ev_del(self->loop, &self->victim->source);
	cr_assert(ev_add(self->loop, &self->victim->source, EPOLLIN, &err) == 0);
}

static void stop_loop(struct probe *self)
{
	evloop_stop(self->loop);
}

/* Both act on each other, so whichever comes first in the batch, only one may be called. */
Test(evloop, a_handler_may_take_another_source_out_of_its_batch)
{
	static void (*const acts[])(struct probe *) = {delete_victim, silence_victim,
						       re_add_victim};

	for (size_t i = 0; i < ARRAY_COUNT(acts); i++) {
		struct evloop loop;
		struct probe one = {.act = acts[i]};
		struct probe two = {.act = acts[i], .victim = &one};

		one.victim = &two;
		start(&loop);
		add_ready(&loop, &one);
		add_ready(&loop, &two);
		once(&loop, 0);
		cr_expect(one.calls + two.calls == 1, "act %zu: %u + %u", i, one.calls, two.calls);
		evloop_destroy(&loop);
	}
}

Test(evloop, a_handler_may_delete_itself)
{
	struct evloop loop;
	struct probe one = {.act = delete_victim};

	one.victim = &one;
	start(&loop);
	add_ready(&loop, &one);
	once(&loop, 0);
	once(&loop, 0);
	cr_assert(one.calls == 1 && !one.source.is_added);
	ev_del(&loop, &one.source);
	evloop_destroy(&loop);
}

Test(evloop, mask_0_silences_and_a_later_mask_wakes)
{
	struct evloop loop;
	struct probe one = {0};

	start(&loop);
	add_ready(&loop, &one);
	ev_mod(&loop, &one.source, 0);
	once(&loop, 0);
	cr_assert(one.calls == 0);
	ev_mod(&loop, &one.source, EPOLLIN);
	once(&loop, 0);
	cr_assert(one.calls == 1 && one.ready == EPOLLIN);
	/* Level-triggered. */
	once(&loop, 0);
	cr_assert(one.calls == 2);
	evloop_destroy(&loop);
}

/* epoll reports hangups and errors whatever the mask: a loop must not spin on them. */
Test(evloop, a_silenced_source_does_not_spin_on_a_hangup)
{
	for (int end = 0; end < 2; end++) {
		for (int is_added_silent = 0; is_added_silent < 2; is_added_silent++) {
			struct evloop loop;
			struct probe one = {0};
			int ends[2];

			start(&loop);
			cr_assert(pipe(ends) == 0);
			add(&loop, &one, ends[end], is_added_silent ? 0 : EPOLLIN);
			ev_mod(&loop, &one.source, 0);
			close(ends[1 - end]);
			for (int i = 0; i < 10; i++) {
				once(&loop, 0);
			}
			cr_expect(one.calls <= 1, "end %d: %u calls", end, one.calls);
			ev_mod(&loop, &one.source, end == 0 ? EPOLLIN : EPOLLOUT);
			one.calls = 0;
			once(&loop, 0);
			once(&loop, 0);
			cr_expect(one.calls == 2, "end %d: not woken", end);
			evloop_destroy(&loop);
			close(ends[end]);
		}
	}
}

/* What devices' notifications rely on. */
Test(evloop, an_eventfd_that_is_never_read_has_an_edge_with_every_write)
{
	struct evloop loop;
	struct probe one = {0};
	int fd = eventfd(0, EFD_NONBLOCK);

	start(&loop);
	add(&loop, &one, fd, EPOLLIN | EPOLLET);
	for (unsigned i = 1; i < 10; i++) {
		cr_assert(eventfd_write(fd, 1) == 0);
		once(&loop, 0);
		once(&loop, 0);
		cr_assert(one.calls == i);
	}
	evloop_destroy(&loop);
	close(fd);
}

Test(evloop, changing_a_source_that_was_never_added_does_nothing)
{
	struct evloop loop;
	struct probe one = {.source = {.fd = -1, .fn = on_probe}};

	start(&loop);
	ev_mod(&loop, &one.source, EPOLLIN);
	ev_del(&loop, &one.source);
	cr_assert(!one.source.is_added);
	evloop_destroy(&loop);
}

Test(evloop, what_cannot_be_waited_for_is_refused)
{
	struct evloop loop;
	const struct {
		int fd;
		int sys;
	} cases[] = {{file_of("x", 1), EPERM}, {-1, EBADF}, {12345, EBADF}};

	start(&loop);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct ev_source source = {.fd = cases[i].fd, .fn = on_probe};
		struct error err = {0};

		cr_expect(ev_add(&loop, &source, EPOLLIN, &err) == -1);
		cr_expect(err.sys == cases[i].sys && !source.is_added, "%s", err.msg);
	}
	evloop_destroy(&loop);
}

Test(evloop, more_sources_than_a_batch_are_all_served)
{
	static struct probe probes[3 * EVLOOP_BATCH];
	struct evloop loop;

	start(&loop);
	for (size_t i = 0; i < ARRAY_COUNT(probes); i++) {
		add_ready(&loop, &probes[i]);
	}
	for (int i = 0; i < 3; i++) {
		once(&loop, 0);
	}
	for (size_t i = 0; i < ARRAY_COUNT(probes); i++) {
		cr_expect(probes[i].calls == 1, "source %zu: %u", i, probes[i].calls);
	}
	evloop_destroy(&loop);
}

Test(evloop, run_returns_after_the_handler_that_stops, .timeout = 5)
{
	struct evloop loop;
	struct probe one = {.act = stop_loop};
	struct probe two = {.act = stop_loop};
	struct error err = {0};

	start(&loop);
	add_ready(&loop, &one);
	add_ready(&loop, &two);
	cr_assert(evloop_run(&loop, &err) == 0);
	cr_assert(one.calls + two.calls == 1, "%u + %u", one.calls, two.calls);
	evloop_destroy(&loop);
}

static void on_signal(int signo)
{
	(void)signo;
}

Test(evloop, a_signal_is_no_error, .timeout = 5)
{
	struct evloop loop;
	struct sigaction action = {.sa_handler = on_signal};
	struct itimerspec soon = {.it_value = {.tv_nsec = 20000000}};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	timer_t timer;

	start(&loop);
	sigaction(SIGUSR1, &action, NULL);
	cr_assert(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	timer_settime(timer, 0, &soon, NULL);
	once(&loop, -1);
	evloop_destroy(&loop);
}

Test(evloop, a_zeroed_loop_may_be_destroyed)
{
	struct evloop loop = {0};

	evloop_destroy(&loop);
	cr_assert(fcntl(0, F_GETFD) >= 0, "standard input was closed");
}

Test(evloop, frozen_sources_are_silent_and_the_others_are_not)
{
	struct evloop loop;
	struct probe guest = {.is_frozen_with_guest = true};
	struct probe api = {0};

	start(&loop);
	add_ready(&loop, &guest);
	add_ready(&loop, &api);
	evloop_freeze(&loop);
	evloop_freeze(&loop);
	once(&loop, 0);
	once(&loop, 0);
	cr_assert(guest.calls == 0 && api.calls == 2);
	evloop_thaw(&loop);
	evloop_thaw(&loop);
	once(&loop, 0);
	cr_assert(guest.calls == 1 && api.calls == 3);
	evloop_destroy(&loop);
}

/* What became ready before, during and after; level-triggered or not. */
Test(evloop, thaw_finds_what_became_ready_meanwhile)
{
	static const uint32_t masks[] = {EPOLLIN, EPOLLIN | EPOLLET};

	for (size_t i = 0; i < ARRAY_COUNT(masks); i++) {
		for (int is_early = 0; is_early < 2; is_early++) {
			struct evloop loop;
			struct probe one = {.is_frozen_with_guest = true};
			int fd = eventfd(0, EFD_NONBLOCK);

			start(&loop);
			add(&loop, &one, fd, masks[i]);
			if (is_early) {
				cr_assert(eventfd_write(fd, 1) == 0);
			}
			evloop_freeze(&loop);
			if (!is_early) {
				cr_assert(eventfd_write(fd, 1) == 0);
			}
			once(&loop, 0);
			cr_expect(one.calls == 0);
			evloop_thaw(&loop);
			once(&loop, 0);
			cr_expect(one.calls == 1 && one.ready == EPOLLIN, "mask %zu, %d", i,
				  is_early);
			evloop_destroy(&loop);
			close(fd);
		}
	}
}

Test(evloop, a_hangup_while_frozen_is_told_after_the_thaw)
{
	struct evloop loop;
	struct probe one = {.is_frozen_with_guest = true};
	int ends[2];

	start(&loop);
	cr_assert(pipe(ends) == 0);
	add(&loop, &one, ends[0], EPOLLIN | EPOLLET);
	evloop_freeze(&loop);
	close(ends[1]);
	for (int i = 0; i < 5; i++) {
		once(&loop, 0);
	}
	cr_assert(one.calls == 0);
	evloop_thaw(&loop);
	once(&loop, 0);
	cr_assert(one.calls == 1 && one.ready == EPOLLHUP);
	evloop_destroy(&loop);
	close(ends[0]);
}

Test(evloop, sources_come_change_and_go_while_frozen)
{
	struct evloop loop;
	struct probe probes[4];

	start(&loop);
	for (size_t i = 0; i < ARRAY_COUNT(probes); i++) {
		probes[i] = (struct probe){.is_frozen_with_guest = true};
		if (i == 1) {
			evloop_freeze(&loop);
		}
		add_ready(&loop, &probes[i]);
	}
	ev_del(&loop, &probes[0].source); /* from before */
	ev_del(&loop, &probes[2].source); /* from the middle of the list */
	ev_mod(&loop, &probes[3].source, 0);
	once(&loop, 0);
	for (size_t i = 0; i < ARRAY_COUNT(probes); i++) {
		cr_expect(probes[i].calls == 0, "source %zu", i);
	}
	evloop_thaw(&loop);
	once(&loop, 0);
	cr_assert(probes[0].calls == 0 && probes[1].calls == 1);
	cr_assert(probes[2].calls == 0 && probes[3].calls == 0);
	ev_mod(&loop, &probes[3].source, EPOLLIN);
	once(&loop, 0);
	cr_assert(probes[1].calls == 2 && probes[3].calls == 1);
	evloop_destroy(&loop);
}

static void freeze_loop(struct probe *self)
{
	evloop_freeze(self->loop);
}

/* Whichever comes first in the batch freezes the other. */
Test(evloop, freezing_takes_effect_within_the_batch)
{
	struct evloop loop;
	struct probe one = {.is_frozen_with_guest = true, .act = freeze_loop};
	struct probe two = {.is_frozen_with_guest = true, .act = freeze_loop};

	start(&loop);
	add_ready(&loop, &one);
	add_ready(&loop, &two);
	once(&loop, 0);
	cr_assert(one.calls + two.calls == 1);
	evloop_destroy(&loop);
}

/* --- timers and wakers --- */

struct alarm {
	struct ev_timer timer;
	struct alarm *other; /* set to a later time when this one expires */
	unsigned calls;
};

static void on_alarm(struct ev_timer *timer)
{
	struct alarm *alarm = container_of(timer, struct alarm, timer);

	alarm->calls++;
	if (alarm->other != NULL) {
		ev_timer_set(&alarm->other->timer, 3600 * NS_PER_S, 0);
	}
}

static void make_alarm(struct evloop *loop, struct alarm *alarm)
{
	struct error err = {0};

	alarm->timer.fn = on_alarm;
	cr_assert(ev_timer_init(&alarm->timer, loop, &err) == 0, "%s", err.msg);
}

Test(evloop, a_timer_expires_once_or_each_period)
{
	struct evloop loop;
	struct alarm alarm = {0};
	const time_t year_s = INT64_C(365) * 24 * 60 * 60;
	struct itimerspec left;

	start(&loop);
	make_alarm(&loop, &alarm);
	once(&loop, 5);
	cr_assert(alarm.calls == 0, "it was not set");
	ev_timer_set(&alarm.timer, 1, 0);
	once(&loop, -1);
	once(&loop, 5);
	cr_assert(alarm.calls == 1, "%u", alarm.calls);
	ev_timer_set(&alarm.timer, 1, NS_PER_MS);
	for (int i = 0; i < 3; i++) {
		once(&loop, -1);
	}
	cr_assert(alarm.calls == 4, "%u", alarm.calls);
	ev_timer_set(&alarm.timer, 0, 0);
	once(&loop, 5);
	cr_assert(alarm.calls == 4, "it was stopped");
	ev_timer_set(&alarm.timer, UINT64_MAX, UINT64_MAX);
	cr_assert(timerfd_gettime(alarm.timer.source.fd, &left) == 0);
	cr_assert(left.it_value.tv_sec > 100 * year_s && left.it_value.tv_sec < 150 * year_s);
	ev_timer_destroy(&alarm.timer);
	ev_timer_destroy(&alarm.timer);
	evloop_destroy(&loop);
}

/* Both are in one batch; whichever comes first, the other has not expired any more. */
Test(evloop, a_timer_that_was_set_anew_has_not_expired)
{
	struct evloop loop;
	struct alarm one = {0};
	struct alarm two = {.other = &one};
	struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};

	one.other = &two;
	start(&loop);
	make_alarm(&loop, &one);
	make_alarm(&loop, &two);
	ev_timer_set(&one.timer, 1, 0);
	ev_timer_set(&two.timer, 1, 0);
	nanosleep(&pause, NULL);
	once(&loop, 0);
	cr_assert(one.calls + two.calls == 1, "%u + %u", one.calls, two.calls);
	ev_timer_destroy(&one.timer);
	ev_timer_destroy(&two.timer);
	evloop_destroy(&loop);
}

struct sleeper {
	struct ev_wake wake;
	unsigned calls;
};

static void on_sleeper(struct ev_wake *wake)
{
	container_of(wake, struct sleeper, wake)->calls++;
}

static void *signal_twice(void *arg)
{
	struct sleeper *sleeper = arg;

	ev_wake_signal(&sleeper->wake);
	ev_wake_signal(&sleeper->wake);
	return NULL;
}

Test(evloop, a_waker_is_called_once_for_what_other_threads_signalled)
{
	struct evloop loop;
	struct sleeper sleeper = {.wake = {.fn = on_sleeper, .is_frozen_with_guest = true}};
	struct error err = {0};
	pthread_t thread;

	start(&loop);
	cr_assert(ev_wake_init(&sleeper.wake, &loop, &err) == 0, "%s", err.msg);
	pthread_create(&thread, NULL, signal_twice, &sleeper);
	pthread_join(thread, NULL);
	evloop_freeze(&loop);
	once(&loop, 5);
	cr_assert(sleeper.calls == 0, "it is frozen");
	evloop_thaw(&loop);
	once(&loop, -1);
	once(&loop, 5);
	cr_assert(sleeper.calls == 1, "%u", sleeper.calls);
	ev_wake_destroy(&sleeper.wake);
	ev_wake_destroy(&sleeper.wake);
	evloop_destroy(&loop);
}

Test(evloop, zeroed_ones_may_be_destroyed_and_close_nothing)
{
	struct evloop loop = {0};
	struct ev_timer timer = {0};
	struct ev_wake wake = {0};
	int is_open = fcntl(STDIN_FILENO, F_GETFD);

	ev_timer_destroy(&timer);
	ev_wake_destroy(&wake);
	evloop_destroy(&loop);
	cr_assert(is_open >= 0 && fcntl(STDIN_FILENO, F_GETFD) == is_open);
}

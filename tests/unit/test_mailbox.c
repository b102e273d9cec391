/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/control/mailbox.c. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/control/mailbox.h"

enum {
	ASKS = 20000
};

/* The answering side, on the test's thread. */
struct answerer {
	struct evloop loop;
	struct mailbox mailbox;
	unsigned answered;
	unsigned close_at;  /* closes while it answers this one; 0: never */
	unsigned close_for; /* spins as long before it goes on */
};

/* The asking side, on a thread of its own. */
struct asker {
	struct mailbox *mailbox;
	pthread_t thread;
	unsigned asks;
	unsigned refused;
	unsigned wrong;
	_Atomic bool is_done;
};

static void answer(void *arg, void *request)
{
	struct answerer *answerer = arg;
	unsigned *number = request;

	answerer->answered++;
	if (answerer->answered == answerer->close_at) {
		mailbox_close(&answerer->mailbox);
		usleep(answerer->close_for);
	}
	*number = *number * 2 + 1;
}

static void *asker_main(void *arg)
{
	struct asker *asker = arg;

	for (unsigned i = 0; i < asker->asks; i++) {
		unsigned number = i;

		if (mailbox_ask(asker->mailbox, &number) < 0) {
			asker->refused++;
			asker->wrong += number != i;
		} else {
			asker->wrong += number != i * 2 + 1;
		}
	}
	atomic_store(&asker->is_done, true);
	return NULL;
}

static void set_up(struct answerer *answerer)
{
	struct error err = {0};

	*answerer = (struct answerer){0};
	cr_assert_eq(evloop_init(&answerer->loop, &err), 0);
	cr_assert_eq(mailbox_init(&answerer->mailbox, &answerer->loop, answer, answerer, &err), 0);
}

static void start(struct asker *asker, struct answerer *answerer, unsigned asks)
{
	*asker = (struct asker){.mailbox = &answerer->mailbox, .asks = asks};
	cr_assert_eq(pthread_create(&asker->thread, NULL, asker_main, asker), 0);
}

static void once(struct answerer *answerer, int timeout_ms)
{
	struct error err = {0};

	cr_assert_eq(evloop_run_once(&answerer->loop, timeout_ms, &err), 0);
}

static void tear_down(struct answerer *answerer)
{
	mailbox_close(&answerer->mailbox);
	mailbox_destroy(&answerer->mailbox);
	evloop_destroy(&answerer->loop);
}

Test(mailbox, every_request_is_answered_in_place, .timeout = 60)
{
	struct answerer answerer;
	struct asker asker;

	set_up(&answerer);
	start(&asker, &answerer, ASKS);
	while (!atomic_load(&asker.is_done)) {
		once(&answerer, 10);
	}
	pthread_join(asker.thread, NULL);
	cr_expect_eq(answerer.answered, ASKS);
	cr_expect_eq(asker.refused, 0);
	cr_expect_eq(asker.wrong, 0);
	tear_down(&answerer);
}

Test(mailbox, who_asks_a_closed_one_is_refused_at_once, .timeout = 10)
{
	struct answerer answerer;
	unsigned number = 7;

	set_up(&answerer);
	mailbox_close(&answerer.mailbox);
	mailbox_close(&answerer.mailbox);
	cr_expect_eq(mailbox_ask(&answerer.mailbox, &number), -1);
	once(&answerer, 0);
	cr_expect_eq(answerer.answered, 0);
	cr_expect_eq(number, 7);
	tear_down(&answerer);
}

Test(mailbox, closing_lets_a_waiting_thread_go_unanswered, .timeout = 10)
{
	struct answerer answerer;
	struct asker asker;

	set_up(&answerer);
	start(&asker, &answerer, 1);
	/* The request is there when its wake is, and nobody serves the loop. */
	eventfd_t count = 0;

	while (read(answerer.mailbox.wake.source.fd, &count, sizeof(count)) < 0) {
		usleep(1000);
	}
	mailbox_close(&answerer.mailbox);
	pthread_join(asker.thread, NULL);
	cr_expect_eq(asker.refused, 1);
	cr_expect_eq(asker.wrong, 0);
	cr_expect_eq(answerer.answered, 0);
	tear_down(&answerer);
}

Test(mailbox, a_request_left_behind_by_its_asker_is_not_touched, .timeout = 10)
{
	struct answerer answerer;
	struct asker asker;

	set_up(&answerer);
	start(&asker, &answerer, 1);
	while (answerer.mailbox.is_made) {
		pthread_mutex_lock(&answerer.mailbox.lock);
		bool is_asked = answerer.mailbox.request != NULL;

		pthread_mutex_unlock(&answerer.mailbox.lock);
		if (is_asked) {
			break;
		}
	}
	mailbox_close(&answerer.mailbox);
	pthread_join(asker.thread, NULL);
	/* Its stack is gone, the wake is not. */
	once(&answerer, 100);
	cr_expect_eq(answerer.answered, 0);
	tear_down(&answerer);
}

Test(mailbox, an_answer_given_while_closing_counts, .timeout = 20)
{
	static const unsigned waits_us[] = {0, 20000};

	for (size_t i = 0; i < ARRAY_COUNT(waits_us); i++) {
		struct answerer answerer;
		struct asker asker;

		set_up(&answerer);
		answerer.close_at = 3;
		answerer.close_for = waits_us[i];
		start(&asker, &answerer, 5);
		while (!atomic_load(&asker.is_done)) {
			once(&answerer, 10);
		}
		pthread_join(asker.thread, NULL);
		cr_expect_eq(answerer.answered, 3);
		cr_expect_eq(asker.refused, 2);
		cr_expect_eq(asker.wrong, 0);
		tear_down(&answerer);
	}
}

/* Closes from a third thread at a random moment. */
static void *closer_main(void *arg)
{
	struct answerer *answerer = arg;

	usleep((useconds_t)(answerer->close_for));
	mailbox_close(&answerer->mailbox);
	return NULL;
}

Test(mailbox, closing_while_asking_loses_no_answer, .timeout = 60)
{
	for (unsigned i = 0; i < 200; i++) {
		struct answerer answerer;
		struct asker asker;
		pthread_t closer;

		set_up(&answerer);
		answerer.close_for = i * 7 % 500;
		start(&asker, &answerer, 200);
		cr_assert_eq(pthread_create(&closer, NULL, closer_main, &answerer), 0);
		while (!atomic_load(&asker.is_done)) {
			once(&answerer, 10);
		}
		pthread_join(asker.thread, NULL);
		pthread_join(closer, NULL);
		cr_expect_eq(answerer.answered + asker.refused, 200);
		cr_expect_eq(asker.wrong, 0);
		tear_down(&answerer);
	}
}

Test(mailbox, a_zeroed_one_may_be_closed_and_destroyed)
{
	struct mailbox mailbox = {0};

	mailbox_close(&mailbox);
	mailbox_destroy(&mailbox);
}

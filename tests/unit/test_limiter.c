/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/limiter.c. The clock is the test's; the timer's is the host's. */
#include <criterion/criterion.h>
#include <sys/timerfd.h>

#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"
#include "vmm/base/limiter.h"

#define MS UINT64_C(1000000)

static uint64_t now;
static struct evloop loop;
static struct limiter limiter;
static unsigned fired;

static uint64_t fake_now_ns(clockid_t id)
{
	cr_assert(id == CLOCK_MONOTONIC);
	return now;
}

static const struct clock fake_clock = {.now_ns = fake_now_ns};

static void on_timer(struct ev_timer *timer)
{
	limiter_unblock(container_of(timer, struct limiter, timer));
	fired++;
}

static void set_up(void)
{
	struct error err = {0};

	cr_assert(evloop_init(&loop, &err) == 0);
	limiter_init(&limiter, &loop, &fake_clock, on_timer);
}

static void tear_down(void)
{
	limiter_destroy(&limiter);
	evloop_destroy(&loop);
}

TestSuite(limiter, .init = set_up, .fini = tear_down);

static void configure(uint64_t bytes, uint64_t ops, uint64_t refill_ms)
{
	struct limiter_config config = {
		.bandwidth = {.size = bytes, .refill_time_ms = refill_ms},
		.has_bandwidth = true,
		.ops = {.size = ops, .refill_time_ms = refill_ms},
		.has_ops = true,
	};
	struct error err = {0};

	cr_assert(limiter_configure(&limiter, &config, &err) == 0, "%s", err.msg);
}

/* What the timer was set to; it may have run on since by what the host's clock says. */
static uint64_t armed_ns(void)
{
	struct itimerspec left = {0};

	if (limiter.timer.is_made) {
		cr_assert(timerfd_gettime(limiter.timer.source.fd, &left) == 0);
	}
	return (uint64_t)left.it_value.tv_sec * 1000 * MS + (uint64_t)left.it_value.tv_nsec;
}

/* Lets the timer expire at once. */
static void expire(void)
{
	struct itimerspec soon = {.it_value = {.tv_nsec = 1}};
	struct error err = {0};
	unsigned before = fired;

	cr_assert(timerfd_settime(limiter.timer.source.fd, 0, &soon, NULL) == 0);
	while (fired == before) {
		cr_assert(evloop_run_once(&loop, -1, &err) == 0);
	}
}

Test(limiter, without_a_limit_all_passes_and_nothing_is_open)
{
	unsigned fds = kvm_fake_open_fds();

	cr_assert(limiter_take(&limiter, UINT64_MAX));
	configure(0, 0, 100);
	cr_assert(limiter_take(&limiter, UINT64_MAX));
	configure(10, 10, 0);
	cr_assert(limiter_take(&limiter, UINT64_MAX));
	cr_assert(kvm_fake_open_fds() == fds && !limiter.timer.is_made);
	configure(10, 10, 10);
	cr_assert(kvm_fake_open_fds() == fds + 1);
	configure(0, 0, 0);
	cr_assert(kvm_fake_open_fds() == fds, "a limit that was lifted");
	cr_assert(limiter_take(&limiter, UINT64_MAX));
}

Test(limiter, both_buckets_pay_or_none)
{
	static const struct {
		uint64_t bytes;
		uint64_t ops;
		unsigned passing; /* of takes of 10 bytes */
	} cases[] = {{100, 0, 10}, {0, 7, 7}, {100, 5, 5}, {50, 100, 5}, {59, 100, 5}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		configure(cases[i].bytes, cases[i].ops, 1000000);
		for (unsigned j = 0; j < cases[i].passing; j++) {
			cr_expect(limiter_take(&limiter, 10), "case %zu, take %u", i, j);
		}
		uint64_t bytes = limiter.bandwidth.budget;
		uint64_t ops = limiter.ops.budget;

		cr_expect(!limiter_take(&limiter, 10), "case %zu", i);
		cr_expect(limiter.is_blocked && limiter.bandwidth.budget == bytes &&
				  limiter.ops.budget == ops,
			  "case %zu: one bucket paid alone", i);
	}
}

Test(limiter, what_waits_passes_when_its_tokens_are_there)
{
	configure(1000, 0, 1000000); /* one byte per second */
	cr_assert(limiter_take(&limiter, 1000) && armed_ns() == 0);
	cr_assert(!limiter_take(&limiter, 500));
	cr_assert(armed_ns() > 490000 * MS && armed_ns() <= 500000 * MS);
	/* Blocked: also what would fit does not overtake. */
	now += 499000 * MS;
	cr_assert(!limiter_take(&limiter, 1));
	expire();
	cr_assert(!limiter_take(&limiter, 500), "one byte is missing");
	cr_assert(armed_ns() <= 1000 * MS && armed_ns() > 0);
	now += 1000 * MS;
	expire();
	cr_assert(limiter_take(&limiter, 500) && !limiter.is_blocked);
}

Test(limiter, waits_are_not_shorter_than_a_timer_is_worth)
{
	configure(1000000, 0, 1); /* a byte per ns */
	cr_assert(limiter_take(&limiter, 1000000));
	cr_assert(!limiter_take(&limiter, 1));
	struct itimerspec left;

	cr_assert(timerfd_gettime(limiter.timer.source.fd, &left) == 0);
	/* 1 ms, or it has expired by now. */
	cr_assert(left.it_value.tv_sec == 0 && left.it_value.tv_nsec <= 1000000);
	expire();
	cr_assert(!limiter.is_blocked);
}

Test(limiter, too_much_passes_and_blocks_until_it_is_paid)
{
	configure(100, 0, 100000);
	cr_assert(limiter_take(&limiter, 300));
	cr_assert(limiter.is_blocked && armed_ns() > 190000 * MS && armed_ns() <= 200000 * MS);
	cr_assert(!limiter_take(&limiter, 0));
	limiter_put_back(&limiter, 300);
	cr_assert(!limiter.is_blocked && armed_ns() == 0);
	cr_assert(limiter_take(&limiter, 300), "it can be tried again");
	now += 200000 * MS;
	expire();
	cr_assert(!limiter_take(&limiter, 1));
}

Test(limiter, what_is_put_back_can_be_taken)
{
	configure(100, 1, 1000000);
	for (int i = 0; i < 5; i++) {
		cr_assert(limiter_take(&limiter, 100), "round %d", i);
		limiter_put_back(&limiter, 100);
	}
	cr_assert(limiter_take(&limiter, 100));
	cr_assert(!limiter_take(&limiter, 1));
}

Test(limiter, an_update_replaces_what_it_has_and_unblocks)
{
	struct limiter_config update = {
		.ops = {.size = 3, .refill_time_ms = 1000000},
		.has_ops = true,
	};
	struct error err = {0};

	configure(100, 1, 1000000);
	cr_assert(limiter_take(&limiter, 60));
	cr_assert(!limiter_take(&limiter, 1));
	cr_assert(limiter_configure(&limiter, &update, &err) == 0);
	cr_assert(!limiter.is_blocked && armed_ns() == 0);
	cr_assert(limiter.bandwidth.budget == 40, "bandwidth was not in the update");
	cr_assert(limiter_take(&limiter, 20) && limiter_take(&limiter, 20));
	cr_assert(!limiter_take(&limiter, 1));
}

Test(limiter, the_timer_is_silent_while_the_machine_is_paused)
{
	struct itimerspec soon = {.it_value = {.tv_nsec = 1}};
	struct error err = {0};

	configure(1, 0, 1000000);
	cr_assert(limiter_take(&limiter, 1));
	cr_assert(!limiter_take(&limiter, 1));
	evloop_freeze(&loop);
	cr_assert(timerfd_settime(limiter.timer.source.fd, 0, &soon, NULL) == 0);
	for (int i = 0; i < 5; i++) {
		cr_assert(evloop_run_once(&loop, 1, &err) == 0);
	}
	cr_assert(fired == 0);
	evloop_thaw(&loop);
	while (fired == 0) {
		cr_assert(evloop_run_once(&loop, -1, &err) == 0);
	}
	cr_assert(!limiter.is_blocked);
}

/* 1000 bytes and 50 operations a second, asked for by whoever wakes up when the timer says. */
Test(limiter, the_rate_holds_over_time)
{
	uint64_t bytes = 0;

	configure(100, 5, 100);
	while (now < 100000 * MS) {
		if (limiter_take(&limiter, 30)) {
			bytes += 30;
			continue;
		}
		cr_assert(limiter.is_blocked);
		now += max_u64(1 * MS, max_u64(token_bucket_wait(&limiter.bandwidth, now, 30),
					       token_bucket_wait(&limiter.ops, now, 1)));
		expire();
	}
	cr_assert(bytes >= 99900 && bytes <= 100130, "%llu", (unsigned long long)bytes);
}

Test(limiter, a_zeroed_one_may_be_destroyed)
{
	struct limiter zeroed = {0};

	limiter_destroy(&zeroed);
	limiter_destroy(&zeroed);
}

/* --- saved and loaded --- */

Test(limiter, one_that_is_loaded_goes_on_with_what_was_left_and_waits_for_a_debt)
{
	const struct codec_file file = {.magic = 1, .format = 1, .writer = "test"};
	const struct codec_section section = {.tag = 1, .version = 1, .name = "limiter"};
	struct limiter_state saved;
	struct limiter_state loaded = {0};
	uint8_t bytes[512];
	struct codec codec;
	struct error err = {0};
	size_t len;

	configure(1000, 4, 1000);
	cr_assert(limiter_take(&limiter, 300));
	cr_assert(limiter_take(&limiter, 1700), "which leaves a debt of 1000");
	limiter_save(&limiter, &saved);
	codec_save(&codec, &file, bytes, sizeof(bytes));
	cr_assert(codec_section_begin(&codec, &section));
	limiter_state_codec(&codec, "limiter", &saved);
	codec_section_end(&codec);
	cr_assert(codec_finish(&codec, &len, &err) == 0);
	codec_load(&codec, &file, bytes, len);
	cr_assert(codec_section_begin(&codec, &section));
	limiter_state_codec(&codec, "limiter", &loaded);
	codec_section_end(&codec);
	cr_assert(codec_finish(&codec, NULL, &err) == 0);
	tear_down();
	set_up();
	now += 1000000 * MS; /* for which nothing is given */
	configure(1000, 4, 1000);
	limiter_load(&limiter, &loaded);
	cr_expect(!limiter_take(&limiter, 0));
	cr_expect(armed_ns() > 990 * MS && armed_ns() <= 1000 * MS, "%llu",
		  (unsigned long long)armed_ns());
	now += 1000 * MS;
	expire();
	cr_expect(limiter.ops.budget == 2);
	cr_expect(!limiter_take(&limiter, 1), "the debt is paid, and nothing more");
}

Test(limiter, one_without_a_limit_has_nothing_to_load)
{
	struct limiter_state state;

	configure(1000, 0, 1000);
	cr_assert(limiter_take(&limiter, 5000));
	limiter_save(&limiter, &state);
	configure(0, 0, 0);
	limiter_load(&limiter, &state);
	cr_assert(limiter_take(&limiter, 5000));
	cr_assert(!limiter.timer.is_made);
}

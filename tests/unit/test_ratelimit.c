/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/ratelimit.c: tables of times and takes. */
#include <criterion/criterion.h>

#include "vmm/base/bytes.h"
#include "vmm/base/ratelimit.h"

#define MS UINT64_C(1000000)

enum {
	STEPS = 12
};

struct step {
	uint64_t at_ns;
	uint64_t count;
	bool is_taken;
};

static const struct {
	const char *name;
	uint64_t size;
	uint64_t burst;
	uint64_t refill_ms;
	struct step steps[STEPS]; /* until one that takes nothing */
} scripts[] = {
	{"full at first, then by time",
	 1000,
	 0,
	 1000,
	 {{0, 1000, true},
	  {0, 1, false},
	  {MS - 1, 1, false},
	  {MS, 1, true},
	  {MS, 1, false},
	  {501 * MS, 501, false},
	  {501 * MS, 500, true},
	  {501 * MS, 1, false},
	  {99999 * MS, 1000, true},
	  {99999 * MS, 1, false}}},
	{"a fraction of a token is carried",
	 3,
	 0,
	 1, /* one per 333333.3 ns */
	 {{0, 3, true},
	  {333333, 1, false},
	  {333334, 1, true},
	  {600000, 1, false},
	  {666666, 1, false},
	  {666667, 1, true},
	  {1000000, 1, true},
	  {1000000, 1, false}}},
	{"many looks do not cost time",
	 10,
	 0,
	 10,
	 {{0, 10, true},
	  {MS / 4, 1, false},
	  {MS / 2, 1, false},
	  {MS * 3 / 4, 1, false},
	  {MS, 1, true},
	  {MS * 9 / 4, 2, false},
	  {MS * 5 / 2, 1, true},
	  {MS * 11 / 4, 1, false},
	  {MS * 3, 2, false},
	  {MS * 3, 1, true}}},
	{"the burst is once and comes first",
	 100,
	 50,
	 100,
	 {{0, 50, true},
	  {0, 100, true},
	  {0, 1, false},
	  {10 * MS, 11, false},
	  {10 * MS, 10, true},
	  {1000 * MS, 100, true},
	  {1000 * MS, 1, false}}},
	{"burst and budget pay together",
	 100,
	 50,
	 100,
	 {{0, 120, true}, {0, 31, false}, {0, 30, true}}},
	{"a take that fails leaves the burst",
	 100,
	 50,
	 100,
	 {{0, 10, true}, {0, 130, true}, {0, 20, false}, {0, 10, true}}},
	{"while the burst pays, no refill accrues",
	 100,
	 50,
	 100,
	 {{0, 1, true},
	  {50 * MS, 49, true},
	  {50 * MS, 100, true},
	  {50 * MS, 1, false},
	  {59 * MS, 10, false},
	  {60 * MS, 10, true}}},
	{"a burst of one is a burst",
	 100,
	 1,
	 100,
	 {{50 * MS, 1, true},
	  {50 * MS, 100, true},
	  {50 * MS, 1, false},
	  {59 * MS, 10, false},
	  {60 * MS, 10, true}}},
	{"too much passes and is paid for by waiting",
	 100,
	 0,
	 100,
	 {{0, 40, true},
	  {0, 260, true}, /* 60 were there: 200 ms of debt */
	  {0, 1, false},
	  {100 * MS, 1, false},
	  {150 * MS, 1000, false},
	  {200 * MS, 1, false},
	  {201 * MS, 1, true},
	  {201 * MS, 1, false}}},
	{"the whole bucket is not too much",
	 100,
	 0,
	 100,
	 {{0, 1, true}, {0, 100, false}, {MS, 100, true}}},
	{"a debt without end does not wrap",
	 UINT64_C(1),
	 0,
	 1000000,
	 {{MS, UINT64_MAX, true}, {UINT64_MAX / 4, 1, false}, {UINT64_MAX / 4, UINT64_MAX, false}}},
	{"large numbers",
	 UINT64_MAX,
	 0,
	 UINT64_MAX / MS,
	 {{0, UINT64_MAX, true}, {1000, 2000, false}, {1000, 1000, true}}},
	{"no size, no limit", 0, 10, 100, {{0, UINT64_MAX, true}, {0, UINT64_MAX, true}}},
	{"no time, no limit", 10, 10, 0, {{0, UINT64_MAX, true}, {0, UINT64_MAX, true}}},
	{"time beyond 2^64 ns, no limit",
	 10,
	 0,
	 UINT64_MAX / MS + 1,
	 {{0, UINT64_MAX, true}, {0, UINT64_MAX, true}}},
};

Test(ratelimit, scripts_of_times_and_takes)
{
	for (size_t i = 0; i < ARRAY_COUNT(scripts); i++) {
		struct token_bucket bucket;

		token_bucket_init(&bucket, scripts[i].size, scripts[i].burst, scripts[i].refill_ms,
				  0);
		for (size_t j = 0; j < STEPS && scripts[i].steps[j].count > 0; j++) {
			const struct step *step = &scripts[i].steps[j];

			cr_expect(token_bucket_take(&bucket, step->at_ns, step->count) ==
					  step->is_taken,
				  "%s: step %zu", scripts[i].name, j);
		}
	}
}

Test(ratelimit, a_zeroed_one_is_no_limit)
{
	struct token_bucket bucket = {0};

	cr_assert(token_bucket_take(&bucket, 0, UINT64_MAX));
}

Test(ratelimit, the_rate_holds_over_time)
{
	struct token_bucket bucket;
	uint64_t taken = 0;

	/* 7000 tokens a second, asked for at odd times for 100 s. */
	token_bucket_init(&bucket, 700, 0, 100, 0);
	for (uint64_t now = 0; now < 100000 * MS; now += 12347) {
		taken += token_bucket_take(&bucket, now, 1);
	}
	cr_assert(taken >= 700 + 699000 && taken <= 700 + 700000, "%llu",
		  (unsigned long long)taken);
}

/* A take fails until the wait is over, and passes then. */
Test(ratelimit, the_wait_is_exact)
{
	static const struct {
		uint64_t size;
		uint64_t burst;
		uint64_t refill_ms;
		uint64_t first; /* taken at 0 */
		uint64_t count;
		uint64_t wait_ns; /* at 0 */
	} cases[] = {
		{1000, 0, 1000, 1000, 1, MS},
		{1000, 0, 1000, 1000, 1000, 1000 * MS},
		{3, 0, 1, 3, 1, 333334},
		{3, 0, 1, 3, 2, 666667},
		{3, 0, 1, 2, 1, 0},
		{100, 50, 100, 40, 10, 0},
		{100, 50, 100, 40, 110, 0},
		{100, 50, 100, 90, 61, 1 * MS},
		{100, 0, 100, 300, 1, 201 * MS},
		{100, 0, 100, 300, 300, 200 * MS},
		{100, 0, 100, 300, 100, 300 * MS},
		{100, 0, 100, 99, 1000, 0},
		{0, 0, 0, 5, 5, 0},
		{1, 0, UINT64_MAX / MS, 1, 1, UINT64_MAX / MS * MS},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct token_bucket bucket;

		token_bucket_init(&bucket, cases[i].size, cases[i].burst, cases[i].refill_ms, 0);
		cr_assert(token_bucket_take(&bucket, 0, cases[i].first), "case %zu", i);
		uint64_t wait = token_bucket_wait(&bucket, 0, cases[i].count);

		cr_expect(wait == cases[i].wait_ns, "case %zu: %llu", i, (unsigned long long)wait);
		if (wait > 0) {
			struct token_bucket early = bucket;

			cr_expect(!token_bucket_take(&early, wait - 1, cases[i].count), "case %zu",
				  i);
		}
		cr_expect(token_bucket_wait(&bucket, wait, cases[i].count) == 0, "case %zu", i);
		cr_expect(token_bucket_take(&bucket, wait, cases[i].count), "case %zu", i);
	}
}

Test(ratelimit, the_wait_for_nothing_is_the_debt)
{
	struct token_bucket bucket;

	token_bucket_init(&bucket, 100, 0, 100, 0);
	cr_assert(token_bucket_wait(&bucket, 0, 0) == 0);
	cr_assert(token_bucket_take(&bucket, 0, 100));
	cr_assert(token_bucket_wait(&bucket, 0, 0) == 0);
	token_bucket_init(&bucket, 100, 0, 100, 0);
	cr_assert(token_bucket_take(&bucket, 0, 150));
	cr_assert(token_bucket_wait(&bucket, 0, 0) == 50 * MS);
	cr_assert(token_bucket_wait(&bucket, 50 * MS, 0) == 0);
}

/* --- saved and loaded --- */

/* Moves a bucket to a host whose clock shows `to_ns` when the old one's shows `from_ns`. */
static void move(struct token_bucket *bucket, uint64_t from_ns, uint64_t to_ns)
{
	struct token_bucket_state state;
	struct token_bucket fresh;

	token_bucket_save(bucket, from_ns, &state);
	token_bucket_init(&fresh, bucket->size, 500, bucket->refill_ns / MS, to_ns);
	token_bucket_load(&fresh, to_ns, &state);
	*bucket = fresh;
}

/* Each script again, with a move before each step to a clock of another time. */
Test(ratelimit, a_bucket_that_is_saved_and_loaded_at_every_step_gives_the_same)
{
	static const uint64_t clocks[] = {0, 12345678901234, 7};

	for (size_t i = 0; i < ARRAY_COUNT(scripts); i++) {
		struct token_bucket bucket;
		uint64_t shift = 50000 * MS; /* from the script's time to this host's */

		token_bucket_init(&bucket, scripts[i].size, min_u64(scripts[i].burst, 500),
				  scripts[i].refill_ms, shift);
		for (size_t j = 0; j < STEPS && scripts[i].steps[j].count > 0; j++) {
			const struct step *step = &scripts[i].steps[j];
			struct token_bucket stays = bucket;
			uint64_t now = shift + step->at_ns;
			uint64_t then = now + clocks[j % 3] + 1000 * MS;

			move(&bucket, now, then);
			shift += then - now;
			cr_expect_eq(token_bucket_wait(&bucket, then, step->count),
				     token_bucket_wait(&stays, now, step->count), "%s, step %zu",
				     scripts[i].name, j);
			cr_expect_eq(token_bucket_take(&bucket, then, step->count),
				     token_bucket_take(&stays, now, step->count), "%s, step %zu",
				     scripts[i].name, j);
		}
	}
}

Test(ratelimit, no_numbers_give_more_than_a_new_bucket)
{
	static const uint64_t numbers[] = {0, 1, 999, 1000, 1001, MS, UINT64_MAX / 2, UINT64_MAX};
	const size_t count = ARRAY_COUNT(numbers);

	for (size_t i = 0; i < count * count * count * count; i++) {
		const struct token_bucket_state state = {
			.size = 1000,
			.refill_ns = 1000 * MS,
			.burst = numbers[i % count],
			.budget = numbers[i / count % count],
			.elapsed_ns = numbers[i / count / count % count],
			.debt_ns = numbers[i / count / count / count],
		};
		struct token_bucket bucket;
		uint64_t now = i % 2 == 0 ? 5 : 5000 * MS;

		token_bucket_init(&bucket, 1000, 10, 1000, now);
		token_bucket_load(&bucket, now, &state);
		cr_assert(bucket.burst <= 10 && bucket.budget <= 1000, "case %zu", i);
		cr_assert(bucket.updated_ns >= now || now - bucket.updated_ns <= 1000 * MS);
		(void)!token_bucket_take(&bucket, now, 1000);
		(void)!token_bucket_take(&bucket, now + MS, 3000);
		(void)token_bucket_wait(&bucket, now + MS, 1);
	}
}

Test(ratelimit, another_limit_than_the_saved_one_begins_full)
{
	struct token_bucket bucket;
	struct token_bucket_state state;

	token_bucket_init(&bucket, 1000, 0, 1000, 0);
	cr_assert(token_bucket_take(&bucket, 0, 1000));
	token_bucket_save(&bucket, 0, &state);
	for (unsigned i = 0; i < 2; i++) {
		token_bucket_init(&bucket, 1000 + i, 0, 2000 - 1000 * i, 0);
		token_bucket_load(&bucket, 0, &state);
		cr_expect(token_bucket_take(&bucket, 0, 1000), "case %u", i);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A balloon that is saved and loaded: what its driver and the API's clients find afterwards. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/balloon_bed.h"
#include "tests/unit/state_bed.h"

enum {
	STATS_QUEUE = 2,
	HINT_QUEUE = 3,
	REPORT_QUEUE = 4,
	ALL = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5,
	CMD_DONE = 1,
};

static struct state_bed bed;

TestSuite(balloon_state, .fini = tear_down);

static void make_again(void)
{
	struct error err = {0};

	balloon_free(balloon);
	cr_assert_eq(balloon_new(vdriver_env(&driver), &with_all, &balloon, &err), 0, "%s",
		     err.msg);
	metrics = balloon_metrics(balloon);
}

static void move(void)
{
	state_bed_take(&bed, &driver);
	make_again();
	state_bed_give(&bed, &driver, balloon_virtio(balloon));
}

static void refuse(const char *sentence)
{
	struct error err = {0};

	make_again();
	cr_assert(state_bed_load(&bed, &driver, balloon_virtio(balloon), &err) < 0);
	cr_expect_eq(err.kind, ERR_CORRUPT);
	cr_expect(strstr(err.msg, sentence) != NULL, "%s", err.msg);
}

Test(balloon_state, queues_keep_their_roles_and_what_waits_in_them)
{
	static const uint64_t sets[] = {ALL, (uint64_t)ALL | UINT64_C(1) << 29};

	for (size_t i = 0; i < ARRAY_COUNT(sets); i++) {
		const uint32_t pfn = pfn_of(PAGES);

		make(&with_all);
		start(sets[i]);
		touch(PAGES, UINT64_C(2) * PAGE);
		cr_assert_eq(gmem_write(mem, GPA(LIST), &pfn, sizeof(pfn)), 0);
		evloop_freeze(&driver.loop); /* the notifications reach nobody */
		offer_list(INFLATE, LIST, &pfn, 1);
		offer_list(DEFLATE, LIST, &pfn, 1);
		offer_range(REPORT_QUEUE, PAGES + PAGE, PAGE);
		move();
		run();
		cr_expect(take(INFLATE) && take(DEFLATE) && take(REPORT_QUEUE));
		cr_expect(is_zero(PAGES) && is_zero(PAGES + PAGE));
		unmake();
	}
}

Test(balloon_state, the_target_is_the_saved_one_and_so_is_the_size)
{
	const uint32_t actual = 512;
	struct error err = {0};
	struct balloon_stats stats;

	make(&with_all);
	start(ALL);
	cr_assert_eq(balloon_set_amount(balloon, 7, &err), 0);
	vdriver_write_config(&driver, 4, &actual, sizeof(actual));
	move();
	cr_expect_eq(config_word(0), 7 * 256);
	cr_expect_eq(config_word(4), 512);
	cr_assert_eq(balloon_get_stats(balloon, &stats, &err), 0);
	cr_expect_eq(stats.target_mib, 7);
	cr_expect_eq(stats.actual_mib, 2);
}

Test(balloon_state, statistics_are_the_saved_ones_and_the_buffer_is_kept_again)
{
	const struct stat sent[] = {{5, 1234}, {7, 99}};
	struct balloon_stats stats;
	struct error err = {0};

	make(&with_all);
	start(ALL);
	offer_stats(sent, 2);
	run();
	cr_assert_not(take(STATS_QUEUE));
	state_bed_take(&bed, &driver);
	make_again();
	cr_assert_eq(state_bed_load(&bed, &driver, balloon_virtio(balloon), &err), 0);
	cr_assert_eq(balloon_get_stats(balloon, &stats, &err), 0);
	cr_expect_eq(stats.present, 1U << 5 | 1U << 7);
	cr_expect_eq(stats.values[5], 1234);
	vdriver_resume(&driver);
	run();
	cr_expect_not(take(STATS_QUEUE));
	cr_assert_eq(balloon_set_stats_interval(balloon, 2, &err), 0, "which asks for newer ones");
	cr_expect(take(STATS_QUEUE));
	state_bed_take(&bed, &driver);
	bed.state.own[0] = 1U << 16;
	refuse("it has statistics of unknown kinds: 0x10000");
}

Test(balloon_state, a_run_of_hinting_is_shown_until_it_ends_with_the_pause)
{
	make(&with_all);
	start(ALL);
	start_hinting(true);
	offer_cmd(HINT_QUEUE, 2);
	run();
	cr_assert(take(HINT_QUEUE));
	state_bed_take(&bed, &driver);
	make_again();
	struct error err = {0};

	cr_assert_eq(state_bed_load(&bed, &driver, balloon_virtio(balloon), &err), 0);
	cr_expect_eq(hinting().host_cmd, 2);
	cr_expect(hinting().has_guest_cmd && hinting().guest_cmd == 2);
	vdriver_resume(&driver);
	run();
	cr_expect_eq(hinting().host_cmd, CMD_DONE);
	cr_expect_eq(config_word(8), CMD_DONE);
	cr_expect(take_config_interrupt());
	/* Ranges of the run that has ended count no more; the next run has another number. */
	touch(PAGES, PAGE);
	offer_range(HINT_QUEUE, PAGES, PAGE);
	run();
	cr_expect_not(is_zero(PAGES));
	start_hinting(true);
	cr_expect_eq(config_word(8), 3);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the balloon does with the guest's chains: inflation, statistics, hinting, reporting. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "tests/unit/balloon_bed.h"

TestSuite(balloon_steps, .fini = tear_down);

/* --- inflation --- */

Test(balloon_steps, inflation_gives_memory_back_to_the_host)
{
	uint32_t pfns[64];

	make(&plain);
	start(0);
	touch(PAGES, 128 * PAGE);
	cr_assert_eq(resident(PAGES, 128 * PAGE), 128);
	for (uint32_t i = 0; i < 64; i++) {
		pfns[i] = pfn_of(PAGES) + 2 * (63 - i); /* every second one, from the last on */
	}
	offer_list(INFLATE, LIST, pfns, 64);
	run();
	cr_expect(take(INFLATE));
	cr_expect_eq(resident(PAGES, 128 * PAGE), 64);
	for (unsigned i = 0; i < 128; i++) {
		cr_expect_eq(is_zero(PAGES + i * PAGE), i % 2 == 0, "page %u", i);
	}
	cr_expect_eq(count(&metrics->inflate_count), 1);
	cr_expect_eq(count(&metrics->event_fails), 0);
}

Test(balloon_steps, deflation_changes_nothing)
{
	const uint32_t pfn = pfn_of(PAGES);

	make(&plain);
	start(0);
	touch(PAGES, PAGE);
	offer_list(DEFLATE, LIST, &pfn, 1);
	run();
	cr_expect(take(DEFLATE));
	cr_expect_not(is_zero(PAGES));
	cr_expect_eq(count(&metrics->deflate_count), 1);
}

/* Each list names one good page, the first of PAGES. */
Test(balloon_steps, numbers_that_make_no_sense_are_skipped_and_counted)
{
	static const struct {
		const char *name;
		uint32_t pfns[6];
		size_t count;
		uint64_t fails;
	} cases[] = {
		{"repeated", {PAGES / PAGE, PAGES / PAGE, PAGES / PAGE}, 3, 2},
		{"in the hole", {HOLE / PAGE, PAGES / PAGE, HOLE / PAGE + 1}, 3, 2},
		{"the last before the hole", {PAGES / PAGE, HOLE / PAGE - 1, HOLE / PAGE}, 3, 1},
		{"beyond RAM", {END / PAGE, PAGES / PAGE, END / PAGE + 1, END / PAGE - 1}, 4, 2},
		{"the greatest", {UINT32_MAX, PAGES / PAGE, UINT32_MAX - 1, UINT32_MAX}, 4, 3},
		{"one good", {PAGES / PAGE}, 1, 0},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		make(&plain);
		start(0);
		touch(PAGES, 2 * PAGE);
		offer_list(INFLATE, LIST, cases[i].pfns, cases[i].count);
		run();
		cr_expect(take(INFLATE), "%s", cases[i].name);
		cr_expect(is_zero(PAGES), "%s", cases[i].name);
		cr_expect_not(is_zero(PAGES + PAGE), "%s", cases[i].name);
		cr_expect_eq(count(&metrics->event_fails), cases[i].fails, "%s", cases[i].name);
		unmake();
	}
}

Test(balloon_steps, lists_of_any_shape_and_place_are_survived)
{
	static const struct {
		const char *name;
		struct seg segs[4];
		size_t count;
		uint64_t fails;
		bool is_done; /* the page PAGES is given back */
	} cases[] = {
		{"unaligned", {{LIST + 1, 4, false}}, 1, 0, true},
		{"in single bytes",
		 {{LIST + 1, 1, false}, {LIST + 2, 1, false}, {LIST + 3, 2, false}},
		 3,
		 0,
		 true},
		{"over the border of two regions", {{BORDER - 3, 4, false}}, 1, 0, true},
		{"three bytes", {{LIST + 1, 3, false}}, 1, 1, false},
		{"five bytes", {{LIST + 1, 5, false}}, 1, 1, true},
		{"to be written", {{LIST + 1, 4, true}}, 1, 1, false},
		{"with a writable part", {{LIST + 1, 4, false}, {LIST + 64, 8, true}}, 2, 0, true},
		{"beyond RAM", {{END - 2, 4, false}}, 1, 1, false},
		{"in the hole", {{HOLE, 4, false}}, 1, 1, false},
		{"empty", {{LIST, 0, false}}, 1, 1, false},
	};
	const uint32_t pfn = pfn_of(PAGES);

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		make(&plain);
		start(0);
		touch(PAGES, PAGE);
		cr_assert_eq(gmem_write(mem, GPA(LIST + 1), &pfn, sizeof(pfn)), 0);
		cr_assert_eq(gmem_write(mem, GPA(BORDER - 3), &pfn, sizeof(pfn)), 0);
		offer(INFLATE, cases[i].segs, cases[i].count);
		run();
		cr_expect(take(INFLATE), "%s", cases[i].name);
		cr_expect_eq(is_zero(PAGES), cases[i].is_done, "%s", cases[i].name);
		cr_expect_eq(count(&metrics->event_fails), cases[i].fails, "%s", cases[i].name);
		unmake();
	}
}

Test(balloon_steps, pages_on_both_sides_of_a_border_are_given_back)
{
	const uint32_t pfns[] = {BORDER / PAGE - 1, BORDER / PAGE, BORDER / PAGE + 1};

	make(&plain);
	start(0);
	touch(BORDER - 2 * PAGE, 4 * PAGE);
	offer_list(INFLATE, LIST, pfns, ARRAY_COUNT(pfns));
	run();
	cr_expect_eq(resident(BORDER - 2 * PAGE, 4 * PAGE), 1);
	cr_expect_eq(count(&metrics->event_fails), 0);
}

/* More numbers than there are pages, in a chain of many parts, and the list among the pages. */
Test(balloon_steps, a_list_of_65536_numbers_is_done_in_turns)
{
	enum {
		PARTS = 64,
		NUMBERS = 65536
	};
	static uint32_t pfns[NUMBERS];
	struct seg segs[PARTS];

	make(&plain);
	start(0);
	touch(PAGES, 1024 * PAGE);
	for (uint32_t i = 0; i < NUMBERS; i++) {
		pfns[i] = pfn_of(PAGES) + i % 1024;
	}
	cr_assert_eq(gmem_write(mem, GPA(LIST), pfns, sizeof(pfns)), 0);
	for (unsigned i = 0; i < PARTS; i++) {
		segs[i] =
			(struct seg){LIST + i * sizeof(pfns) / PARTS, sizeof(pfns) / PARTS, false};
	}
	offer(INFLATE, segs, PARTS);
	run_once();
	cr_expect_not(take(INFLATE), "not in one turn");
	run();
	cr_expect(take(INFLATE));
	cr_expect_eq(resident(PAGES, 1024 * PAGE), 0);
	cr_expect_eq(count(&metrics->inflate_count), 1);
	cr_expect_eq(count(&metrics->event_fails), 0);
}

Test(balloon_steps, a_list_that_names_itself_and_its_rings_is_survived)
{
	uint32_t pfns[512];

	make(&plain);
	start(0);
	for (uint32_t i = 0; i < ARRAY_COUNT(pfns) / 2; i++) {
		pfns[i] = pfn_of(driver.queues[INFLATE].ring.desc.v) + i;
		pfns[i + ARRAY_COUNT(pfns) / 2] = pfn_of(LIST) + i;
	}
	offer_list(INFLATE, LIST, pfns, ARRAY_COUNT(pfns));
	run();
	cr_expect_eq(resident(LIST, 4 * PAGE), 0);
	/* Its indexes are 0 now, which is behind us. */
	cr_expect(vdriver_status(&driver) & STATUS_NEEDS_RESET);
	start(0);
	touch(PAGES, PAGE);
	pfns[0] = pfn_of(PAGES);
	offer_list(INFLATE, LIST, pfns, 1);
	run();
	cr_expect(take(INFLATE));
	cr_expect(is_zero(PAGES));
}

/* --- statistics --- */

Test(balloon_steps, statistics_are_kept_by_tag)
{
	struct stat stats[BALLOON_STATS_TAGS];
	struct balloon_stats got;
	struct error err = {0};

	make(&with_stats);
	start(1 << 1);
	for (uint16_t tag = 0; tag < BALLOON_STATS_TAGS; tag++) {
		stats[tag] = (struct stat){.tag = tag, .value = UINT64_MAX - tag};
	}
	offer_stats(stats, 3);
	run();
	cr_assert_eq(balloon_get_stats(balloon, &got, &err), 0);
	cr_expect_eq(got.present, 7);
	/* The buffer is kept until newer ones are wanted. */
	cr_expect_not(take(2));
	cr_assert_eq(balloon_set_stats_interval(balloon, 2, &err), 0);
	cr_expect(take(2));
	offer_stats(stats + 3, BALLOON_STATS_TAGS - 3);
	run();
	cr_assert_eq(balloon_get_stats(balloon, &got, &err), 0);
	cr_expect_eq(got.present, 0xffff);
	for (uint16_t tag = 0; tag < BALLOON_STATS_TAGS; tag++) {
		cr_expect_eq(got.values[tag], UINT64_MAX - tag, "tag %u", tag);
	}
	cr_expect_eq(count(&metrics->stats_updates_count), 2);
	cr_expect_eq(count(&metrics->stats_update_fails), 0);
	/* A driver that starts anew has told nothing yet. */
	reset();
	cr_assert_eq(balloon_get_stats(balloon, &got, &err), 0);
	cr_expect_eq(got.present, 0);
}

Test(balloon_steps, useless_statistics_are_counted_and_their_buffer_kept)
{
	static const struct {
		const char *name;
		struct seg seg;
		uint64_t fails;
		uint32_t present;
		bool is_kept;
	} cases[] = {
		{"of odd length", {STATS, 15, false}, 1, 0, true},
		{"shorter than one", {STATS, 9, false}, 1, 0, true},
		{"to be written", {STATS, 10, true}, 0, 0, true},
		{"too many", {STATS, 2570, false}, 1, 0, true},
		{"many", {STATS, 2560, false}, 255, 1, true},
		{"enormous", {0, HOLE, false}, 1, 0, true},
		{"with an unknown tag", {STATS, 20, false}, 1, 1, true},
		{"beyond RAM", {END - 5, 10, false}, 1, 0, false},
		{"empty", {STATS, 0, false}, 1, 0, false},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct stat stats[256];
		struct balloon_stats got;
		struct error err = {0};

		make(&with_stats);
		start(1 << 1);
		for (size_t j = 0; j < ARRAY_COUNT(stats); j++) {
			stats[j] = (struct stat){.tag = j == 0 ? 0 : 16, .value = j};
		}
		cr_assert_eq(gmem_write(mem, GPA(STATS), stats, sizeof(stats)), 0);
		offer(2, &cases[i].seg, 1);
		run();
		cr_assert_eq(balloon_get_stats(balloon, &got, &err), 0);
		cr_expect_eq(got.present, cases[i].present, "%s", cases[i].name);
		cr_expect_eq(count(&metrics->stats_update_fails), cases[i].fails, "%s",
			     cases[i].name);
		cr_expect_neq(take(2), cases[i].is_kept, "%s", cases[i].name);
		cr_assert_eq(balloon_set_stats_interval(balloon, 9, &err), 0);
		cr_expect_eq(take(2), cases[i].is_kept, "%s", cases[i].name);
		unmake();
	}
}

Test(balloon_steps, a_second_buffer_for_statistics_gives_the_first_back)
{
	const struct stat stats[] = {{0, 1}, {1, 2}};
	struct error err = {0};

	make(&with_stats);
	start(1 << 1);
	offer_stats(stats, 1);
	run();
	cr_expect_not(take(2));
	for (unsigned i = 0; i < 1000; i++) {
		offer_stats(stats, 2);
		run();
		cr_assert(take(2), "buffer %u", i);
		cr_assert_not(take(2), "buffer %u", i);
	}
	cr_assert_eq(balloon_set_stats_interval(balloon, 9, &err), 0);
	cr_expect(take(2));
	cr_assert_eq(balloon_set_stats_interval(balloon, 8, &err), 0);
	cr_expect_not(take(2), "there is none to give back");
}

Test(balloon_steps, the_timer_asks_for_statistics_but_not_of_a_paused_guest)
{
	const struct stat stats[] = {{0, 1}};

	make(&with_stats);
	start(1 << 1);
	offer_stats(stats, 1);
	run();
	evloop_freeze(&driver.loop);
	usleep(1100 * 1000);
	run();
	cr_expect_not(take(2));
	evloop_thaw(&driver.loop);
	run();
	cr_expect(take(2));
}

Test(balloon_steps, a_timer_that_outlives_its_driver_does_nothing)
{
	const struct stat stats[] = {{0, 1}};

	make(&with_stats);
	start(1 << 1);
	offer_stats(stats, 1);
	run();
	reset();
	usleep(1100 * 1000);
	run();
	start(1 << 1);
	run();
	cr_expect_not(take(2));
	offer_stats(stats, 1);
	run();
	cr_expect_not(take(2), "the first of the new driver's is kept");
}

Test(balloon_steps, statistics_are_asked_for_after_a_pause_as_before)
{
	const struct stat stats[] = {{0, 1}};
	struct balloon_stats seen;
	struct error err = {0};

	make(&with_stats);
	start(1 << 1);
	offer_stats(stats, 1);
	run();
	vdriver_pause(&driver);
	cr_expect_not(take(2), "it is in its queue");
	vdriver_resume(&driver);
	run();
	cr_expect_not(take(2), "it is kept again");
	cr_assert_eq(balloon_get_stats(balloon, &seen, &err), 0);
	cr_expect_eq(seen.values[0], 1);
	cr_assert_eq(balloon_set_stats_interval(balloon, 9, &err), 0);
	cr_expect(take(2));
	cr_expect_not(take(2));
}

Test(balloon_steps, a_bad_buffer_for_statistics_ends_the_wait_for_newer_ones)
{
	const struct stat stats[] = {{0, 1}};
	struct error err = {0};

	make(&with_stats);
	start(1 << 1);
	offer_stats(stats, 1);
	run();
	offer_range(2, HOLE, PAGE);
	run();
	cr_expect(take(2));
	cr_expect(take(2));
	vdriver_pause(&driver);
	vdriver_resume(&driver);
	offer_stats(stats, 1);
	run();
	cr_expect_not(take(2));
	cr_assert_eq(balloon_set_stats_interval(balloon, 9, &err), 0);
	cr_expect(take(2));
}

/* --- pauses --- */

Test(balloon_steps, a_long_list_is_in_its_queue_between_its_parts)
{
	enum {
		COUNT = 64 * 1024 /* many turns */
	};
	static uint32_t pfns[COUNT];

	for (size_t i = 0; i < COUNT; i++) {
		pfns[i] = pfn_of(PAGES);
	}
	pfns[COUNT - 1] = pfn_of(PAGES + PAGE);
	make(&plain);
	start(0);
	touch(PAGES, 3 * PAGE);
	offer_list(INFLATE, LIST, pfns, COUNT);
	run_once();
	for (unsigned i = 0; i < 3; i++) {
		vdriver_pause(&driver);
		cr_expect_not(take(INFLATE));
		vdriver_resume(&driver);
		run_once();
	}
	cr_expect_eq(resident(PAGES, 3 * PAGE), 2, "the last of it is to come");
	run();
	cr_expect(take(INFLATE));
	cr_expect_eq(resident(PAGES, 3 * PAGE), 1);
	cr_expect_eq(count(&metrics->inflate_count), 1);
}

/* Between two turns the guest puts another chain in the place of the one under way. */
Test(balloon_steps, a_chain_that_changes_between_its_parts_comes_to_an_end)
{
	enum {
		SEGS = 20
	};
	static const struct vring_desc descs[] = {
		{PAGES, 1, VRING_WRITE, 0},	    {PAGES, PAGE, 0, 0}, {PAGES, 4, 0, 0},
		{HOLE, PAGE, VRING_WRITE, 0},	    {PAGES, 5, 0, 0},	 {PAGES, 0, 0, 0},
		{END - PAGE, PAGE, VRING_WRITE, 0},
	};
	static uint32_t pfns[64 * 1024];
	struct seg segs[SEGS];

	for (size_t i = 0; i < ARRAY_COUNT(pfns); i++) {
		pfns[i] = pfn_of(PAGES);
	}
	for (size_t i = 0; i < SEGS; i++) {
		segs[i] = (struct seg){BORDER, 16 * MIB, true};
	}
	for (size_t i = 0; i < 2 * ARRAY_COUNT(descs); i++) {
		unsigned queue = i < ARRAY_COUNT(descs) ? INFLATE : 2;

		make(&with_reporting);
		start(1 << 5);
		uint16_t head = next_desc[queue];

		if (queue == INFLATE) {
			offer_list(queue, LIST, pfns, ARRAY_COUNT(pfns));
		} else {
			offer(queue, segs, SEGS);
		}
		run_once();
		cr_expect_not(take(queue), "case %zu: in one turn", i);
		vring_set_desc(&driver.queues[queue].ring, head, descs[i % ARRAY_COUNT(descs)]);
		cr_assert_leq(vdriver_run(&driver), 2, "case %zu", i);
		cr_expect(take(queue), "case %zu", i);
		/* The next chain of the same number is another one. */
		touch(PAGES, PAGE);
		next_desc[queue] = head;
		if (queue == INFLATE) {
			offer_list(queue, LIST, pfns, 1);
		} else {
			offer_range(queue, PAGES, PAGE);
		}
		run();
		cr_expect(take(queue), "case %zu", i);
		cr_expect_eq(resident(PAGES, PAGE), 0, "case %zu", i);
		unmake();
	}
}

/* --- hinting --- */

/* Sends a range and tells whether it was given back. */
static bool is_hint_heard(void)
{
	touch(PAGES, 4 * PAGE);
	offer_range(2, PAGES, 4 * PAGE);
	run();
	cr_assert(take(2));
	return resident(PAGES, 4 * PAGE) == 0;
}

static void say(uint32_t cmd)
{
	offer_cmd(2, cmd);
	run();
	cr_assert(take(2));
}

Test(balloon_steps, a_hinting_run_gives_back_what_is_free)
{
	make(&with_hinting);
	start(1 << 3);
	cr_expect_eq(hinting().host_cmd, 0);
	cr_expect_not(hinting().has_guest_cmd);
	cr_expect_not(is_hint_heard(), "before any run");
	start_hinting(true);
	cr_expect_eq(hinting().host_cmd, 2);
	cr_expect_eq(config_word(8), 2);
	cr_expect_not(is_hint_heard(), "before the guest has joined the run");
	say(2);
	cr_expect(hinting().has_guest_cmd && hinting().guest_cmd == 2);
	cr_expect(is_hint_heard());
	cr_expect_eq(count(&metrics->free_page_hint_count), 1);
	cr_expect_eq(count(&metrics->free_page_hint_freed), 4 * PAGE);
	say(0);
	cr_expect_eq(hinting().host_cmd, 1, "acknowledged");
	cr_expect_eq(config_word(8), 1);
	cr_expect(take_config_interrupt());
	cr_expect_eq(hinting().guest_cmd, 0);
	say(0);
	cr_expect_not(take_config_interrupt(), "once is enough");
	cr_expect_not(is_hint_heard(), "after the run");
	start_hinting(true);
	cr_expect_eq(hinting().host_cmd, 3);
	cr_expect_eq(count(&metrics->free_page_hint_fails), 0);
}

Test(balloon_steps, a_run_that_is_not_acknowledged_lasts_until_it_is_stopped)
{
	struct error err = {0};

	make(&with_hinting);
	start(1 << 3);
	start_hinting(false);
	say(2);
	say(0);
	cr_expect_eq(hinting().host_cmd, 2);
	cr_expect_not(take_config_interrupt());
	cr_assert_eq(balloon_stop_hinting(balloon, &err), 0);
	cr_expect_eq(config_word(8), 1);
	cr_expect(take_config_interrupt());
}

Test(balloon_steps, what_belongs_to_another_run_is_not_heard)
{
	struct error err = {0};

	make(&with_hinting);
	start(1 << 3);
	start_hinting(true);
	say(2);
	start_hinting(true);
	cr_expect_not(is_hint_heard(), "of the first run, in the second");
	say(0);
	cr_expect_eq(hinting().host_cmd, 3, "the first run's end is not the second's");
	say(3);
	cr_expect(is_hint_heard());
	say(4);
	cr_expect_not(is_hint_heard(), "of a run that does not exist");
	say(3);
	cr_assert_eq(balloon_stop_hinting(balloon, &err), 0);
	cr_expect_not(is_hint_heard(), "after stop");
	cr_assert(take_config_interrupt());
	start_hinting(true);
	say(4);
	virtio_resume(balloon_virtio(balloon));
	cr_expect_eq(hinting().host_cmd, 1, "over after a pause");
	cr_expect(take_config_interrupt());
	cr_expect_not(is_hint_heard(), "after a pause");
	virtio_resume(balloon_virtio(balloon));
	cr_expect_not(take_config_interrupt());
}

Test(balloon_steps, a_command_and_ranges_may_share_a_chain)
{
	const uint32_t cmd = 2;
	const struct seg segs[] = {
		{LIST, 4, false},
		{PAGES, PAGE, true},
		{PAGES + 2 * PAGE, PAGE, true},
	};

	make(&with_hinting);
	start(1 << 3);
	start_hinting(true);
	touch(PAGES, 3 * PAGE);
	cr_assert_eq(gmem_write(mem, GPA(LIST), &cmd, sizeof(cmd)), 0);
	offer(2, segs, ARRAY_COUNT(segs));
	run();
	cr_expect(take(2));
	cr_expect_eq(resident(PAGES, 3 * PAGE), 1);
}

/* --- reporting --- */

Test(balloon_steps, reported_ranges_are_given_back_in_whole_pages)
{
	static const struct {
		const char *name;
		struct seg seg;
		size_t left;	/* of 8 pages around */
		uint64_t freed; /* pages */
	} cases[] = {
		{"aligned", {BORDER - 2 * PAGE, 2 * PAGE, true}, 6, 2},
		{"over the border", {BORDER - PAGE, 3 * PAGE, true}, 5, 3},
		{"from within a page", {BORDER - 2 * PAGE + 1, 2 * PAGE - 1, true}, 7, 1},
		{"to within a page", {BORDER - 2 * PAGE, 2 * PAGE - 1, true}, 7, 1},
		{"less than a page", {BORDER + 1, PAGE - 1, true}, 8, 0},
		{"parts of two pages", {BORDER + 1, PAGE, true}, 8, 0},
		{"one byte", {BORDER, 1, true}, 8, 0},
		{"to be read", {BORDER, PAGE, false}, 8, 0},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		make(&with_reporting);
		start(1 << 5);
		touch(BORDER - 4 * PAGE, 8 * PAGE);
		offer(2, &cases[i].seg, 1);
		run();
		cr_expect(take(2), "%s", cases[i].name);
		cr_expect_eq(resident(BORDER - 4 * PAGE, 8 * PAGE), cases[i].left, "%s",
			     cases[i].name);
		cr_expect_eq(count(&metrics->free_page_report_freed), cases[i].freed * PAGE, "%s",
			     cases[i].name);
		cr_expect_eq(count(&metrics->free_page_report_fails), 0, "%s", cases[i].name);
		unmake();
	}
}

Test(balloon_steps, reports_of_what_is_not_memory_are_counted)
{
	make(&with_reporting);
	start(1 << 5);
	touch(PAGES, PAGE);
	offer_range(2, END - PAGE, 2 * PAGE);
	offer_range(2, HOLE, PAGE);
	offer_range(2, PAGES, PAGE);
	run();
	for (unsigned i = 0; i < 3; i++) {
		cr_expect(take(2));
	}
	cr_expect_eq(count(&metrics->free_page_report_fails), 2);
	cr_expect_eq(count(&metrics->free_page_report_count), 1);
	cr_expect(is_zero(PAGES));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon as a device: what it offers, its configuration, and what the API may ask. */
#include <criterion/criterion.h>
#include <string.h>
#include <pthread.h>

#include "tests/fake/alloc_guard.h"
#include "tests/unit/balloon_bed.h"

TestSuite(balloon, .fini = tear_down);

/* --- what it offers --- */

Test(balloon, offers_what_it_is_configured_to)
{
	static const struct {
		struct balloon_config config;
		uint64_t features;
		unsigned queues;
	} cases[] = {
		{{0}, 0, 2},
		{{.deflate_on_oom = true}, 1 << 2, 2},
		{{.stats_polling_interval_s = 1}, 1 << 1, 3},
		{{.free_page_hinting = true}, 1 << 3, 3},
		{{.free_page_reporting = true}, 1 << 5, 3},
		{{.free_page_hinting = true, .free_page_reporting = true}, 1 << 3 | 1 << 5, 4},
		{{3, true, 1, true, true}, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5, 5},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		make(&cases[i].config);
		const struct virtio_dev *dev = balloon_virtio(balloon);

		cr_expect_eq(dev->offered & 0xffffff, cases[i].features, "case %zu", i);
		cr_expect_eq(dev->queue_count, cases[i].queues, "case %zu", i);
		cr_expect_eq(dev->config_len, 12);
		cr_expect_eq(dev->class->type, 5);
		cr_expect_str_eq(dev->id, "balloon");
		unmake();
	}
}

/* [linux drivers/virtio/virtio_mmio.c, vm_find_vqs] leaves no gaps. */
Test(balloon, queues_have_roles_by_the_features_that_the_driver_took)
{
	static const struct {
		uint64_t acked;
		unsigned report; /* the queue; 0: none */
		unsigned queues;
	} cases[] = {
		{1 << 1 | 1 << 3 | 1 << 5, 4, 5}, {1 << 3 | 1 << 5, 3, 4},
		{1 << 1 | 1 << 5, 3, 4},	  {1 << 5, 2, 3},
		{1 << 1 | 1 << 3, 0, 5},	  {0, 0, 5},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		make(&with_all);
		start(cases[i].acked);
		for (unsigned queue = 2; queue < cases[i].queues; queue++) {
			touch(PAGES, PAGE);
			offer_range(queue, PAGES, PAGE);
			run();
			cr_expect_eq(is_zero(PAGES), queue == cases[i].report, "case %zu, queue %u",
				     i, queue);
		}
		unmake();
	}
}

/* --- configuration --- */

Test(balloon, a_new_amount_reaches_the_driver)
{
	struct error err = {0};

	make(&with_all);
	cr_expect_eq(config_word(0), 3 * 256);
	cr_expect_eq(balloon_set_amount(balloon, 1, &err), -1);
	cr_expect_str_eq(err.msg, "Device not activated yet.");
	cr_expect_eq(err.kind, ERR_BAD_STATE);
	error_clear(&err);
	start(0);
	uint32_t generation = vdriver_read(&driver, REG_CONFIG_GENERATION);

	cr_assert_eq(balloon_set_amount(balloon, RAM_MIB, &err), 0);
	cr_expect_eq(config_word(0), RAM_MIB * 256);
	cr_expect_neq(vdriver_read(&driver, REG_CONFIG_GENERATION), generation);
	cr_expect(take_config_interrupt());
	cr_expect_eq(balloon_set_amount(balloon, RAM_MIB + 1, &err), -1);
	cr_expect_str_eq(err.msg, "Requested memory should be less than 34MiB");
	cr_expect_eq(err.kind, ERR_BAD_REQUEST);
	cr_expect_eq(config_word(0), RAM_MIB * 256);
	error_clear(&err);
	cr_expect_eq(balloon_set_amount(balloon, UINT32_MAX, &err), -1);
	cr_expect_str_eq(err.msg, "Requested memory should be less than 4294967295MiB");
	cr_expect_not(take_config_interrupt());
}

Test(balloon, an_amount_beyond_the_device_is_refused)
{
	const struct balloon_config config = {.amount_mib = UINT32_MAX / 256 + 1};
	struct balloon *none = NULL;
	struct error err = {0};

	make(&plain);
	cr_expect_eq(balloon_new(vdriver_env(&driver), &config, &none, &err), -1);
	cr_expect_str_eq(err.msg, "Requested memory should be less than 16777215MiB");
	cr_expect_null(none);
}

Test(balloon, the_driver_writes_nothing_but_actual)
{
	uint8_t all[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	struct balloon_stats stats;
	struct error err = {0};

	make(&with_all);
	start(1 << 1);
	for (unsigned offset = 0; offset < 12; offset++) {
		for (uint32_t len = 1; len <= 8; len++) {
			vdriver_write_config(&driver, offset, all, len);
		}
	}
	cr_expect_eq(config_word(0), 3 * 256);
	cr_expect_eq(config_word(8), 0);
	store_le32(all, 513);
	vdriver_write_config(&driver, 4, all, 4);
	cr_expect_eq(config_word(4), 513);
	cr_assert_eq(balloon_get_stats(balloon, &stats, &err), 0);
	cr_expect_eq(stats.actual_pages, 513);
	cr_expect_eq(stats.actual_mib, 2);
	cr_expect_eq(stats.target_pages, 3 * 256);
	cr_expect_eq(stats.target_mib, 3);
	reset();
	cr_expect_eq(config_word(4), 0);
	cr_expect_eq(config_word(0), 3 * 256);
}

/* --- what the API is refused --- */

Test(balloon, statistics_are_refused_as_the_api_has_it)
{
	struct balloon_stats stats;
	struct error err = {0};

	make(&plain);
	cr_expect_eq(balloon_get_stats(balloon, &stats, &err), -1);
	cr_expect_str_eq(err.msg, "Received stats query when stats are disabled.");
	error_clear(&err);
	cr_expect_eq(balloon_set_stats_interval(balloon, 1, &err), -1);
	cr_expect_str_eq(err.msg, "Statistics cannot be enabled/disabled after activation.");
	error_clear(&err);
	cr_expect_eq(balloon_set_stats_interval(balloon, 0, &err), 0);
	unmake();
	make(&with_stats);
	cr_expect_eq(balloon_set_stats_interval(balloon, 0, &err), -1);
	cr_expect_str_eq(err.msg, "Statistics cannot be enabled/disabled after activation.");
	error_clear(&err);
	/* Before the driver is there, both are fine [compat]. */
	cr_expect_eq(balloon_set_stats_interval(balloon, 7, &err), 0);
	cr_expect_eq(balloon_get_stats(balloon, &stats, &err), 0);
}

Test(balloon, hinting_is_refused_as_the_api_has_it)
{
	struct balloon_hinting status;
	struct error err = {0};

	make(&plain);
	start(0);
	cr_expect_eq(balloon_start_hinting(balloon, true, &err), -1);
	cr_expect_str_eq(err.msg, "Attempting to use hinting when not enabled");
	error_clear(&err);
	cr_expect_eq(balloon_stop_hinting(balloon, &err), -1);
	cr_expect_str_eq(err.msg, "Attempting to use hinting when not enabled");
	error_clear(&err);
	cr_expect_eq(balloon_get_hinting(balloon, &status, &err), -1);
	cr_expect_str_eq(err.msg, "Attempting to use hinting when not enabled");
	error_clear(&err);
	unmake();
	make(&with_hinting);
	cr_expect_eq(balloon_start_hinting(balloon, true, &err), -1);
	cr_expect_str_eq(err.msg, "Device not activated yet.");
	error_clear(&err);
	cr_expect_eq(balloon_stop_hinting(balloon, &err), -1);
	cr_expect_str_eq(err.msg, "Device not activated yet.");
	cr_expect_eq(hinting().host_cmd, 0);
	start(1 << 3);
	start_hinting(true);
	cr_expect_eq(hinting().host_cmd, 2, "a refused start has no number");
	reset();
	cr_expect_eq(hinting().host_cmd, 0);
	cr_expect_eq(config_word(8), 0);
}

/* --- work and resets --- */

Test(balloon, a_reset_in_the_midst_of_a_list_ends_it)
{
	enum {
		NUMBERS = 16384
	};
	static uint32_t pfns[NUMBERS];
	const uint32_t pfn = pfn_of(PAGES);

	make(&plain);
	start(0);
	for (uint32_t i = 0; i < NUMBERS; i++) {
		pfns[i] = pfn_of(PAGES);
	}
	offer_list(INFLATE, LIST, pfns, NUMBERS);
	run_once();
	cr_assert_not(take(INFLATE));
	uint64_t inflated = count(&metrics->inflate_count);

	reset();
	run();
	start(0);
	run();
	cr_expect_not(take(INFLATE));
	touch(PAGES, PAGE);
	offer_list(INFLATE, LIST, &pfn, 1);
	run();
	cr_expect(take(INFLATE));
	cr_expect(is_zero(PAGES));
	cr_expect_eq(count(&metrics->inflate_count), inflated + 1);
}

Test(balloon, allocates_nothing_while_it_works)
{
	const struct stat stats[] = {{0, 1}};
	uint32_t pfns[1024];
	struct error err = {0};

	make(&with_all);
	start(1 << 1 | 1 << 3 | 1 << 5);
	for (uint32_t i = 0; i < ARRAY_COUNT(pfns); i++) {
		pfns[i] = pfn_of(PAGES) + i * 7 % 1024;
	}
	cr_assert_eq(balloon_start_hinting(balloon, true, &err), 0);
	offer_list(INFLATE, LIST, pfns, ARRAY_COUNT(pfns));
	offer_list(DEFLATE, LIST, pfns, ARRAY_COUNT(pfns));
	offer_stats(stats, 1);
	offer_range(3, PAGES, PAGE);
	offer_range(4, PAGES, PAGE);
	alloc_guard_begin();
	run();
	cr_expect_eq(alloc_guard_end(), 0);
	cr_expect_eq(count(&metrics->free_page_report_count), 1);
}

/* --- threads --- */

/* A vCPU that starts the device, gives it work and resets it, over and over. */
static void *start_and_reset(void *arg)
{
	_Atomic bool *is_done = arg;
	const struct stat stats[] = {{0, 1}};
	uint32_t pfns[64];

	for (uint32_t i = 0; i < ARRAY_COUNT(pfns); i++) {
		pfns[i] = pfn_of(PAGES) + i;
	}
	for (unsigned i = 0; i < 200; i++) {
		cr_assert(
			vdriver_start(&driver, balloon_virtio(balloon), 1 << 1 | 1 << 3 | 1 << 5));
		memset(next_desc, 0, sizeof(next_desc));
		for (unsigned j = 0; j < 10; j++) {
			/* Not at LIST, where offer_cmd writes. */
			offer_list(INFLATE, LIST + (j + 1) * PAGE, pfns, ARRAY_COUNT(pfns));
			offer_range(4, PAGES, PAGE);
		}
		offer_stats(stats, 1);
		offer_cmd(3, 2);
		vdriver_stop(&driver);
	}
	atomic_store(is_done, true);
	return NULL;
}

/* ThreadSanitizer looks on. */
Test(balloon, a_vcpu_may_reset_while_the_device_works_and_the_api_asks)
{
	_Atomic bool is_done = false;
	struct balloon_stats stats;
	struct balloon_hinting status;
	pthread_t vcpu;

	make(&with_all);
	cr_assert_eq(pthread_create(&vcpu, NULL, start_and_reset, &is_done), 0);
	for (uint16_t i = 1; !atomic_load(&is_done); i++) {
		struct error ignored[5] = {{0}};

		run_once();
		(void)!balloon_set_amount(balloon, i % RAM_MIB, &ignored[0]);
		(void)!balloon_start_hinting(balloon, true, &ignored[1]);
		(void)!balloon_set_stats_interval(balloon, i % 7 + 1, &ignored[2]);
		(void)!balloon_get_stats(balloon, &stats, &ignored[3]);
		(void)!balloon_get_hinting(balloon, &status, &ignored[4]);
	}
	pthread_join(vcpu, NULL);
	run();
	cr_expect_eq(count(&metrics->event_fails), 0);
}

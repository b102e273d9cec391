/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/res_balloon.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "api/res_balloon.h"
#include "tests/lib/resource_put.h"
#include "vmm/base/bytes.h"

Test(res_balloon, all_fields_reach_the_machine)
{
	struct api_fake fake = {0};
	struct error err = {0};

	cr_assert_eq(fake_put(res_balloon_put,
			      "{\"amount_mib\":1,\"deflate_on_oom\":true,"
			      "\"stats_polling_interval_s\":65535,\"free_page_hinting\":true,"
			      "\"free_page_reporting\":true}",
			      &fake, &err),
		     0, "%s", err.msg);
	cr_assert_eq(fake.asked.kind, ACTION_PUT_BALLOON);
	cr_expect_eq(fake.asked.balloon.amount_mib, 1);
	cr_expect(fake.asked.balloon.deflate_on_oom);
	cr_expect_eq(fake.asked.balloon.stats_polling_interval_s, 65535);
	cr_expect(fake.asked.balloon.free_page_hinting);
	cr_expect(fake.asked.balloon.free_page_reporting);
	cr_assert_eq(fake_put(res_balloon_put, "{\"amount_mib\":2,\"deflate_on_oom\":false}", &fake,
			      &err),
		     0, "%s", err.msg);
	cr_expect_eq(fake.asked.balloon.stats_polling_interval_s, 0);
	cr_expect_not(fake.asked.balloon.free_page_hinting);
	cr_expect_not(fake.asked.balloon.free_page_reporting);
}

Test(res_balloon, updates_reach_the_machine)
{
	struct api_fake fake = {0};
	struct error err = {0};

	cr_assert_eq(fake_put(res_balloon_patch, "{\"amount_mib\":7}", &fake, &err), 0);
	cr_expect_eq(fake.asked.kind, ACTION_PATCH_BALLOON);
	cr_expect_eq(fake.asked.amount_mib, 7);
	cr_assert_eq(fake_put(res_balloon_statistics_patch, "{\"stats_polling_interval_s\":9}",
			      &fake, &err),
		     0);
	cr_expect_eq(fake.asked.kind, ACTION_PATCH_BALLOON_STATS);
	cr_expect_eq(fake.asked.stats_polling_interval_s, 9);
}

Test(res_balloon, a_hinting_run_is_acknowledged_unless_it_is_told_not_to)
{
	struct api_fake fake = {0};
	struct resource_call call = {.execute = api_fake_execute, .arg = &fake};
	struct error err = {0};

	cr_assert_eq(res_balloon_hinting_start(&call, &err), 0);
	cr_expect_eq(fake.asked.kind, ACTION_START_HINTING);
	cr_expect(fake.asked.acknowledge_on_stop);
	cr_assert_eq(fake_put(res_balloon_hinting_start, "{\"x\":1}", &fake, &err), 0);
	cr_expect(fake.asked.acknowledge_on_stop);
	cr_assert_eq(
		fake_put(res_balloon_hinting_start, "{\"acknowledge_on_stop\":false}", &fake, &err),
		0);
	cr_expect_not(fake.asked.acknowledge_on_stop);
	cr_assert_eq(res_balloon_hinting_stop(&call, &err), 0);
	cr_expect_eq(fake.asked.kind, ACTION_STOP_HINTING);
}

Test(res_balloon, the_status_of_hinting_has_what_the_guest_said)
{
	struct api_fake fake = {.hinting = {.host_cmd = UINT32_MAX, .guest_cmd = 5}};
	struct error err = {0};
	char *text = fake_get(res_balloon_hinting_status_get, &fake, &err);

	cr_expect_str_eq(text, "{\"host_cmd\":4294967295,\"guest_cmd\":null}", "%s", text);
	free(text);
	fake.hinting.has_guest_cmd = true;
	text = fake_get(res_balloon_hinting_status_get, &fake, &err);
	cr_expect_str_eq(text, "{\"host_cmd\":4294967295,\"guest_cmd\":5}", "%s", text);
	free(text);
}

Test(res_balloon, statistics_are_those_that_the_guest_reported)
{
	struct api_fake fake = {.stats = {.target_pages = 512,
					  .actual_pages = 256,
					  .target_mib = 2,
					  .actual_mib = 1}};
	struct error err = {0};
	char *text = fake_get(res_balloon_statistics_get, &fake, &err);

	cr_expect_str_eq(text,
			 "{\"target_pages\":512,\"actual_pages\":256,\"target_mib\":2,"
			 "\"actual_mib\":1}",
			 "%s", text);
	free(text);
	fake.stats.present = 0xffff;
	for (size_t i = 0; i < BALLOON_STATS_TAGS; i++) {
		fake.stats.values[i] = i;
	}
	/* The guest may say anything. */
	fake.stats.values[2] = UINT64_MAX;
	text = fake_get(res_balloon_statistics_get, &fake, &err);
	cr_expect_str_eq(
		text,
		"{\"target_pages\":512,\"actual_pages\":256,\"target_mib\":2,\"actual_mib\":1,"
		"\"swap_in\":0,\"swap_out\":1,\"major_faults\":9223372036854775807,"
		"\"minor_faults\":3,\"free_memory\":4,\"total_memory\":5,\"available_memory\":6,"
		"\"disk_caches\":7,\"hugetlb_allocations\":8,\"hugetlb_failures\":9,"
		"\"oom_kill\":10,\"alloc_stall\":11,\"async_scan\":12,\"direct_scan\":13,"
		"\"async_reclaim\":14,\"direct_reclaim\":15}",
		"%s", text);
	free(text);
}

Test(res_balloon, the_configuration_is_told)
{
	struct api_fake fake = {0};
	struct error err = {0};

	fake.config.balloon = (struct balloon_config){.amount_mib = 3, .deflate_on_oom = true};

	char *text = fake_get(res_balloon_get, &fake, &err);

	cr_expect_eq(fake.asked.kind, ACTION_GET_BALLOON);
	cr_expect_str_eq(text,
			 "{\"amount_mib\":3,\"deflate_on_oom\":true,\"stats_polling_interval_s\":0,"
			 "\"free_page_hinting\":false,\"free_page_reporting\":false}",
			 "%s", text);
	free(text);
	fake.fault = "no balloon";
	cr_expect_null(fake_get(res_balloon_get, &fake, &err));
	cr_expect_str_eq(err.msg, "no balloon");
}

Test(res_balloon, faults_do_not_reach_the_machine)
{
	static const struct refusal cases[] = {
		{res_balloon_put, "{\"amount_mib\":1}",
		 "Bad: missing field `deflate_on_oom` at line 1 column 16"},
		{res_balloon_patch, "{\"amount_mib\":-1}",
		 "Bad: invalid value: integer `-1`, expected u32 at line 1 column 16"},
		{res_balloon_patch, "{\"amount_mib\":1,\"deflate_on_oom\":true}",
		 "Bad: unknown field `deflate_on_oom`, expected `amount_mib` at line 1 column 32"},
		{res_balloon_statistics_patch, "{}",
		 "Bad: missing field `stats_polling_interval_s` at line 1 column 2"},
		{res_balloon_hinting_start, "{\"acknowledge_on_stop\":1}",
		 "Bad: invalid type: integer `1`, expected a boolean at line 1 column 24"},
	};

	expect_refusals(cases, ARRAY_COUNT(cases));
}

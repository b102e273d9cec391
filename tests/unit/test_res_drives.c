/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/res_drives.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "api/res_drives.h"
#include "tests/lib/resource_put.h"
#include "vmm/base/bytes.h"

#define BUCKET "{\"size\":1,\"one_time_burst\":2,\"refill_time\":3}"

Test(res_drives, all_fields_reach_the_machine)
{
	struct api_fake fake = {0};
	struct error err = {0};

	cr_assert_eq(fake_put(res_drives_put,
			      "{\"drive_id\":\"a\",\"partuuid\":\"p\",\"is_root_device\":true,"
			      "\"cache_type\":\"Writeback\",\"is_read_only\":true,"
			      "\"path_on_host\":\"f\",\"rate_limiter\":{\"ops\":" BUCKET "},"
			      "\"io_engine\":\"Async\",\"socket\":\"s\",\"num_queues\":4}",
			      &fake, &err),
		     0, "%s", err.msg);
	const struct blk_config *drive = &fake.asked.drive;

	cr_assert_eq(fake.asked.kind, ACTION_PUT_DRIVE);
	cr_expect_str_eq(drive->drive_id, "a");
	cr_expect_str_eq(drive->partuuid, "p");
	cr_expect(drive->is_root_device && drive->is_read_only);
	cr_expect_eq(drive->cache_type, BLK_CACHE_WRITEBACK);
	cr_expect_str_eq(drive->path_on_host, "f");
	cr_expect(drive->has_rate_limiter && drive->rate_limiter.has_ops);
	cr_expect_not(drive->rate_limiter.has_bandwidth);
	cr_expect_eq(drive->rate_limiter.ops.refill_time_ms, 3);
	cr_expect_eq(drive->io_engine, BLK_ENGINE_ASYNC);
	cr_expect_str_eq(drive->socket, "s");
	cr_expect_eq(drive->num_queues, 4);
	api_fake_destroy(&fake);
}

Test(res_drives, what_is_left_out_is_the_default)
{
	struct api_fake fake = {0};
	struct error err = {0};

	cr_assert_eq(fake_put(res_drives_put,
			      "{\"drive_id\":\"a\",\"is_root_device\":false,\"partuuid\":null,"
			      "\"is_read_only\":null,\"path_on_host\":null,\"rate_limiter\":null,"
			      "\"io_engine\":null,\"socket\":null,\"num_queues\":null}",
			      &fake, &err),
		     0, "%s", err.msg);
	const struct blk_config *drive = &fake.asked.drive;

	cr_expect_eq(drive->cache_type, BLK_CACHE_UNSAFE);
	cr_expect_eq(drive->io_engine, BLK_ENGINE_SYNC);
	cr_expect_not(drive->is_read_only || drive->has_rate_limiter);
	cr_expect_null(drive->path_on_host);
	cr_expect_eq(drive->num_queues, 0);
	api_fake_destroy(&fake);
}

Test(res_drives, a_patch_brings_a_file_and_limits)
{
	struct api_fake fake = {0};
	struct error err = {0};

	cr_assert_eq(fake_put(res_drives_patch,
			      "{\"drive_id\":\"a\",\"path_on_host\":\"p\",\"rate_limiter\":"
			      "{\"bandwidth\":" BUCKET "}}",
			      &fake, &err),
		     0, "%s", err.msg);
	const struct drive_update *update = &fake.asked.drive_update;

	cr_assert_eq(fake.asked.kind, ACTION_PATCH_DRIVE);
	cr_expect_str_eq(update->drive_id, "a");
	cr_expect_str_eq(update->path_on_host, "p");
	cr_expect(update->has_rate_limiter && update->rate_limiter.has_bandwidth);
	cr_expect_eq(update->rate_limiter.bandwidth.one_time_burst, 2);
	cr_assert_eq(fake_put(res_drives_patch, "{\"drive_id\":\"a\"}", &fake, &err), 0);
	cr_expect_null(fake.asked.drive_update.path_on_host);
	cr_expect_not(fake.asked.drive_update.has_rate_limiter);
	api_fake_destroy(&fake);
}

Test(res_drives, faults_do_not_reach_the_machine)
{
	static const struct refusal cases[] = {
		{res_drives_put, "{\"drive_id\":\"b\",\"is_root_device\":true}",
		 "The id from the path does not match the id from the body!"},
		{res_drives_put, "{\"drive_id\":\"a\"}",
		 "Bad: missing field `is_root_device` at line 1 column 16"},
		{res_drives_put, "{\"is_root_device\":false}",
		 "Bad: missing field `drive_id` at line 1 column 24"},
		{res_drives_put, "{\"id\":1}",
		 "Bad: unknown field `id`, expected one of `drive_id`, `partuuid`, "
		 "`is_root_device`, `cache_type`, `is_read_only`, `path_on_host`, `rate_limiter`, "
		 "`io_engine`, `socket`, `num_queues` at line 1 column 5"},
		{res_drives_put, "{\"cache_type\":\"Safe\"}",
		 "Bad: unknown variant `Safe`, expected `Unsafe` or `Writeback` at line 1 column "
		 "20"},
		{res_drives_put, "{\"io_engine\":\"io_uring\"}",
		 "Bad: unknown variant `io_uring`, expected `Sync` or `Async` at line 1 column 23"},
		{res_drives_put, "{\"rate_limiter\":{\"iops\":1}}",
		 "Bad: unknown field `iops`, expected `bandwidth` or `ops` at line 1 column 23"},
		{res_drives_put, "{\"num_queues\":256}",
		 "Bad: invalid value: integer `256`, expected u8 at line 1 column 17"},
		{res_drives_patch, "{\"drive_id\":\"A\"}",
		 "The id from the path does not match the id from the body!"},
		{res_drives_patch, "{\"drive_id\":\"a\",\"is_read_only\":true}",
		 "Bad: unknown field `is_read_only`, expected one of `drive_id`, `path_on_host`, "
		 "`rate_limiter` at line 1 column 30"},
	};

	expect_refusals(cases, ARRAY_COUNT(cases));
}

Test(res_drives, what_firecracker_does_not_know_is_shown_only_if_given)
{
	char id[] = "a";
	char path[] = "p";
	struct blk_config drive = {.drive_id = id, .path_on_host = path, .is_root_device = true};
	static const char *const texts[] = {
		"{\"drive_id\":\"a\",\"partuuid\":null,\"is_root_device\":true,\"cache_type\":"
		"\"Unsafe\",\"is_read_only\":false,\"path_on_host\":\"p\",\"rate_limiter\":null,"
		"\"io_engine\":\"Sync\",\"socket\":null}",
		"{\"drive_id\":\"a\",\"partuuid\":null,\"is_root_device\":true,\"cache_type\":"
		"\"Unsafe\",\"is_read_only\":false,\"path_on_host\":\"p\",\"rate_limiter\":null,"
		"\"io_engine\":\"Sync\",\"socket\":null,\"num_queues\":1}",
	};

	for (uint8_t i = 0; i < 2; i++) {
		drive.num_queues = i;

		json_t *json = res_drives_encode(&drive);
		char *text = json_dumps(json, JSON_COMPACT);

		cr_expect_str_eq(text, texts[i], "%s", text);
		free(text);
		json_decref(json);
	}
}

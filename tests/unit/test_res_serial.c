/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/res_serial.c. */
#include <criterion/criterion.h>

#include "api/res_serial.h"
#include "tests/lib/resource_put.h"
#include "vmm/base/bytes.h"

Test(res_serial, path_and_limit_reach_the_machine)
{
	struct api_fake fake = {0};
	struct error err = {0};

	api_fake_init(&fake);
	cr_assert_eq(fake_put(res_serial_put,
			      "{\"serial_out_path\":\"out\",\"rate_limiter\":{\"size\":1,"
			      "\"one_time_burst\":2,\"refill_time\":3,\"unknown\":4}}",
			      &fake, &err),
		     0, "%s", err.msg);
	cr_assert_eq(fake.asked.kind, ACTION_PUT_SERIAL);
	cr_expect_str_eq(fake.asked.serial.serial_out_path, "out");
	cr_expect_eq(fake.asked.serial.rate_limiter.size, 1);
	cr_expect_eq(fake.asked.serial.rate_limiter.one_time_burst, 2);
	cr_expect_eq(fake.asked.serial.rate_limiter.refill_time_ms, 3);

	cr_assert_eq(fake_put(res_serial_put, "{\"rate_limiter\":null}", &fake, &err), 0, "%s",
		     err.msg);
	cr_expect_null(fake.asked.serial.serial_out_path);
	cr_expect_eq(fake.asked.serial.rate_limiter.size, 0);
	api_fake_destroy(&fake);
}

Test(res_serial, faults_do_not_reach_the_machine)
{
	static const struct refusal cases[] = {
		{res_serial_put, "{\"path\":\"x\"}",
		 "Bad: unknown field `path`, expected `serial_out_path` or `rate_limiter` at "
		 "line 1 column 7"},
		/* A bucket, not a limiter with two of them. */
		{res_serial_put, "{\"serial_out_path\":\"x\",\"rate_limiter\":{\"ops\":{}}}",
		 "Bad: missing field `size` at line 1 column 48"},
		{res_serial_put, "{\"rate_limiter\":{\"size\":1,\"refill_time\":-1}}",
		 "Bad: invalid value: integer `-1`, expected u64 at line 1 column 42"},
	};

	expect_refusals(cases, ARRAY_COUNT(cases));
}

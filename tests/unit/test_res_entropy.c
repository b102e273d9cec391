/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/res_entropy.c. */
#include <criterion/criterion.h>

#include "api/res_entropy.h"
#include "tests/lib/resource_put.h"

Test(res_entropy, the_limit_reaches_the_machine)
{
	struct api_fake fake = {0};
	struct error err = {0};

	cr_assert_eq(fake_put(res_entropy_put, "{}", &fake, &err), 0, "%s", err.msg);
	cr_assert_eq(fake.asked.kind, ACTION_PUT_ENTROPY);
	cr_expect_not(fake.asked.entropy.has_rate_limiter);
	cr_assert_eq(fake_put(res_entropy_put,
			      "{\"rate_limiter\":{\"bandwidth\":{\"size\":7,\"refill_time\":8}}}",
			      &fake, &err),
		     0, "%s", err.msg);
	cr_expect(fake.asked.entropy.has_rate_limiter);
	cr_expect_eq(fake.asked.entropy.rate_limiter.bandwidth.size, 7);
	api_fake_destroy(&fake);
}

Test(res_entropy, faults_do_not_reach_the_machine)
{
	struct api_fake fake = {0};
	struct error err = {0};

	cr_assert_eq(
		fake_put(res_entropy_put, "{\"rate_limiter\":{\"ops\":{\"size\":1}}}", &fake, &err),
		-1);
	cr_expect_str_eq(err.msg, "Bad: missing field `refill_time` at line 1 column 33", "%s",
			 err.msg);
	cr_expect_eq(fake.count, 0);
}

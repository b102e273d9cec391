/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/res_metrics.c. */
#include <criterion/criterion.h>

#include "api/res_metrics.h"
#include "tests/lib/resource_put.h"
#include "vmm/base/bytes.h"

Test(res_metrics, all_fields_reach_the_machine)
{
	struct api_fake fake = {0};
	struct error err = {0};

	api_fake_init(&fake);
	cr_assert_eq(fake_put(res_metrics_put,
			      "{\"metrics_path\":\"m\",\"emit_id\":true,\"properties\": {\"b\" : "
			      "\"2\", \"a\":\"1\"}, \"unknown\":1}",
			      &fake, &err),
		     0, "%s", err.msg);
	cr_assert_eq(fake.asked.kind, ACTION_PUT_METRICS);
	cr_expect_str_eq(fake.asked.metrics.metrics_path, "m");
	cr_expect(fake.asked.metrics.emit_id);
	cr_expect_str_eq(fake.asked.metrics.properties, "{\"b\":\"2\",\"a\":\"1\"}");

	cr_assert_eq(fake_put(res_metrics_put, "{\"metrics_path\":\"m\"}", &fake, &err), 0, "%s",
		     err.msg);
	cr_expect_not(fake.asked.metrics.emit_id);
	cr_expect_null(fake.asked.metrics.properties);
	api_fake_destroy(&fake);
}

Test(res_metrics, faults_do_not_reach_the_machine)
{
	static const struct refusal cases[] = {
		{res_metrics_put, "{}", "Bad: missing field `metrics_path` at line 1 column 2"},
		{res_metrics_put, "{\"emit_id\":null}",
		 "Bad: invalid type: null, expected a boolean at line 1 column 15"},
		{res_metrics_put, "{\"properties\":{\"a\":1}}",
		 "Bad: invalid type: integer `1`, expected a string at line 1 column 20"},
		{res_metrics_put, "{\"properties\":\"a\"}",
		 "Bad: invalid type: string \"a\", expected a map at line 1 column 17"},
	};

	expect_refusals(cases, ARRAY_COUNT(cases));
}

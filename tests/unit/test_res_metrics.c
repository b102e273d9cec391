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
	static const struct {
		const char *text;
		const char *msg;
	} cases[] = {
		{"{}", "Bad: missing field `metrics_path` at line 1 column 2"},
		{"{\"emit_id\":null}",
		 "Bad: invalid type: null, expected a boolean at line 1 column 15"},
		{"{\"properties\":{\"a\":1}}",
		 "Bad: invalid type: integer `1`, expected a string at line 1 column 20"},
		{"{\"properties\":\"a\"}",
		 "Bad: invalid type: string \"a\", expected a map at line 1 column 17"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct api_fake fake = {0};
		struct error err = {0};

		api_fake_init(&fake);
		cr_expect_eq(fake_put(res_metrics_put, cases[i].text, &fake, &err), -1, "%s",
			     cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg, "%s: %s", cases[i].text, err.msg);
		cr_expect_eq(fake.count, 0);
		api_fake_destroy(&fake);
	}
}

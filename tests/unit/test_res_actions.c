/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/res_actions.c. */
#include <criterion/criterion.h>

#include "api/res_actions.h"
#include "tests/fake/api_fake.h"
#include "vmm/base/bytes.h"

Test(res_actions, each_action_type_is_one_action)
{
	static const struct {
		const char *arch;
		const char *text;
		enum action_kind asked; /* ACTION_GET: none */
		const char *msg;
	} cases[] = {
		{"x86_64", "{\"action_type\":\"InstanceStart\"}", ACTION_START, ""},
		{"x86_64", "{\"action_type\":\"FlushMetrics\"}", ACTION_FLUSH_METRICS, ""},
		{"x86_64", "{\"action_type\":\"SendCtrlAltDel\"}", ACTION_CTRL_ALT_DEL, ""},
		{"aarch64", "{\"action_type\":\"InstanceStart\"}", ACTION_START, ""},
		{"aarch64", "{\"action_type\":\"FlushMetrics\"}", ACTION_FLUSH_METRICS, ""},
		{"aarch64", "{\"action_type\":\"SendCtrlAltDel\"}", ACTION_GET,
		 "SendCtrlAltDel does not supported on aarch64."},
		{"x86_64", "{\"action_type\":\"Reboot\"}", ACTION_GET,
		 "Bad: unknown variant `Reboot`, expected one of `FlushMetrics`, "
		 "`InstanceStart`, `SendCtrlAltDel` at line 1 column 23"},
		{"x86_64", "{\"action_type\":\"InstanceStart\",\"payload\":\"\"}", ACTION_GET,
		 "Bad: unknown field `payload`, expected `action_type` at line 1 column 40"},
		{"x86_64", "{}", ACTION_GET, "Bad: missing field `action_type` at line 1 column 2"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct api_fake fake = {0};
		struct resource_call call = {
			.execute = api_fake_execute, .arg = &fake, .arch = cases[i].arch};
		struct error err = {0};
		int result = api_fake_call(res_actions_put, &call, cases[i].text, &err);

		cr_expect_eq(result, cases[i].msg[0] == '\0' ? 0 : -1, "%s", cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg, "%s: %s", cases[i].text, err.msg);
		cr_expect_eq(fake.asked.kind, cases[i].asked, "%s", cases[i].text);
	}
}

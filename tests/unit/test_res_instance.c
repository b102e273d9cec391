/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/res_instance.c. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "api/res_instance.h"
#include "tests/fake/api_fake.h"

Test(res_instance, the_state_has_its_name)
{
	static const char *const names[] = {
		[VM_NOT_STARTED] = "Not started",
		[VM_RUNNING] = "Running",
		[VM_PAUSED] = "Paused",
	};

	for (enum vm_state state = VM_NOT_STARTED; state <= VM_PAUSED; state++) {
		struct api_fake fake = {.state = state};
		struct resource_call call = {.execute = api_fake_execute, .arg = &fake};
		struct error err = {0};

		cr_assert_eq(res_instance_get(&call, &err), 0, "%s", err.msg);
		cr_expect_str_eq(json_string_value(json_object_get(call.reply, "state")),
				 names[state]);
		json_decref(call.reply);
	}
}

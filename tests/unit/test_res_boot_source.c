/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/res_boot_source.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "api/res_boot_source.h"
#include "tests/lib/resource_put.h"
#include "vmm/base/bytes.h"

Test(res_boot_source, all_three_fields_reach_the_configuration)
{
	struct controller controller = {0};
	struct error err = {0};

	controller_init(&controller);
	cr_assert_eq(controller_put(res_boot_source_put,
				    "{\"kernel_image_path\":\"/proc/self/exe\",\"initrd_path\":"
				    "\"/proc/self/exe\",\"boot_args\":\"a=b\"}",
				    &controller, &err),
		     0, "%s", err.msg);
	cr_expect_str_eq(controller.config.boot_source.kernel_image_path, "/proc/self/exe");
	cr_expect_str_eq(controller.config.boot_source.initrd_path, "/proc/self/exe");
	cr_expect_str_eq(controller.config.boot_source.boot_args, "a=b");

	cr_assert_eq(
		controller_put(res_boot_source_put,
			       "{\"kernel_image_path\":\"/proc/self/exe\",\"initrd_path\":null,"
			       "\"boot_args\":null}",
			       &controller, &err),
		0, "%s", err.msg);
	cr_expect_null(controller.config.boot_source.initrd_path);
	cr_expect_null(controller.config.boot_source.boot_args);
	controller_destroy(&controller);
}

Test(res_boot_source, faults_leave_the_boot_source_as_it_was)
{
	static const struct {
		const char *text;
		const char *msg;
	} cases[] = {
		{"{\"boot_args\":\"x\"}",
		 "Bad: missing field `kernel_image_path` at line 1 column 17"},
		{"{\"kernel_image_path\":null}",
		 "Bad: invalid type: null, expected a string at line 1 column 25"},
		{"{\"initrd_path\":\"a\",\"kernel\":\"b\"}",
		 "Bad: unknown field `kernel`, expected one of `kernel_image_path`, "
		 "`initrd_path`, `boot_args` at line 1 column 27"},
		{"{\"kernel_image_path\":\"/proc/self/exe\",\"initrd_path\":\"/no/such\"}",
		 "Boot source error: The initrd file cannot be opened due to invalid path or "
		 "invalid permissions. No such file or directory (os error 2)"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct controller controller = {0};
		struct error err = {0};

		controller_init(&controller);
		cr_expect_eq(controller_put(res_boot_source_put, cases[i].text, &controller, &err),
			     -1, "%s", cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg, "%s: %s", cases[i].text, err.msg);
		cr_expect_null(controller.config.boot_source.kernel_image_path);
		controller_destroy(&controller);
	}
}

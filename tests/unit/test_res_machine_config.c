/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/res_machine_config.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "api/res_machine_config.h"
#include "tests/lib/resource_put.h"
#include "vmm/base/bytes.h"

Test(res_machine_config, a_put_resets_what_it_leaves_out)
{
	struct controller controller = {0};
	struct error err = {0};

	controller_init(&controller);
	cr_assert_eq(controller_put(res_machine_config_put,
				    "{\"vcpu_count\":4,\"mem_size_mib\":512,\"smt\":true,"
				    "\"huge_pages\":\"2M\",\"track_dirty_pages\":true}",
				    &controller, &err),
		     0, "%s", err.msg);
	cr_expect_eq(controller.config.machine.vcpu_count, 4);
	cr_expect_eq(controller.config.machine.mem_size_mib, 512);
	cr_expect(controller.config.machine.smt);
	cr_expect(controller.config.machine.track_dirty_pages);
	cr_expect_eq(controller.config.machine.huge_pages, HUGE_PAGES_2M);

	cr_assert_eq(controller_put(res_machine_config_put,
				    "{\"mem_size_mib\":64,\"vcpu_count\":1,\"cpu_template\":null}",
				    &controller, &err),
		     0, "%s", err.msg);
	cr_expect_eq(controller.config.machine.vcpu_count, 1);
	cr_expect_eq(controller.config.machine.mem_size_mib, 64);
	cr_expect_not(controller.config.machine.smt);
	cr_expect_not(controller.config.machine.track_dirty_pages);
	cr_expect_eq(controller.config.machine.huge_pages, HUGE_PAGES_NONE);
	controller_destroy(&controller);
}

Test(res_machine_config, faults_leave_the_machine_as_it_was)
{
	static const struct {
		const char *text;
		const char *msg;
	} cases[] = {
		{"{\"mem_size_mib\": 128}", "Bad: missing field `vcpu_count` at line 1 column 21"},
		{"{\"vcpu_count\":1}", "Bad: missing field `mem_size_mib` at line 1 column 16"},
		{"{\"vcpu_count\":\"-2\"}",
		 "Bad: invalid type: string \"-2\", expected u8 at line 1 column 18"},
		{"{\"vcpu_count\":300}",
		 "Bad: invalid value: integer `300`, expected u8 at line 1 column 17"},
		{"{\"mem_size_mib\":-1}",
		 "Bad: invalid value: integer `-1`, expected usize at line 1 column 18"},
		{"{\"ht_enabled\":false}",
		 "Bad: unknown field `ht_enabled`, expected one of `vcpu_count`, `mem_size_mib`, "
		 "`smt`, `cpu_template`, `track_dirty_pages`, `huge_pages` at line 1 column 13"},
		{"{\"huge_pages\":\"1G\"}",
		 "Bad: unknown variant `1G`, expected one of `None`, `Transparent`, `2M` at line "
		 "1 column 18"},
		{"{\"vcpu_count\":1,\"mem_size_mib\":1,\"cpu_template\":\"T2\"}",
		 "Machine config error: This build of squib has no CPU templates yet: leave out "
		 "cpu_template `T2`"},
		{"{\"vcpu_count\":1,\"mem_size_mib\":1,\"cpu_template\":\"V1N1\"}",
		 "Machine config error: This build of squib has no CPU templates yet: leave out "
		 "cpu_template `V1N1`"},
		{"{\"vcpu_count\":1,\"mem_size_mib\":3,\"huge_pages\":\"2M\"}",
		 "Machine config error: The memory size (MiB) is either 0, or not a multiple of "
		 "the configured page size."},
		{"{\"vcpu_count\":5,\"mem_size_mib\":3,\"smt\":true}",
		 "Machine config error: The number of vCPUs must be greater than 0, less than 32 "
		 "and must be 1 or an even number if SMT is enabled."},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct controller controller = {0};
		struct error err = {0};

		controller_init(&controller);
		cr_expect_eq(
			controller_put(res_machine_config_put, cases[i].text, &controller, &err),
			-1, "%s", cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg, "%s: %s", cases[i].text, err.msg);
		cr_expect_eq(controller.config.machine.mem_size_mib, 128);
		controller_destroy(&controller);
	}
}

static int patch(const char *text, struct api_fake *fake, struct error *err)
{
	struct resource_call call = {.execute = api_fake_execute, .arg = fake};

	return api_fake_call(res_machine_config_patch, &call, text, err);
}

Test(res_machine_config, a_patch_keeps_what_it_leaves_out)
{
	struct api_fake fake = {0};
	struct error err = {0};

	api_fake_init(&fake);
	fake.config.machine = (struct machine_config){4, 512, true, true, HUGE_PAGES_2M};
	cr_assert_eq(patch("{\"mem_size_mib\":64,\"smt\":null}", &fake, &err), 0, "%s", err.msg);
	cr_expect_eq(fake.asked.kind, ACTION_PUT_MACHINE);
	cr_expect_eq(fake.asked.machine.vcpu_count, 4);
	cr_expect_eq(fake.asked.machine.mem_size_mib, 64);
	cr_expect(fake.asked.machine.smt);
	cr_expect(fake.asked.machine.track_dirty_pages);
	cr_expect_eq(fake.asked.machine.huge_pages, HUGE_PAGES_2M);
	cr_assert_eq(patch("{\"vcpu_count\":1,\"smt\":false,\"track_dirty_pages\":false,"
			   "\"huge_pages\":\"None\"}",
			   &fake, &err),
		     0, "%s", err.msg);
	cr_expect_eq(fake.asked.machine.vcpu_count, 1);
	cr_expect_eq(fake.asked.machine.mem_size_mib, 64);
	cr_expect_not(fake.asked.machine.smt);
	cr_expect_eq(fake.asked.machine.huge_pages, HUGE_PAGES_NONE);
	api_fake_destroy(&fake);
}

Test(res_machine_config, a_faulty_patch_does_not_reach_the_machine)
{
	static const struct refusal cases[] = {
		{res_machine_config_patch, "{}", "Empty PATCH request."},
		{res_machine_config_patch, "{\"smt\":null,\"cpu_template\":null}",
		 "Empty PATCH request."},
		{res_machine_config_patch, "{\"vcpu_count\":2,\"mem_size_mib\":\"1\"}",
		 "Bad: invalid type: string \"1\", expected usize at line 1 column 34"},
		{res_machine_config_patch, "{\"cpu_template\":\"T2A\"}",
		 "Machine config error: This build of squib has no CPU templates yet: leave out "
		 "cpu_template `T2A`"},
		{res_machine_config_patch, "[]",
		 "Bad: invalid type: sequence, expected struct MachineConfigUpdate at line 1 "
		 "column 0"},
	};

	expect_refusals(cases, ARRAY_COUNT(cases));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/controller.c: which action is legal when, and what the states do. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/arch_fake.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/controller.h"

static struct evloop loop;
static struct timeline timeline;
static struct telemetry telemetry;
static struct controller controller;
static char kernel_path[64];

static void setup(void)
{
	struct error err = {0};
	int kernel = file_of("the kernel", 10);

	capture_log(LOG_INFO);
	snprintf(kernel_path, sizeof(kernel_path), "/proc/self/fd/%d", kernel);
	cr_assert(evloop_init(&loop, &err) == 0);
	telemetry_init(&telemetry);
	controller = (struct controller){
		.loop = &loop, .timeline = &timeline, .id = "tester", .telemetry = &telemetry};
	controller_init(&controller);
}

static int run(enum action_kind kind, struct error *err)
{
	struct action action = {.kind = kind};

	error_clear(err);
	return controller_execute(&controller, &action, err);
}

static void put_boot_source(void)
{
	struct action action = {.kind = ACTION_PUT_BOOT_SOURCE};
	struct error err = {0};

	action.boot_source = (struct boot_source_config){.kernel_image_path = strdup(kernel_path)};
	cr_assert(controller_execute(&controller, &action, &err) == 0, "%s", err.msg);
}

static enum vm_state state(void)
{
	struct action action = {.kind = ACTION_GET};
	struct error err = {0};

	cr_assert(controller_execute(&controller, &action, &err) == 0);
	cr_assert_str_eq(action.id, "tester");
	return action.state;
}

Test(controller, actions_are_refused_in_the_wrong_state, .init = setup, .timeout = 10)
{
	static const enum action_kind before[] = {ACTION_PUT_MACHINE, ACTION_PUT_BOOT_SOURCE,
						  ACTION_PUT_LOGGER,  ACTION_PUT_SERIAL,
						  ACTION_PUT_METRICS, ACTION_START};
	static const enum action_kind after[] = {ACTION_PAUSE, ACTION_RESUME, ACTION_CTRL_ALT_DEL,
						 ACTION_FLUSH_METRICS};
	struct error err = {0};

	for (size_t i = 0; i < ARRAY_COUNT(after); i++) {
		cr_assert(run(after[i], &err) == -1);
		cr_expect_str_eq(err.msg, "The requested operation is not supported before "
					  "starting the microVM.");
		cr_expect_eq(err.kind, ERR_BAD_STATE);
	}
	put_boot_source();
	cr_assert(run(ACTION_START, &err) == 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(before); i++) {
		cr_assert(run(before[i], &err) == -1);
		cr_expect_str_eq(err.msg, "The requested operation is not supported after "
					  "starting the microVM.");
	}
	controller_destroy(&controller);
}

Test(controller, pausing_and_resuming_are_idempotent, .init = setup, .timeout = 10)
{
	static const struct {
		enum action_kind kind;
		enum vm_state state;
	} steps[] = {
		{ACTION_START, VM_RUNNING}, {ACTION_RESUME, VM_RUNNING}, {ACTION_PAUSE, VM_PAUSED},
		{ACTION_PAUSE, VM_PAUSED},  {ACTION_RESUME, VM_RUNNING}, {ACTION_PAUSE, VM_PAUSED},
	};
	struct error err = {0};

	put_boot_source();
	cr_assert_eq(state(), VM_NOT_STARTED);
	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		cr_assert(run(steps[i].kind, &err) == 0, "step %zu: %s", i, err.msg);
		cr_assert_eq(state(), steps[i].state, "step %zu", i);
	}
	cr_expect_eq(controller.microvm.vm.parked, 1);
	controller_destroy(&controller);
}

Test(controller, a_failed_start_can_be_mended, .init = setup, .timeout = 10)
{
	struct error err = {0};

	cr_assert(run(ACTION_START, &err) == -1);
	cr_expect_str_eq(err.msg, "Start microvm error: Cannot start microvm without kernel "
				  "configuration.");
	put_boot_source();
	arch_fake_fail("arch_load_kernel");
	cr_assert(run(ACTION_START, &err) == -1);
	cr_assert(strstr(err.msg, "Start microvm error: ") == err.msg, "%s", err.msg);
	cr_assert_eq(state(), VM_NOT_STARTED);
	cr_assert_eq(arch_fake_alive(), 0);
	arch_fake_fail(NULL);
	cr_assert(run(ACTION_START, &err) == 0, "%s", err.msg);
	cr_assert_eq(state(), VM_RUNNING);
	controller_destroy(&controller);
}

Test(controller, errors_name_the_resource, .init = setup)
{
	struct action action = {.kind = ACTION_PUT_MACHINE, .machine = {.vcpu_count = 33}};
	struct error err = {0};

	action.machine.mem_size_mib = 128;
	cr_assert(controller_execute(&controller, &action, &err) == -1);
	cr_assert(strstr(err.msg, "Machine config error: The number of vCPUs") == err.msg, "%s",
		  err.msg);
	cr_assert_eq(action.config->machine.vcpu_count, 1, "the configuration is as before");
}

Test(controller, the_end_of_the_guest_stops_the_loop, .init = setup, .timeout = 10)
{
	static const struct {
		enum vm_end end;
		int result;
	} cases[] = {{VM_RESET, 0}, {VM_FAILED, -1}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err = {0};

		loop.is_stopping = false;
		put_boot_source();
		cr_assert(run(ACTION_START, &err) == 0, "%s", err.msg);
		vm_signal_end(&controller.microvm.vm, cases[i].end, "the reason");
		cr_assert(evloop_run(&loop, &err) == 0);
		cr_assert_eq(controller_result(&controller, &err), cases[i].result);
		cr_expect(cases[i].result == 0 || strcmp(err.msg, "the reason") == 0);
		controller_destroy(&controller);
		controller_init(&controller);
	}
	controller_destroy(&controller);
}

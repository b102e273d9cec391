/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/controller.c: which action is legal when, and what the states do. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/arch_fake.h"
#include "tests/fake/kvm_fake.h"
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
	static const enum action_kind before[] = {
		ACTION_PUT_MACHINE, ACTION_PUT_BOOT_SOURCE, ACTION_PUT_LOGGER,
		ACTION_PUT_SERIAL,  ACTION_PUT_METRICS,	    ACTION_START,
		ACTION_PUT_VSOCK,   ACTION_PUT_ENTROPY,	    ACTION_PUT_BALLOON};
	static const enum action_kind after[] = {ACTION_PAUSE,
						 ACTION_RESUME,
						 ACTION_CTRL_ALT_DEL,
						 ACTION_FLUSH_METRICS,
						 ACTION_PATCH_DRIVE,
						 ACTION_PATCH_NET,
						 ACTION_UNPLUG,
						 ACTION_PATCH_BALLOON,
						 ACTION_GET_BALLOON_STATS,
						 ACTION_PATCH_BALLOON_STATS,
						 ACTION_START_HINTING,
						 ACTION_GET_HINTING,
						 ACTION_STOP_HINTING};
	static const enum action_kind pci[] = {ACTION_PUT_DRIVE, ACTION_PUT_NET, ACTION_PUT_PMEM,
					       ACTION_UNPLUG};
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
	/* [compat] What could be plugged in, were there a bus for it. */
	for (size_t i = 0; i < ARRAY_COUNT(pci); i++) {
		cr_assert(run(pci[i], &err) == -1);
		cr_expect_str_eq(err.msg, "PCI is not enabled");
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
		cr_assert_eq(loop.is_frozen, steps[i].state == VM_PAUSED, "step %zu", i);
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

/* --- Devices --- */

static const char disk_path[] = "/tmp/squib-controller-disk";

static void make_disk(const char *path, off_t len)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert(fd >= 0 && ftruncate(fd, len) == 0);
	close(fd);
}

/* A running machine with a drive "a" and a balloon of 9 MiB with statistics. */
static void start_with_devices(void)
{
	struct action drive = {.kind = ACTION_PUT_DRIVE};
	struct action balloon = {.kind = ACTION_PUT_BALLOON};
	struct error err = {0};

	make_disk(disk_path, 4096);
	put_boot_source();
	drive.drive =
		(struct blk_config){.drive_id = strdup("a"), .path_on_host = strdup(disk_path)};
	balloon.balloon = (struct balloon_config){.amount_mib = 9, .stats_polling_interval_s = 1};
	cr_assert(controller_execute(&controller, &drive, &err) == 0, "%s", err.msg);
	cr_assert(controller_execute(&controller, &balloon, &err) == 0, "%s", err.msg);
	cr_assert(run(ACTION_START, &err) == 0, "%s", err.msg);
}

static void end_with_devices(void)
{
	controller_destroy(&controller);
	unlink(disk_path);
}

Test(controller, a_drive_goes_on_with_another_file_and_limits, .init = setup, .timeout = 10)
{
	static const char other[] = "/tmp/squib-controller-other";
	char id[] = "a";
	char path[] = "/tmp/squib-controller-other";
	struct action action = {.kind = ACTION_PATCH_DRIVE};
	struct error err = {0};

	start_with_devices();
	make_disk(other, 8192);
	action.drive_update = (struct drive_update){
		.drive_id = id,
		.path_on_host = path,
		.rate_limiter = {.ops = {.size = 1, .refill_time_ms = 2}, .has_ops = true},
		.has_rate_limiter = true,
	};
	cr_assert(controller_execute(&controller, &action, &err) == 0, "%s", err.msg);

	const struct drive *drive = &action.config->drives[0];

	cr_expect_str_eq(drive->config.path_on_host, other);
	cr_expect_eq(drive->file.sectors, 16);
	cr_expect(drive->config.has_rate_limiter && drive->config.rate_limiter.has_ops);
	unlink(other);
	/* A file that is not there changes nothing. */
	cr_assert(controller_execute(&controller, &action, &err) == -1);
	cr_expect_str_eq(err.msg,
			 "Drive config error: Unable to patch the block device: Block: Virtio "
			 "backend error: Error manipulating the backing file: No such file or "
			 "directory (os error 2) /tmp/squib-controller-other Please verify the "
			 "request arguments.",
			 "%s", err.msg);
	cr_expect_eq(drive->file.sectors, 16);
	cr_expect_eq(
		metric_get(&blk_metrics(devmgr_blk(&controller.microvm.devmgr, 0))->update_fails),
		1);
	end_with_devices();
}

Test(controller, updates_of_devices_that_are_not_there_are_refused, .init = setup, .timeout = 10)
{
#define NOT_FOUND "Failed perform action on device: Device not found"
#define PATCH "Drive config error: Unable to patch the block device: "
	static char x[] = "x";
	static char a[] = "a";
	static const struct {
		struct action action;
		const char *msg;
	} cases[] = {
		{{.kind = ACTION_PATCH_DRIVE, .drive_update = {.drive_id = x, .path_on_host = a}},
		 PATCH NOT_FOUND " Please verify the request arguments."},
		{{.kind = ACTION_PATCH_DRIVE, .drive_update = {.drive_id = a}},
		 PATCH
		 "Block: Running method expected different backend. Please verify the request "
		 "arguments."},
		{{.kind = ACTION_PATCH_NET, .net_update = {.iface_id = x}},
		 "Network config error: Unable to update the net device: " NOT_FOUND},
	};

	start_with_devices();
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct action action = cases[i].action;
		struct error err = {0};

		cr_expect(controller_execute(&controller, &action, &err) == -1, "case %zu", i);
		cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
	}
	end_with_devices();
}

Test(controller, a_balloon_without_its_driver_refuses, .init = setup, .timeout = 10)
{
	struct action action = {.kind = ACTION_PATCH_BALLOON, .amount_mib = 5};
	struct error err = {0};

	cr_expect(run(ACTION_GET_BALLOON, &err) == -1);
	cr_expect_str_eq(err.msg, "Balloon config error: No balloon device found.");
	start_with_devices();
	cr_expect(run(ACTION_GET_BALLOON, &err) == 0, "%s", err.msg);
	error_clear(&err);
	cr_expect(controller_execute(&controller, &action, &err) == -1);
	cr_expect_str_eq(err.msg, "Balloon update error: Balloon: Device not activated yet.", "%s",
			 err.msg);
	cr_expect_eq(action.config->balloon.amount_mib, 9);
	action.kind = ACTION_PATCH_BALLOON_STATS;
	action.stats_polling_interval_s = 0;
	error_clear(&err);
	cr_expect(controller_execute(&controller, &action, &err) == -1);
	cr_expect_str_eq(err.msg,
			 "Balloon update error: Balloon: Statistics cannot be enabled/disabled "
			 "after activation.",
			 "%s", err.msg);
	cr_expect(run(ACTION_START_HINTING, &err) == -1);
	cr_expect_str_eq(err.msg,
			 "Balloon update error: Balloon: Attempting to use hinting when not "
			 "enabled",
			 "%s", err.msg);
	end_with_devices();
}

Test(controller, a_machine_without_balloon_says_so, .init = setup, .timeout = 10)
{
	static const enum action_kind updates[] = {ACTION_PATCH_BALLOON, ACTION_PATCH_BALLOON_STATS,
						   ACTION_START_HINTING, ACTION_GET_HINTING,
						   ACTION_STOP_HINTING};
	struct error err = {0};

	put_boot_source();
	cr_assert(run(ACTION_START, &err) == 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(updates); i++) {
		cr_expect(run(updates[i], &err) == -1);
		cr_expect_str_eq(err.msg, "Balloon update error: " NOT_FOUND, "%s", err.msg);
	}
	cr_expect(run(ACTION_GET_BALLOON, &err) == -1);
	cr_expect_str_eq(err.msg, "Internal VMM error: " NOT_FOUND);
	cr_expect(run(ACTION_GET_BALLOON_STATS, &err) == -1);
	cr_expect_str_eq(err.msg, "Internal VMM error: " NOT_FOUND);
	controller_destroy(&controller);
}

Test(controller, a_start_that_a_device_fails_can_be_mended, .init = setup, .timeout = 10)
{
	struct error err = {0};

	kvm_fake_fail(KVM_IOEVENTFD, 1, ENOSPC);
	make_disk(disk_path, 4096);
	put_boot_source();

	struct action drive = {.kind = ACTION_PUT_DRIVE};

	drive.drive =
		(struct blk_config){.drive_id = strdup("a"), .path_on_host = strdup(disk_path)};
	cr_assert(controller_execute(&controller, &drive, &err) == 0, "%s", err.msg);
	cr_assert(run(ACTION_START, &err) == -1);
	cr_expect_eq(strncmp(err.msg, "Start microvm error: Cannot attach the drive a: ", 48), 0,
		     "%s", err.msg);
	cr_expect_eq(arch_fake_alive(), 0);
	cr_assert(run(ACTION_START, &err) == 0, "%s", err.msg);
	end_with_devices();
}

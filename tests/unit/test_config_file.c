/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/config_file.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/config_file.h"
#include "tests/fake/kvm_fake.h"
#include "tests/unit/api_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

/* A kernel that is always there: this is about the file that names it. */
#define KERNEL "\"boot-source\":{\"kernel_image_path\":\"/proc/self/exe\"}"
#define BOOT KERNEL ",\"drives\":[]"
TestSuite(config_file, .init = api_bed_init, .fini = api_bed_destroy);

#define FAILED "Configuration for VMM from one single json failed: "

Test(config_file, all_that_this_build_has_is_applied)
{
	static const char text[] =
		"{\"balloon\":null,\"drives\":[],"
		"\"boot-source\":{\"kernel_image_path\":\"/proc/self/exe\","
		"\"initrd_path\":\"/proc/self/exe\",\"boot_args\":\"quiet\"},"
		"\"cpu-config\":null,\"logger\":{\"level\":\"Error\"},"
		"\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":256,\"smt\":true,"
		"\"track_dirty_pages\":true,\"huge_pages\":\"Transparent\","
		"\"cpu_template\":\"None\"},"
		"\"metrics\":null,\"mmds-config\":null,\"network-interfaces\":[],"
		"\"vsock\":null,\"entropy\":null,\"pmem\":[],\"memory-hotplug\":null,"
		"\"serial\":{\"unknown\":1},\"whatever\":7}";
	struct error err = {0};

	cr_assert_eq(
		config_file_apply(text, strlen(text), request_run_here, &api_bed.microvm, &err), 0,
		"%s", err.msg);
	cr_expect_eq(api_bed.microvm.config.machine.vcpu_count, 2);
	cr_expect_eq(api_bed.microvm.config.machine.mem_size_mib, 256);
	cr_expect(api_bed.microvm.config.machine.smt);
	cr_expect(api_bed.microvm.config.machine.track_dirty_pages);
	cr_expect_eq(api_bed.microvm.config.machine.huge_pages, HUGE_PAGES_TRANSPARENT);
	cr_expect_str_eq(api_bed.microvm.config.boot_source.kernel_image_path, "/proc/self/exe");
	cr_expect_str_eq(api_bed.microvm.config.boot_source.initrd_path, "/proc/self/exe");
	cr_expect_str_eq(api_bed.microvm.config.boot_source.boot_args, "quiet");
	cr_expect_geq(api_bed.microvm.config.boot_source.kernel_fd, 0);
	cr_expect(log_enabled(LOG_ERROR, __FILE__));
	cr_expect_not(log_enabled(LOG_WARN, __FILE__));
}

Test(config_file, devices_are_applied_in_order)
{
	static const char text[] =
		"{\"entropy\":{},\"balloon\":{\"amount_mib\":9,\"deflate_on_oom\":true},\"drives\":"
		"["
		"{\"drive_id\":\"a.b\",\"is_root_device\":false,\"path_on_host\":\"/proc/self/"
		"exe\","
		"\"is_read_only\":true},{\"drive_id\":\"r\",\"is_root_device\":true,"
		"\"path_on_host\":\"/proc/self/exe\",\"is_read_only\":true}]," KERNEL "}";
	struct error err = {0};

	cr_assert_eq(
		config_file_apply(text, strlen(text), request_run_here, &api_bed.microvm, &err), 0,
		"%s", err.msg);
	cr_assert_eq(api_bed.microvm.config.drive_count, 2);
	cr_expect_str_eq(api_bed.microvm.config.drives[0].config.drive_id, "r");
	cr_expect_str_eq(api_bed.microvm.config.drives[1].config.drive_id, "a.b");
	cr_expect(api_bed.microvm.config.has_entropy && api_bed.microvm.config.has_balloon);
	cr_expect_eq(api_bed.microvm.config.balloon.amount_mib, 9);
}

Test(config_file, kernel_and_drives_are_enough)
{
	static const char text[] = "{" BOOT ",\"machine-config\":null,\"logger\":null}";
	struct error err = {0};

	cr_assert_eq(
		config_file_apply(text, strlen(text), request_run_here, &api_bed.microvm, &err), 0,
		"%s", err.msg);
	cr_expect_eq(api_bed.microvm.config.machine.vcpu_count, 1);
	cr_expect_eq(api_bed.microvm.config.machine.mem_size_mib, 128);
}

Test(config_file, faults_are_wrapped_as_firecracker_does)
{
	static const struct {
		const char *text;
		const char *msg;
	} cases[] = {
		{"", FAILED "Invalid JSON: EOF while parsing a value at line 1 column 0"},
		{"{}", FAILED "Invalid JSON: missing field `boot-source` at line 1 column 2"},
		{"[]", FAILED "Invalid JSON: invalid type: sequence, expected struct VmmConfig at "
			      "line 1 column 0"},
		{"{\"drives\":[],\"boot-source\":null}",
		 FAILED "Invalid JSON: invalid type: null, expected struct BootSourceConfig at "
			"line 1 column 31"},
		{"{\"drives\":[],\"boot-source\":{}}",
		 FAILED "Invalid JSON: missing field `kernel_image_path` at line 1 column 29"},
		{"{" KERNEL "," KERNEL "}",
		 FAILED "Invalid JSON: duplicate field `boot-source` at line 1 column 67"},
		{"{\"drives\":[],\"boot-source\":{\"kernel_image_path\":\"/no/such\"}}",
		 FAILED "Boot source error: The kernel file cannot be opened: No such file or "
			"directory (os error 2)"},
		{"{" BOOT ",\"memory-hotplug\":{\"total_size_mib\":64}}",
		 FAILED "Memory hotplug config error: Total size must not be lower than slot size "
			"(128 MiB)"},
		{"{" BOOT ",\"cpu-config\":\"/no/such\"}",
		 FAILED "Unable to use `cpu-config` of the file /no/such: The file cannot be "
			"opened: /no/such: No such file or directory (os error 2)"},
		{"{" BOOT ",\"cpu-config\":\"/dev/null\"}",
		 FAILED "Unable to use `cpu-config` of the file /dev/null: Its JSON is wrong: EOF "
			"while parsing a value at line 1 column 0"},
		{"{" BOOT ",\"cpu-config\":{\"kvm_capabilities\":[\"a\"]}}",
		 FAILED "Invalid JSON: Failed to parse string [a] as a kvm capability - can not "
			"convert to numeric: invalid digit found in string"},
		{"{" KERNEL "}", FAILED "Invalid JSON: missing field `drives` at line 1 column 54"},
		{"{" KERNEL ",\"drives\":null}", FAILED
		 "Invalid JSON: invalid type: null, expected a sequence at line 1 column 67"},
		{"{" KERNEL ",\"drives\":[{}]}",
		 FAILED "Invalid JSON: missing field `drive_id` at line 1 column 66"},
		{"{" KERNEL ",\"drives\":[{\"drive_id\":\"a\",\"is_root_device\":true}]}",
		 FAILED "Block device error: Unable to create the virtio block device: Invalid "
			"block config."},
		{"{" BOOT ",\"network-interfaces\":{}}",
		 FAILED "Invalid JSON: invalid type: map, expected a sequence at line 1 column 87"},
		{"{" BOOT ",\"network-interfaces\":[1]}",
		 FAILED "Invalid JSON: invalid type: integer `1`, expected struct "
			"NetworkInterfaceConfig at line 1 column 89"},
		{"{" BOOT ",\"vsock\":{}}",
		 FAILED "Invalid JSON: missing field `guest_cid` at line 1 column 76"},
		{"{" BOOT ",\"balloon\":{\"amount_mib\":129,\"deflate_on_oom\":true}}",
		 FAILED "Balloon device error: Amount of pages requested is too large."},
		{"{" BOOT ",\"entropy\":{\"a\":1}}",
		 FAILED "Invalid JSON: unknown field `a`, expected `rate_limiter` at line 1 column "
			"80"},
		/* Applied in Firecracker's order, whatever that of the file. */
		{"{\"drives\":[],\"boot-source\":{},\"machine-config\":{\"vcpu_count\":0,\"mem_"
		 "size_mib\":1},"
		 "\"logger\":{\"level\":\"loud\"}}",
		 FAILED "Invalid JSON: Invalid LevelFilter at line 1 column 106"},
		{"{\"drives\":[],\"boot-source\":{},\"machine-config\":{\"vcpu_count\":1,\"mem_"
		 "size_mib\":0}}",
		 FAILED "VM config error: The memory size (MiB) is either 0, or not a "
			"multiple of the configured page size."},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err = {0};
		unsigned fds = kvm_fake_open_fds();

		cr_expect_eq(config_file_apply(cases[i].text, strlen(cases[i].text),
					       request_run_here, &api_bed.microvm, &err),
			     -1, "%s", cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg, "%s: %s", cases[i].text, err.msg);
		microvm_destroy(&api_bed.microvm);
		cr_expect_eq(kvm_fake_open_fds(), fds, "%s leaks a descriptor", cases[i].text);
	}
}

Test(config_file, nothing_is_applied_when_a_key_is_missing)
{
	static const char text[] = "{\"boot-source\":{\"kernel_image_path\":\"/dev/null\"},"
				   "\"logger\":{\"level\":\"Off\"}}";
	struct error err = {0};

	cr_expect_eq(
		config_file_apply(text, strlen(text), request_run_here, &api_bed.microvm, &err),
		-1);
	cr_expect(log_enabled(LOG_INFO, __FILE__));
	cr_expect_null(api_bed.microvm.config.boot_source.kernel_image_path);
}

Test(config_file, a_file_is_read_from_its_path)
{
	static const char text[] = "{" BOOT "}";
	char path[] = "/tmp/squib-config-file-XXXXXX";
	int fd = mkstemp(path);
	char *read = NULL;
	size_t len = 0;
	struct error err = {0};

	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	cr_expect_eq(config_file_read(path, &read, &len, &err), 0, "%s", err.msg);
	cr_expect(len == strlen(text) && memcmp(read, text, len) == 0);
	free(read);
	unlink(path);
}

Test(config_file, unreadable_files_are_told)
{
	struct error err = {0};
	char path[] = "/tmp/squib-config-file-XXXXXX";
	int fd = mkstemp(path);
	char *read = NULL;
	size_t len = 0;

	cr_expect_eq(config_file_read("/no/such/file", &read, &len, &err), -1);
	cr_expect_str_eq(err.msg,
			 "Unable to open or read from the configuration file: The file cannot be "
			 "opened: /no/such/file: No such file or directory (os error 2)",
			 "%s", err.msg);

	error_clear(&err);
	cr_assert_eq(ftruncate(fd, (1 << 20) + 1), 0);
	cr_expect_eq(config_file_read(path, &read, &len, &err), -1);
	cr_expect_eq(err.kind, ERR_TOO_LARGE, "%s", err.msg);
	close(fd);
	unlink(path);
}

/* In a folder of its own, since the example's logger writes a file. */
Test(config_file, the_documented_example_is_valid)
{
	FILE *in = fopen("docs/config-file.md", "r");
	char *page = NULL;
	size_t size = 0;
	struct error err = {0};

	cr_assert_not_null(in);
	cr_assert_gt(getdelim(&page, &size, '\0', in), 0);
	fclose(in);

	char *start = strstr(page, "```json\n");

	cr_assert_not_null(start);
	start += strlen("```json\n");

	char folder[] = "/tmp/squib-config-file-XXXXXX";

	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);

	/* Its last step fails, on the kernel that is not there: all else was taken. */
	cr_expect_eq(config_file_apply(start, (size_t)(strstr(start, "```") - start),
				       request_run_here, &api_bed.microvm, &err),
		     -1);
	cr_expect_str_eq(err.msg,
			 FAILED "Boot source error: The kernel file cannot be opened: No such file "
				"or directory (os error 2)",
			 "%s", err.msg);
	cr_expect_eq(api_bed.microvm.config.machine.mem_size_mib, 256);
	free(page);
	cr_expect_eq(unlink("vm.log"), 0);
	cr_expect_eq(rmdir(folder), 0);
}

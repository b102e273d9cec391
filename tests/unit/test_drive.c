/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/resources/drive.c: what requests leave in the list of drives. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "tests/unit/api_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/file_lock.h"

static char folder[] = "/tmp/squib-drive-XXXXXX";
static unsigned fds;
static int log_fd;

static void make_disk(const char *path, off_t len)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert(fd >= 0 && ftruncate(fd, len) == 0);
	close(fd);
}

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
	make_disk("disk", 4096);
	api_bed_init();
	log_fd = capture_log(LOG_WARN);
	fds = kvm_fake_open_fds();
}

/* A configuration that is destroyed twice leaves no descriptor. */
static void tear_down(void)
{
	microvm_destroy(&api_bed.microvm);
	microvm_destroy(&api_bed.microvm);
	cr_expect_eq(kvm_fake_open_fds(), fds, "a descriptor leaks");
	api_bed_destroy();
	unlink("disk");
	cr_expect_eq(rmdir(folder), 0);
}

TestSuite(drive, .init = set_up, .fini = tear_down, .timeout = 10);

static void put(const char *id, bool is_root, const char *fault)
{
	char line[64];
	char body[256];

	(void)!snprintf(line, sizeof(line), "PUT /drives/%s", id);
	(void)!snprintf(body, sizeof(body),
			"{\"drive_id\":\"%s\",\"is_root_device\":%s,\"path_on_host\":\"disk\"}", id,
			is_root ? "true" : "false");
	api_bed_expect(line, body, fault);
}

static const char *ids(void)
{
	static char text[64];

	text[0] = '\0';
	for (size_t i = 0; i < api_bed.microvm.config.drive_count; i++) {
		const struct blk_config *drive = &api_bed.microvm.config.drives[i].config;

		strcat(text, drive->drive_id);
		strcat(text, drive->is_root_device ? "*" : "");
	}
	return text;
}

Test(drive, the_root_drive_comes_first)
{
	static const struct {
		const char *id;
		bool is_root;
		const char *ids;
	} steps[] = {
		{"a", false, "a"},
		{"b", false, "ab"},
		{"c", true, "c*ab"},
		/* A second one is refused, the first may be put again. */
		{"d", true, NULL},
		{"b", true, NULL},
		{"c", true, "c*ab"},
		/* It stays where it is when it is none any more; then another takes its place. */
		{"c", false, "cab"},
		{"b", true, "b*ac"},
		{"b", false, "bac"},
		{"b", true, "b*ac"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		put(steps[i].id, steps[i].is_root,
		    steps[i].ids != NULL
			    ? NULL
			    : API_FAULT("Drive config error: A root block device already exists!"));
		if (steps[i].ids != NULL) {
			cr_expect_str_eq(ids(), steps[i].ids, "step %zu: %s", i, ids());
		}
		cr_expect_eq(kvm_fake_open_fds(),
			     fds + (unsigned)api_bed.microvm.config.drive_count);
	}
}

#define CREATE "Drive config error: Unable to create the virtio block device: "

Test(drive, a_bad_drive_changes_nothing)
{
	static const struct {
		const char *fields;
		const char *fault;
	} cases[] = {
		{"\"path_on_host\":\"none\"",
		 API_FAULT(CREATE "Virtio backend error: Error manipulating the backing file: No "
				  "such file or directory (os error 2) none")},
		{"\"socket\":null", API_FAULT(CREATE "Invalid block config.")},
		{"\"socket\":\"a\",\"path_on_host\":\"disk\"",
		 API_FAULT(CREATE "Invalid block config.")},
		{"\"socket\":\"a\",\"is_read_only\":true",
		 API_FAULT(CREATE "Invalid block config.")},
		{"\"socket\":\"a\",\"rate_limiter\":{}", API_FAULT(CREATE "Invalid block config.")},
		{"\"socket\":\"a\",\"io_engine\":\"Async\"",
		 API_FAULT(CREATE "Invalid block config.")},
		{"\"socket\":\"a\"",
		 API_FAULT(CREATE "Vhost user backend error: Vhost-user error: Failed to connect "
				  "to UDS Unix stream: No such file or directory (os error 2)")},
		{"\"path_on_host\":\"disk\",\"num_queues\":17",
		 API_FAULT(CREATE "Invalid block config: num_queues is 17, more than the limit of "
				  "16")},
	};

	put("a", false, NULL);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char body[256];

		(void)!snprintf(body, sizeof(body),
				"{\"drive_id\":\"a\",\"is_root_device\":false,%s}",
				cases[i].fields);
		api_bed_expect("PUT /drives/a", body, cases[i].fault);
		cr_expect_str_eq(api_bed.microvm.config.drives[0].config.path_on_host, "disk");
		cr_expect_eq(kvm_fake_open_fds(), fds + 1, "case %zu", i);
	}
}

Test(drive, a_list_has_an_end)
{
	char id[16];

	for (int i = 0; i < CONFIG_DEVICES_MAX; i++) {
		(void)!snprintf(id, sizeof(id), "d%d", i);
		put(id, false, NULL);
	}
	put("more", false, API_FAULT("Drive config error: There are 128 such devices already"));
	put("d7", true, NULL);
}

Test(drive, a_running_machine_goes_on_with_another_file_and_limits)
{
	static const char patch[] = "{\"drive_id\":\"a\",\"path_on_host\":\"other\","
				    "\"rate_limiter\":{\"ops\":{\"size\":1,\"refill_time\":2}}}";
	const struct drive *drive;

	make_disk("other", 8192);
	put("a", false, NULL);
	api_bed_start();
	api_bed_expect("PATCH /drives/a", patch, NULL);
	drive = &api_bed.microvm.config.drives[0];
	cr_expect_str_eq(drive->config.path_on_host, "other");
	cr_expect_eq(drive->file.sectors, 16);
	cr_expect(drive->config.has_rate_limiter && drive->config.rate_limiter.has_ops);
	unlink("other");
	/* A file that is not there changes nothing. */
	api_bed_expect("PATCH /drives/a", patch,
		       API_FAULT("Drive config error: Unable to patch the block device: Block: "
				 "Virtio backend error: Error manipulating the backing file: No "
				 "such file or directory (os error 2) other Please verify the "
				 "request arguments."));
	cr_expect_eq(drive->file.sectors, 16);
	cr_expect_eq(metric_get(&blk_metrics(drive->blk)->update_fails), 1);
}

/* How often a file that another squib has was taken all the same. */
static unsigned warnings(const char *path)
{
	char line[128];

	(void)!snprintf(line, sizeof(line), "The file %s of the drive ", path);
	return count_of(captured(log_fd), line);
}

/* [compat] Another process has the file: its open file is another one than the drive's. */
Test(drive, a_boot_has_a_file_of_another_machine_with_a_warning)
{
	AUTO_FD theirs = open("disk", O_RDWR | O_CLOEXEC);

	put("a", false, NULL);
	cr_assert(file_lock(theirs, FILE_CONTENT, true, 0));
	api_bed_start();
	cr_expect_eq(warnings("disk"), 1);
	cr_expect(file_lock(theirs, FILE_CONTENT, false, 0), "it is theirs");
	/* A pause that saves nothing changes nothing. */
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PATCH /vm", "{\"state\":\"Resumed\"}", NULL);
	cr_expect_eq(warnings("disk"), 1);
}

Test(drive, a_boot_has_its_files_for_itself)
{
	AUTO_FD theirs = open("disk", O_RDWR | O_CLOEXEC);

	put("a", false, NULL);
	api_bed_put_kernel();
	/* What fails later gives all of it back. */
	kvm_fake_fail(KVM_IRQFD, 1, EIO);
	api_bed_expect("PUT /actions", "{\"action_type\":\"InstanceStart\"}",
		       API_FAULT("Start microvm error: Cannot attach the drive a: Cannot bind an "
				 "interrupt line to GSI 16: KVM_IRQFD failed: I/O error (os error "
				 "5)"));
	cr_expect(file_lock(theirs, FILE_CONTENT, false, 0));
	file_unlock(theirs, FILE_CONTENT);
	api_bed_expect("PUT /actions", "{\"action_type\":\"InstanceStart\"}", NULL);
	cr_expect_not(file_lock(theirs, FILE_CONTENT, true, 0), "and then it is the machine's");
	cr_expect_eq(warnings("disk"), 0);
}

static void put_twice(bool is_first_read_only, bool is_second_read_only)
{
	static const char *const ids[] = {"a", "b"};
	const bool is_read_only[] = {is_first_read_only, is_second_read_only};

	for (unsigned i = 0; i < 2; i++) {
		char line[64];
		char body[256];

		(void)!snprintf(line, sizeof(line), "PUT /drives/%s", ids[i]);
		(void)!snprintf(body, sizeof(body),
				"{\"drive_id\":\"%s\",\"is_root_device\":false,\"is_read_only\":%s,"
				"\"path_on_host\":\"disk\"}",
				ids[i], is_read_only[i] ? "true" : "false");
		api_bed_expect(line, body, NULL);
	}
}

Test(drive, any_number_read_one_file)
{
	AUTO_FD theirs = open("disk", O_RDWR | O_CLOEXEC);

	cr_assert(file_lock(theirs, FILE_CONTENT, true, 0));
	put_twice(true, true);
	api_bed_start();
	cr_expect_not(file_lock(theirs, FILE_CONTENT, false, 0));
}

/* [compat] Whatever comes and goes of its drives, the file is the machine's. */
Test(drive, drives_of_one_machine_may_share_what_they_write_to)
{
	AUTO_FD theirs = open("disk", O_RDWR | O_CLOEXEC);

	put_twice(true, false);
	api_bed.microvm.controller.has_pci = true;
	api_bed_start();
	put("c", false, NULL);
	cr_expect_not(file_lock(theirs, FILE_CONTENT, true, 0));
	api_bed_expect("DELETE /drives/b", NULL, NULL);
	cr_expect_not(file_lock(theirs, FILE_CONTENT, true, 0), "c has it for a as well");
	api_bed_expect("DELETE /drives/c", NULL, NULL);
	cr_expect(file_lock(theirs, FILE_CONTENT, true, 0), "a only reads");
	cr_expect_not(file_lock(theirs, FILE_CONTENT, false, 0));
	put("c", false, NULL);
	cr_expect_eq(warnings("disk"), 1);
}

Test(drive, what_a_running_machine_gets_is_its_own_and_what_it_gives_up_is_free)
{
	static const char to_other[] = "{\"drive_id\":\"a\",\"path_on_host\":\"other\"}";

	make_disk("other", 8192);
	AUTO_FD disk = open("disk", O_RDWR | O_CLOEXEC);
	AUTO_FD other = open("other", O_RDWR | O_CLOEXEC);

	put("a", false, NULL);
	api_bed.microvm.controller.has_pci = true;
	api_bed_start();
	/* The same file again: it may have grown. */
	api_bed_expect("PATCH /drives/a", "{\"drive_id\":\"a\",\"path_on_host\":\"disk\"}", NULL);
	cr_expect_not(file_lock(disk, FILE_CONTENT, true, 0));
	cr_assert(file_lock(other, FILE_CONTENT, false, 0));
	api_bed_expect("PATCH /drives/a", to_other, NULL);
	cr_expect_eq(warnings("other"), 1);
	file_unlock(other, FILE_CONTENT);
	api_bed_expect("PATCH /drives/a", to_other, NULL);
	cr_expect(file_lock(disk, FILE_CONTENT, false, 0), "what it had is free");
	cr_expect_not(file_lock(other, FILE_CONTENT, true, 0));
	unlink("other");
}

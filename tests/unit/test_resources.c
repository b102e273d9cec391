/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/resources: what requests leave in the configuration, where no vector sees it. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/arch.h"
#include "tests/fake/kvm_fake.h"
#include "tests/unit/api_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/resources/resource.h"

static char folder[] = "/tmp/squib-resources-XXXXXX";
static unsigned fds;
static struct vm_config *const config = &api_bed.microvm.config;

static void set_up(void)
{
	int fd;

	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
	fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(write(fd, "12345", 5), 5);
	close(fd);
	api_bed_init();
	fds = kvm_fake_open_fds();
}

/* Tests leave no descriptor and no file but those that they name. */
static void tear_down(void)
{
	microvm_destroy(&api_bed.microvm);
	microvm_destroy(&api_bed.microvm);
	cr_expect_eq(kvm_fake_open_fds(), fds, "a descriptor leaks");
	api_bed_destroy();
	unlink("file");
	cr_expect_eq(rmdir(folder), 0);
}

TestSuite(resources, .init = set_up, .fini = tear_down, .timeout = 10);

Test(resources, keys_have_turns_of_their_own)
{
	unsigned turns = 0;

	for (size_t i = 0; resources[i] != NULL; i++) {
		if (resources[i]->key != NULL && resource_is_here(resources[i])) {
			cr_expect(resources[i]->turn > 0 && resources[i]->turn < 32 &&
					  (turns & 1u << resources[i]->turn) == 0,
				  "%s", resources[i]->key);
			turns |= 1u << resources[i]->turn;
		}
	}
	cr_expect_gt(turns, 0);
}

/* --- The boot source --- */

Test(resources, a_boot_source_is_opened_and_replaced_whole)
{
	const struct boot_source_config *source = &config->boot_source;

	api_bed_expect("PUT /boot-source",
		       "{\"kernel_image_path\":\"file\",\"initrd_path\":\"file\",\"boot_args\":"
		       "\"console=ttyS0\"}",
		       NULL);
	cr_expect_str_eq(source->kernel_image_path, "file");
	cr_expect_str_eq(source->boot_args, "console=ttyS0");
	cr_expect(source->kernel_len == 5 && source->initrd_len == 5);
	cr_expect_eq(kvm_fake_open_fds(), fds + 2);

	api_bed_expect("PUT /boot-source", "{\"kernel_image_path\":\"file\"}", NULL);
	cr_expect(source->initrd_path == NULL && source->boot_args == NULL);
	cr_expect(source->initrd_fd == -1 && source->initrd_len == 0);
	cr_expect_eq(kvm_fake_open_fds(), fds + 1);

	/* What can't be opened changes nothing, and leaves nothing open. */
	api_bed_expect(
		"PUT /boot-source", "{\"kernel_image_path\":\"file\",\"initrd_path\":\"none\"}",
		API_FAULT("Boot source error: The initrd file cannot be opened due to invalid "
			  "path or invalid permissions. No such file or directory (os error "
			  "2)"));
	api_bed_expect("PUT /boot-source", "{\"kernel_image_path\":\"/tmp\"}",
		       API_FAULT("Boot source error: The kernel file cannot be opened: it is not a "
				 "regular file"));
	cr_expect_str_eq(source->kernel_image_path, "file");
	cr_expect_eq(kvm_fake_open_fds(), fds + 1);
}

Test(resources, the_command_line_has_a_limit)
{
	static char args[ARCH_CMDLINE_MAX + 1];
	static char body[ARCH_CMDLINE_MAX + 100];

	memset(args, '~', ARCH_CMDLINE_MAX);
	(void)!snprintf(body, sizeof(body), "{\"kernel_image_path\":\"file\",\"boot_args\":\"%s\"}",
			args);
	api_bed_expect("PUT /boot-source", body,
		       API_FAULT("Boot source error: The kernel command line is invalid: boot_args "
				 "has 2048 characters, more than the limit of 2047"));
	args[ARCH_CMDLINE_MAX - 1] = '\0';
	(void)!snprintf(body, sizeof(body), "{\"kernel_image_path\":\"file\",\"boot_args\":\"%s\"}",
			args);
	api_bed_expect("PUT /boot-source", body, NULL);
}

/* --- Limits --- */

Test(resources, a_limit_without_effect_is_stored_as_absent)
{
	const struct limiter_config *limits = &config->entropy.rate_limiter;

	api_bed_expect("PUT /entropy",
		       "{\"rate_limiter\":{\"bandwidth\":{\"size\":1,\"refill_time\":0},\"ops\":{"
		       "\"size\":2,\"one_time_burst\":3,\"refill_time\":4}}}",
		       NULL);
	cr_expect(config->has_entropy && config->entropy.has_rate_limiter);
	cr_expect_not(limits->has_bandwidth);
	cr_expect(limits->has_ops && limits->ops.one_time_burst == 3);
	api_bed_expect("PUT /entropy",
		       "{\"rate_limiter\":{\"bandwidth\":{\"size\":0,\"refill_time\":9}}}", NULL);
	cr_expect_not(config->entropy.has_rate_limiter);
}

/* --- The socket device --- */

static void put_vsock(unsigned cid, const char *path, const char *fault)
{
	char body[128];

	(void)!snprintf(body, sizeof(body), "{\"guest_cid\":%u,\"uds_path\":\"%s\"}", cid, path);
	api_bed_expect("PUT /vsock", body, fault);
}

static bool is_there(const char *path)
{
	struct stat status;

	return lstat(path, &status) == 0;
}

Test(resources, a_new_socket_removes_the_one_before)
{
	put_vsock(3, "one", NULL);
	put_vsock(4, "one", NULL);
	put_vsock(5, "./one", NULL);
	cr_expect(is_there("one"));
	put_vsock(6, "two", NULL);
	cr_expect(is_there("two") && !is_there("one"));
	cr_expect_eq(config->vsock.config.guest_cid, 6);
	cr_expect_eq(kvm_fake_open_fds(), fds + 1);
	/* Somebody else removed it. */
	unlink("two");
	put_vsock(7, "two", NULL);
	/* It stays when the process ends [compat]. */
	microvm_destroy(&api_bed.microvm);
	cr_expect(is_there("two"));
	unlink("two");
}

Test(resources, a_socket_that_can_not_be_made_leaves_the_one_before)
{
#define BINDING                                                                                    \
	"Vsock config error: Cannot create backend for vsock device: Error binding to the "        \
	"host-side Unix socket: "
	put_vsock(3, "one", NULL);
	put_vsock(4, "file", API_FAULT(BINDING "Address in use (os error 98)"));
	put_vsock(4, "none/x", API_FAULT(BINDING "No such file or directory (os error 2)"));
	cr_expect_eq(config->vsock.config.guest_cid, 3);
	cr_expect(is_there("one") && is_there("file"));
	cr_expect_eq(kvm_fake_open_fds(), fds + 1);
	unlink("one");
}

/* --- Machine and balloon --- */

Test(resources, a_balloon_fits_into_the_memory)
{
	static const struct api_bed_case cases[] = {
		{"PUT /balloon", "{\"amount_mib\":129,\"deflate_on_oom\":true}",
		 API_FAULT("Balloon config error: Amount of pages requested is too large.")},
		{"PUT /balloon", "{\"amount_mib\":128,\"deflate_on_oom\":true}", NULL},
		{"PUT /balloon", "{\"amount_mib\":100,\"deflate_on_oom\":true}", NULL},
		{"PATCH /machine-config", "{\"mem_size_mib\":99}",
		 API_FAULT("Machine config error: The memory size (MiB) is smaller than the "
			   "previously set balloon device target size.")},
		{"PATCH /machine-config", "{\"mem_size_mib\":100}", NULL},
		{"GET /machine-config", NULL,
		 "{\"vcpu_count\":1,\"mem_size_mib\":100,\"smt\":false,\"track_dirty_pages\":false,"
		 "\"huge_pages\":\"None\"}"},
	};

	api_bed_expect_all(cases, ARRAY_COUNT(cases));
}

/* All change, or none. */
Test(resources, a_patch_of_the_machine_keeps_what_it_leaves_out)
{
	static const struct api_bed_case cases[] = {
		{"PUT /machine-config",
		 "{\"vcpu_count\":2,\"mem_size_mib\":64,\"smt\":true,\"track_dirty_pages\":true}",
		 NULL},
		{"PATCH /machine-config", "{\"huge_pages\":\"2M\",\"vcpu_count\":null}", NULL},
		{"PATCH /machine-config", "{\"mem_size_mib\":32,\"vcpu_count\":33}",
		 API_FAULT("Machine config error: The number of vCPUs must be greater than 0, less "
			   "than 32 and must be 1 or an even number if SMT is enabled.")},
		{"GET /machine-config", NULL,
		 "{\"vcpu_count\":2,\"mem_size_mib\":64,\"smt\":true,\"track_dirty_pages\":true,"
		 "\"huge_pages\":\"2M\"}"},
		{"PUT /machine-config", "{\"vcpu_count\":1,\"mem_size_mib\":3}", NULL},
		{"GET /machine-config", NULL,
		 "{\"vcpu_count\":1,\"mem_size_mib\":3,\"smt\":false,\"track_dirty_pages\":false,"
		 "\"huge_pages\":\"None\"}"},
	};

	api_bed_expect_all(cases, ARRAY_COUNT(cases));
}

/* --- The balloon of a running machine --- */

Test(resources, a_balloon_without_its_driver_refuses)
{
#define UPDATE "Balloon update error: Balloon: "
	static const struct api_bed_case cases[] = {
		{"GET /balloon", NULL,
		 "{\"amount_mib\":9,\"deflate_on_oom\":true,\"stats_polling_interval_s\":1,"
		 "\"free_page_hinting\":false,\"free_page_reporting\":false}"},
		{"PATCH /balloon", "{\"amount_mib\":5}",
		 API_FAULT(UPDATE "Device not activated yet.")},
		{"PATCH /balloon/statistics", "{\"stats_polling_interval_s\":0}",
		 API_FAULT(UPDATE "Statistics cannot be enabled/disabled after activation.")},
		{"PATCH /balloon/hinting/start", NULL,
		 API_FAULT(UPDATE "Attempting to use hinting when not enabled")},
	};

	api_bed_expect("GET /balloon", NULL,
		       API_FAULT("Balloon config error: No balloon device found."));
	api_bed_expect("PUT /balloon",
		       "{\"amount_mib\":9,\"deflate_on_oom\":true,\"stats_polling_interval_s\":1}",
		       NULL);
	api_bed_start();
	api_bed_expect_all(cases, ARRAY_COUNT(cases));
}

Test(resources, a_device_that_is_not_there_is_not_found)
{
#define NOT_FOUND "Failed perform action on device: Device not found"
	static const struct api_bed_case cases[] = {
		{"PATCH /balloon", "{\"amount_mib\":5}",
		 API_FAULT("Balloon update error: " NOT_FOUND)},
		{"PATCH /balloon/statistics", "{\"stats_polling_interval_s\":0}",
		 API_FAULT("Balloon update error: " NOT_FOUND)},
		{"PATCH /balloon/hinting/start", "{}",
		 API_FAULT("Balloon update error: " NOT_FOUND)},
		{"GET /balloon/hinting/status", NULL,
		 API_FAULT("Balloon update error: " NOT_FOUND)},
		{"PATCH /balloon/hinting/stop", NULL,
		 API_FAULT("Balloon update error: " NOT_FOUND)},
		{"GET /balloon", NULL, API_FAULT("Internal VMM error: " NOT_FOUND)},
		{"GET /balloon/statistics", NULL, API_FAULT("Internal VMM error: " NOT_FOUND)},
		{"PATCH /drives/x", "{\"drive_id\":\"x\",\"path_on_host\":\"file\"}",
		 API_FAULT("Drive config error: Unable to patch the block device: " NOT_FOUND
			   " Please verify the request arguments.")},
		{"PATCH /network-interfaces/x", "{\"iface_id\":\"x\"}",
		 API_FAULT("Network config error: Unable to update the net device: " NOT_FOUND)},
	};

	api_bed_start();
	api_bed_expect_all(cases, ARRAY_COUNT(cases));
}

/* --- the steps of a request --- */

static char steps[16]; /* a letter each: small on the thread that asks, large on the VMM thread */
static bool is_on_vmm_thread;
static char failing; /* the step that fails; 0: none */

static int do_step(char name, struct error *err)
{
	size_t len = strlen(steps);

	cr_assert_lt(len + 1, sizeof(steps));
	steps[len] = (char)(is_on_vmm_thread ? name - 'a' + 'A' : name);
	return name == failing ? error_set(err, ERR_BAD_REQUEST, "No.") : 0;
}

static int step_run(struct microvm *microvm, struct request *request, struct error *err)
{
	(void)microvm;
	(void)request;
	return do_step('r', err);
}

static int step_finish(struct request *request, struct error *err)
{
	(void)request;
	return do_step('f', err);
}

static int step_commit(struct microvm *microvm, struct request *request, struct error *err)
{
	(void)microvm;
	(void)request;
	return do_step('c', err);
}

static int run_there(void *arg, struct request *request, struct error *err)
{
	int result;

	is_on_vmm_thread = true;
	result = request_run(arg, request, err);
	is_on_vmm_thread = false;
	return result;
}

Test(resources, what_takes_long_is_done_between_two_steps_of_the_vmm_thread)
{
	static const struct {
		char failing;
		const char *steps, *message;
	} cases[] = {
		{0, "RfC", ""},
		{'r', "R", "Thing error: No."},
		{'f', "Rf", "Thing error: No."},
		{'c', "RfC", "Thing error: No."},
	};
	const struct resource thing = {
		.methods[HTTP_PUT] = {.states = ALWAYS,
				      .prefix = "Thing error",
				      .run = step_run,
				      .finish = step_finish,
				      .commit = step_commit},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct request request = {.resource = &thing, .method = &thing.methods[HTTP_PUT]};
		struct error err = {0};

		memset(steps, 0, sizeof(steps));
		failing = cases[i].failing;
		cr_expect_eq(request_do(&request, run_there, &api_bed.microvm, &err),
			     failing == 0 ? 0 : -1);
		cr_expect_str_eq(steps, cases[i].steps);
		cr_expect_str_eq(err.msg, cases[i].message);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/control/controller.c: start, pause, resume and end, and a start that fails. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fake/arch_fake.h"
#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "tests/unit/api_bed.h"
#include "vmm/base/bytes.h"

#define START "{\"action_type\":\"InstanceStart\"}"

static void set_up(void)
{
	int in[2];
	int out[2];

	/* Pipes, so that the console has descriptors of its own to leak. */
	cr_assert(pipe(in) == 0 && pipe(out) == 0);
	dup2(in[0], STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	api_bed_init();
}

TestSuite(controller, .init = set_up, .fini = api_bed_destroy, .timeout = 60);

static enum vm_state state(void)
{
	return api_bed.microvm.controller.state;
}

Test(controller, requests_are_refused_in_the_wrong_state)
{
	static const char before[] =
		API_FAULT("The requested operation is not supported before starting the microVM.");
	static const char after[] =
		API_FAULT("The requested operation is not supported after starting the microVM.");
	static const char pci[] = API_FAULT("PCI is not enabled");
	static const struct api_bed_case not_yet[] = {
		{"PATCH /vm", "{\"state\":\"Paused\"}", before},
		{"PUT /actions", "{\"action_type\":\"FlushMetrics\"}", before},
		{"PUT /actions", "{\"action_type\":\"SendCtrlAltDel\"}", before},
		{"PATCH /drives/a", "{\"drive_id\":\"a\"}", before},
		{"PATCH /network-interfaces/a", "{\"iface_id\":\"a\"}", before},
		{"DELETE /drives/a", NULL, before},
		{"PATCH /balloon", "{\"amount_mib\":1}", before},
		{"GET /balloon/statistics", NULL, before},
		{"PATCH /balloon/statistics", "{\"stats_polling_interval_s\":1}", before},
		{"PATCH /balloon/hinting/start", NULL, before},
		{"GET /balloon/hinting/status", NULL, before},
		{"PATCH /balloon/hinting/stop", NULL, before},
	};
	static const struct api_bed_case no_more[] = {
		{"PUT /machine-config", "{\"vcpu_count\":1,\"mem_size_mib\":1}", after},
		{"PATCH /machine-config", "{\"vcpu_count\":1}", after},
		{"PUT /boot-source", "{\"kernel_image_path\":\"k\"}", after},
		{"PUT /logger", "{}", after},
		{"PUT /serial", "{}", after},
		{"PUT /metrics", "{\"metrics_path\":\"m\"}", after},
		{"PUT /actions", START, after},
		{"PUT /vsock", "{\"guest_cid\":3,\"uds_path\":\"v\"}", after},
		{"PUT /entropy", "{}", after},
		{"PUT /balloon", "{\"amount_mib\":1,\"deflate_on_oom\":true}", after},
		/* [compat] What could be plugged in, were there a bus for it. */
		{"PUT /drives/a", "{\"drive_id\":\"a\",\"is_root_device\":true}", pci},
		{"PUT /network-interfaces/a", "{\"iface_id\":\"a\",\"host_dev_name\":\"t\"}", pci},
		{"PUT /pmem/a", "{\"id\":\"a\",\"path_on_host\":\"p\"}", pci},
		{"DELETE /drives/a", NULL, pci},
		{"DELETE /pmem/a", NULL, pci},
		{"DELETE /network-interfaces/a", NULL, pci},
	};

	api_bed_expect_all(not_yet, ARRAY_COUNT(not_yet));
	api_bed_start();
	api_bed_expect_all(no_more, ARRAY_COUNT(no_more));
}

Test(controller, pausing_and_resuming_are_idempotent)
{
	static const struct {
		const char *body;
		enum vm_state state;
	} steps[] = {
		{"{\"state\":\"Resumed\"}", VM_RUNNING}, {"{\"state\":\"Paused\"}", VM_PAUSED},
		{"{\"state\":\"Paused\"}", VM_PAUSED},	 {"{\"state\":\"Resumed\"}", VM_RUNNING},
		{"{\"state\":\"Paused\"}", VM_PAUSED},
	};

	cr_assert_eq(state(), VM_NOT_STARTED);
	api_bed_start();
	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		api_bed_expect("PATCH /vm", steps[i].body, NULL);
		cr_assert_eq(state(), steps[i].state, "step %zu", i);
		cr_assert_eq(api_bed.loop.is_frozen, steps[i].state == VM_PAUSED, "step %zu", i);
	}
	cr_expect_eq(api_bed.microvm.controller.machine.vm.parked, 1);
}

Test(controller, the_end_of_the_guest_stops_the_loop)
{
	static const struct {
		enum vm_end end;
		int result;
	} cases[] = {{VM_RESET, 0}, {VM_FAILED, -1}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct controller *controller = &api_bed.microvm.controller;
		struct error err = {0};

		api_bed.loop.is_stopping = false;
		api_bed_start();
		vm_signal_end(&controller->machine.vm, cases[i].end, "the reason");
		cr_assert(evloop_run(&api_bed.loop, &err) == 0);
		cr_assert_eq(controller_result(controller, &err), cases[i].result);
		cr_expect(cases[i].result == 0 || strcmp(err.msg, "the reason") == 0);
		microvm_destroy(&api_bed.microvm);
	}
}

Test(controller, a_started_machine_leaves_nothing_behind_when_it_ends)
{
	struct api_bed_mark before;

	api_bed_expect("PUT /entropy", "{}", NULL);
	api_bed_expect("PUT /balloon", "{\"amount_mib\":1,\"deflate_on_oom\":true}", NULL);
	before = api_bed_mark();
	api_bed_start();
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	microvm_destroy(&api_bed.microvm);
	api_bed_expect_same(&before, "a paused machine's end");
}

/* --- A start that fails --- */

/* With a disk, entropy and a balloon with statistics: all kinds of things that a start makes. */
static void put_devices(void)
{
	char body[128];

	(void)!snprintf(body, sizeof(body),
			"{\"drive_id\":\"a\",\"is_root_device\":false,\"path_on_host\":"
			"\"/proc/self/fd/%d\"}",
			file_of("disk", 4096 / 1024));
	api_bed_expect("PUT /drives/a", body, NULL);
	api_bed_expect("PUT /entropy", "{}", NULL);
	api_bed_expect("PUT /balloon",
		       "{\"amount_mib\":1,\"deflate_on_oom\":true,\"stats_polling_interval_s\":1}",
		       NULL);
	api_bed_expect("PUT /machine-config", "{\"vcpu_count\":2,\"mem_size_mib\":128}", NULL);
	api_bed_put_kernel();
}

static void expect_failure(const struct api_bed_mark *before, const char *what)
{
	struct http_response response = api_bed_request("PUT /actions", START);

	cr_expect_eq(response.status, 400, "%s: it has started", what);
	cr_expect(response.body != NULL && strstr(response.body, "Start microvm error: ") != NULL,
		  "%s: %s", what, response.body);
	free(response.body);
	cr_expect_eq(state(), VM_NOT_STARTED, "%s", what);
	api_bed_expect_same(before, what);
}

/* Ends what has started, but keeps the configuration. */
static void expect_good_start(const struct api_bed_mark *before, const char *what)
{
	struct http_response response = api_bed_request("PUT /actions", START);

	cr_expect_eq(response.status, 204, "after %s: %s", what, response.body);
	free(response.body);
	controller_destroy(&api_bed.microvm.controller);
	api_bed_expect_same(before, what);
}

Test(controller, each_ioctl_of_a_start_may_fail_and_be_mended)
{
	static unsigned long requests[256];
	const struct kvm_fake_call *calls;
	struct api_bed_mark before;

	put_devices();
	before = api_bed_mark();
	expect_good_start(&before, "nothing");
	size_t count = kvm_fake_calls(&calls);

	for (size_t i = 0; i < count && i < ARRAY_COUNT(requests); i++) {
		requests[i] = calls[i].request;
	}
	cr_assert(count > 15 && count < ARRAY_COUNT(requests));
	for (size_t i = 0; i < count; i++) {
		char what[64];
		unsigned nth = 1;

		if (requests[i] == KVM_RUN) {
			continue;
		}
		for (size_t j = 0; j < i; j++) {
			nth += requests[j] == requests[i];
		}
		(void)!snprintf(what, sizeof(what), "ioctl %zu, %#lx", i, requests[i]);
		kvm_fake_fail(requests[i], nth, EPERM);
		expect_failure(&before, what);
		kvm_fake_fail(requests[i], 0, 0);
		expect_good_start(&before, what);
	}
}

Test(controller, each_step_of_the_architecture_may_fail_and_be_mended)
{
	static const char *const functions[] = {
		"arch_check_host",	    "arch_vm_init",	"arch_vcpu_init",
		"arch_vm_finish",	    "arch_load_kernel", "arch_write_boot_info",
		"arch_vcpu_set_boot_state",
	};
	struct api_bed_mark before;

	put_devices();
	before = api_bed_mark();
	for (size_t i = 0; i < ARRAY_COUNT(functions); i++) {
		arch_fake_fail(functions[i]);
		expect_failure(&before, functions[i]);
		arch_fake_fail(NULL);
		expect_good_start(&before, functions[i]);
	}
}

/* Descriptors run out at every step in turn, the timer of metrics among them. */
Test(controller, a_start_without_descriptors_leaves_nothing)
{
	struct rlimit limit;
	struct api_bed_mark before;
	unsigned successes = 0;

	put_devices();
	before = api_bed_mark();
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	for (unsigned left = 1; left < 64 && successes == 0; left++) {
		int highest = dup(STDERR_FILENO);
		const struct rlimit few = {.rlim_cur = (rlim_t)highest + left,
					   .rlim_max = limit.rlim_max};
		char what[64];

		close(highest);
		(void)!snprintf(what, sizeof(what), "%u descriptors", left);
		cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
		struct http_response response = api_bed_request("PUT /actions", START);

		cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
		successes += response.status == 204;
		cr_expect(response.status == 204 ||
				  strstr(response.body, "Too many open files") != NULL ||
				  strstr(response.body, "No file descriptors available") != NULL,
			  "%s: %s", what, response.body);
		free(response.body);
		controller_destroy(&api_bed.microvm.controller);
		api_bed_expect_same(&before, what);
	}
	cr_expect_eq(successes, 1, "64 descriptors are not enough");
	expect_good_start(&before, "all these failures");
}

Test(controller, a_console_that_can_not_be_opened_may_be_mended)
{
	struct api_bed_mark before;

	put_devices();
	api_bed_expect("PUT /serial", "{\"serial_out_path\":\"/none/serial\"}", NULL);
	before = api_bed_mark();
	expect_failure(&before, "no file for the console");
	api_bed_expect("PUT /serial", "{}", NULL);
	expect_good_start(&before, "no file for the console");
}

static struct sock_filter nonsense[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4096)};

/* The last step: without Landlock the machine is undone, and another start may follow. */
Test(controller, a_filter_that_the_kernel_refuses_leaves_nothing)
{
	struct api_bed_mark before;

	put_devices();
	before = api_bed_mark();
	api_bed.confine.filters.programs[FILTER_VMM] = (struct sock_fprog){1, nonsense};
	for (int i = 0; i < 3; i++) {
		expect_failure(&before, "a filter that is none");
	}
	api_bed.confine.filters.programs[FILTER_VMM] = (struct sock_fprog){0};
	expect_good_start(&before, "a filter that is none");
}

/* Before anything is made: a thread that is denied such a call ends the process. */
Test(controller, filters_that_lack_what_the_kernels_vhost_takes_are_refused_with_names)
{
	struct filter_set *filters = &api_bed.confine.filters;
	struct net_interface interface = {.config.vhost = true};
	struct error err = {0};

	put_devices();
	api_bed.microvm.config.nets = &interface;
	api_bed.microvm.config.net_count = 1;
	cr_assert(filter_set_default(filters, &err) == 0, "%s", err.msg);
	const struct sock_fprog vhost = filters->programs[FILTER_VHOST];

	filters->programs[FILTER_VHOST] = filters->programs[FILTER_VMM];
	api_bed_expect(
		"PUT /actions", START,
		API_FAULT("Start microvm error: The filter `vhost` of --seccomp-filter denies "
			  "VHOST_SET_FEATURES, "
			  "VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR, "
			  "VHOST_SET_VRING_CALL, VHOST_GET_VRING_BASE, VHOST_NET_SET_BACKEND, "
			  "without which no interface can have `vhost`: allow them in its "
			  "policy, or leave `vhost` out"));
	filters->programs[FILTER_VHOST] = vhost;
	filters->programs[FILTER_VHOST_VCPU] = filters->programs[FILTER_VCPU];
	api_bed_expect(
		"PUT /actions", START,
		API_FAULT("Start microvm error: The filter `vhost_vcpu` of --seccomp-filter denies "
			  "VHOST_NET_SET_BACKEND, without which no interface can have `vhost`: "
			  "allow them in its policy, or leave `vhost` out"));
	cr_expect_eq(state(), VM_NOT_STARTED);
	api_bed.microvm.config.nets = NULL;
	api_bed.microvm.config.net_count = 0;
}

/* What a child does that confines itself, and cannot be used afterwards. 0: as it should be. */
static int start_with_landlock(void)
{
	struct error err = {0};
	int fd;

	if (landlock_init(&api_bed.confine.landlock, &err) < 0) {
		return 1;
	}
	/* A drive whose directory is gone: fails before anything is confined. */
	free(api_bed.microvm.config.drives[0].config.path_on_host);
	api_bed.microvm.config.drives[0].config.path_on_host = strdup("/none/disk");
	struct http_response response = api_bed_request("PUT /actions", START);

	if (response.status != 400 || strstr(response.body, "for --landlock: ") == NULL) {
		return 2;
	}
	free(response.body);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		return 3;
	}
	free(api_bed.microvm.config.drives[0].config.path_on_host);
	api_bed.microvm.config.drives[0].config.path_on_host = strdup("/tmp/disk");
	response = api_bed_request("PUT /actions", START);
	if (response.status != 204) {
		return 4;
	}
	return open("/dev/null", O_RDWR | O_CLOEXEC) < 0 && errno == EACCES ? 0 : 5;
}

/* Landlock is in force, and nothing takes it back: the process ends, it does not go on half. */
static int start_with_landlock_and_nonsense(void)
{
	struct error err = {0};

	if (landlock_init(&api_bed.confine.landlock, &err) < 0) {
		return 1;
	}
	free(api_bed.microvm.config.drives[0].config.path_on_host);
	api_bed.microvm.config.drives[0].config.path_on_host = strdup("/tmp/disk");
	api_bed.confine.filters.programs[FILTER_VMM] = (struct sock_fprog){1, nonsense};
	free(api_bed_request("PUT /actions", START).body);
	return 2;
}

static bool can_open(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		close(fd);
	}
	return fd >= 0;
}

/* What a child of a fork waits for; *arg: whether it is to live. It is not confined yet. */
static int hear(void *arg, struct error *err)
{
	const bool *is_wanted = arg;

	if (!can_open()) {
		_exit(99);
	}
	return *is_wanted ? 0 : error_set(err, ERR_HOST, "nobody wants it");
}

/* One that is given up leaves the thread free; one that lives is confined. */
static int start_unwanted_with_landlock(void)
{
	struct start_plan plan;
	struct error err = {0};
	bool is_wanted = false;

	if (landlock_init(&api_bed.confine.landlock, &err) < 0) {
		return 1;
	}
	free(api_bed.microvm.config.drives[0].config.path_on_host);
	api_bed.microvm.config.drives[0].config.path_on_host = strdup("/tmp/disk");
	plan = actions_plan(&api_bed.microvm);
	plan.await = hear;
	plan.await_arg = &is_wanted;
	if (controller_start(&api_bed.microvm.controller, &plan, &err) == 0 ||
	    strcmp(err.msg, "nobody wants it") != 0 || state() != VM_NOT_STARTED || !can_open()) {
		return 2;
	}
	is_wanted = true;
	error_clear(&err);
	if (controller_start(&api_bed.microvm.controller, &plan, &err) < 0) {
		return 3;
	}
	return can_open() ? 4 : 0;
}

static int in_child(int (*run)(void))
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		_exit(100 + run());
	}
	cr_assert(waitpid(child, &status, 0) == child && WIFEXITED(status), "%#x", status);
	return WEXITSTATUS(status);
}

Test(controller, a_failed_start_does_not_confine)
{
	if (landlock_kernel_abi() == 0) {
		cr_skip_test("this kernel has no Landlock");
	}
	put_devices();
	cr_expect_eq(in_child(start_with_landlock), 100);
	cr_expect_eq(in_child(start_with_landlock_and_nonsense), 1);
	cr_expect_eq(in_child(start_unwanted_with_landlock), 100);
}

Test(controller, an_error_names_what_failed)
{
	kvm_fake_fail(KVM_IOEVENTFD, 2, ENOSPC);
	put_devices();
	struct http_response response = api_bed_request("PUT /actions", START);

	cr_expect_not_null(
		strstr(response.body, "Start microvm error: Cannot attach the balloon: KVM_"), "%s",
		response.body);
	free(response.body);
}

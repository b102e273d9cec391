/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/machine/machine.c: a whole machine, and every way in which it can't be built. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/fake/arch_fake.h"
#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/base/gmem_plug.h"
#include "vmm/machine/machine.h"
#include "vmm/resources/resource.h"

static struct evloop loop;
static struct timeline timeline;
static struct microvm microvm; /* its configuration: one entropy device */
static struct machine machine;
static struct metrics metrics;
static int kernel_fd;
static int initrd_fd;
static struct machine_plan plan;

static int attach(void *arg, const struct attachment *at, struct error *err)
{
	return entropy_resource.attach(arg, at, err);
}

static void *do_nothing(void *arg)
{
	return arg;
}

static void setup(void)
{
	struct error err = {0};
	pthread_t thread;

	/* ThreadSanitizer's own thread starts with the first of ours. */
	cr_assert(pthread_create(&thread, NULL, do_nothing, NULL) == 0);
	pthread_join(thread, NULL);

	/* Pipes, so that the console has descriptors of its own to leak. */
	int in[2];
	int out[2];

	cr_assert(pipe(in) == 0 && pipe(out) == 0);
	dup2(in[0], STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	capture_log(LOG_INFO);
	cr_assert(evloop_init(&loop, &err) == 0);
	microvm.config.has_entropy = true;
	kernel_fd = file_of("the kernel", 10);
	initrd_fd = file_of("the initrd", 10);
	plan = (struct machine_plan){
		.shape = {.vcpu_count = 2},
		.mem_size_mib = 128,
		.boot = {.kernel_path = "/boot/kernel",
			 .kernel_fd = kernel_fd,
			 .kernel_len = 10,
			 .initrd_path = "/boot/initrd",
			 .initrd_fd = initrd_fd,
			 .initrd_len = 10,
			 .boot_args = "console=ttyS0 quiet -- init args"},
		.has_boot_timer = true,
		.attach = attach,
		.arg = &microvm,
		.loop = &loop,
		.timeline = &timeline,
		.metrics = &metrics,
	};
}

static unsigned threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned count = 0;

	while (readdir(dir) != NULL) {
		count++;
	}
	closedir(dir);
	return count;
}

static void expect_clean(unsigned fds, unsigned tasks, const char *what)
{
	cr_expect(metrics.sources == NULL, "%s: sources of metrics were left", what);
	cr_expect(kvm_fake_open_fds() == fds, "%s: %u descriptors leaked", what,
		  kvm_fake_open_fds() - fds);
	cr_expect(threads() == tasks, "%s: threads are left", what);
	cr_expect(arch_fake_alive() == 0, "%s: arch objects are left", what);
}

static void expect_success(const char *what)
{
	struct error err = {0};

	cr_expect(machine_init(&machine, &plan, &err) == 0, "after %s: %s", what, err.msg);
	machine_destroy(&machine);
}

Test(machine, builds_all_of_a_machine, .init = setup, .timeout = 10)
{
	struct error err = {0};
	char text[80];
	unsigned fds = kvm_fake_open_fds();
	unsigned tasks = threads();

	cr_assert(machine_init(&machine, &plan, &err) == 0, "%s", err.msg);
	struct gmem *mem = machine.mem;

	cr_assert(threads() == tasks + 2);
	cr_assert(gmem_read(mem, GPA(MIB), text, 10) == 0 && memcmp(text, "the kernel", 10) == 0);
	cr_assert(gmem_read(mem, GPA(MIB + 4096), text, 10) == 0);
	cr_assert(memcmp(text, "the initrd", 10) == 0);
	cr_assert(gmem_read(mem, GPA(0x20000), text, sizeof(text)) == 0);
	cr_assert_str_eq(text,
			 "console=ttyS0 quiet pci=off fake.virtio=16 fake.serial -- init args");
	cr_assert(kvm_fake_last(KVM_SET_USER_MEMORY_REGION) < kvm_fake_first(KVM_CREATE_IRQCHIP));
	cr_assert(kvm_fake_last(KVM_SET_USER_MEMORY_REGION) < kvm_fake_first(KVM_CREATE_VCPU));
	cr_assert(kvm_fake_last(KVM_CREATE_VCPU) < kvm_fake_first(KVM_IRQFD));
	cr_assert(kvm_fake_last(KVM_CREATE_VCPU) < kvm_fake_first(KVM_IOEVENTFD));
	cr_assert(kvm_fake_count(KVM_RUN) == 0, "a vCPU runs already");
	for (int mark = TIMELINE_VM; mark <= TIMELINE_DEVICES; mark++) {
		cr_assert(timeline.at_ns[mark] > 0, "mark %d", mark);
	}
	machine_destroy(&machine);
	expect_clean(fds, tasks, "success");
	machine_destroy(&machine);
	expect_clean(fds, tasks, "destroyed twice");
}

/* KVM makes the VM when the kernel is there; in turn neither would come to an end. */
static int make_vm_when_loaded(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	(void)arg;
	while (!atomic_load(&arch_fake_has_loaded)) {
		usleep(1000);
	}
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

Test(machine, loads_the_kernel_while_kvm_makes_the_vm, .init = setup, .timeout = 60)
{
	struct error err = {0};

	kvm_fake_script(KVM_CREATE_VM, make_vm_when_loaded);
	cr_assert(machine_init(&machine, &plan, &err) == 0, "%s", err.msg);
	machine_destroy(&machine);
}

static pthread_attr_t attributes;

/* From when KVM makes the VM, threads can be had again. */
static int let_threads_start(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	(void)arg;
	cr_assert(atomic_load(&arch_fake_has_loaded), "by whom is it to be loaded?");
	cr_assert(pthread_setattr_default_np(&attributes) == 0);
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

Test(machine, loads_the_kernel_without_a_thread_where_none_is_to_be_had, .init = setup,
     .timeout = 10)
{
	struct error err = {0};
	pthread_attr_t absurd;
	char text[10];

	/* A stack as large as the address space. */
	cr_assert(pthread_getattr_default_np(&attributes) == 0);
	cr_assert(pthread_attr_init(&absurd) == 0);
	cr_assert(pthread_attr_setstacksize(&absurd, 1ul << 47) == 0);
	cr_assert(pthread_setattr_default_np(&absurd) == 0);
	kvm_fake_script(KVM_CREATE_VM, let_threads_start);
	cr_assert(machine_init(&machine, &plan, &err) == 0, "%s", err.msg);
	cr_assert(gmem_read(machine.mem, GPA(MIB), text, 10) == 0 &&
		  memcmp(text, "the kernel", 10) == 0);
	machine_destroy(&machine);

	/* What it fails of is what a thread would have said. */
	cr_assert(pthread_setattr_default_np(&absurd) == 0);
	arch_fake_fail("arch_load_kernel");
	cr_expect(machine_init(&machine, &plan, &err) == -1);
	cr_expect(strstr(err.msg, "Cannot load the kernel /boot/kernel: arch_load_kernel was") !=
			  NULL,
		  "%s", err.msg);
}

Test(machine, takes_the_default_command_line, .init = setup, .timeout = 10)
{
	struct error err = {0};
	char text[80];

	plan.boot.boot_args = NULL;
	plan.boot.initrd_fd = -1;
	cr_assert(machine_init(&machine, &plan, &err) == 0, "%s", err.msg);
	cr_assert(gmem_read(machine.mem, GPA(0x20000), text, sizeof(text)) == 0);
	cr_assert_str_eq(text, "reboot=k panic=1 pci=off fake.virtio=16");
	cr_assert(machine.devmgr.serial == NULL);
	machine_destroy(&machine);
}

/* --- A device that counts --- */

static unsigned quiesced;
static unsigned resumed;

static void count_quiesce(struct virtio_dev *dev)
{
	(void)dev;
	quiesced++;
}

static void count_resume(struct virtio_dev *dev)
{
	(void)dev;
	resumed++;
}

static void serve_nothing(struct virtio_dev *dev, unsigned index)
{
	(void)dev;
	(void)index;
}

static void free_counter(struct virtio_dev *dev)
{
	virtio_destroy(dev);
	free(dev);
}

static int attach_counter(void *arg, const struct attachment *at, struct error *err)
{
	static const struct virtio_class class = {
		.type = VIRTIO_TYPE_RNG,
		.name = "counter",
		.metrics = &rng_metric_group,
		.queue_ready = serve_nothing,
		.quiesce = count_quiesce,
		.resume = count_resume,
		.destroy = free_counter,
	};
	static struct rng_metrics values;
	const struct virtio_params params = {
		.class = &class, .metrics = &values, .id = "counter", .queue_count = 1};
	const struct dev_env env = devmgr_env(at->devmgr);
	struct virtio_dev *dev = calloc(1, sizeof(*dev));

	(void)arg;
	cr_assert(dev != NULL && virtio_init(dev, &env, &params, err) == 0);
	return devmgr_attach(at, dev, NULL, err);
}

Test(machine, a_pause_quiesces_each_device_and_its_end_resumes_it, .init = setup, .timeout = 10)
{
	struct error err = {0};

	plan.attach = attach_counter;
	cr_assert(machine_init(&machine, &plan, &err) == 0, "%s", err.msg);
	machine_resume(&machine);
	cr_assert(quiesced == 0);
	cr_assert(machine_pause(&machine, &err) == 0, "%s", err.msg);
	cr_expect(quiesced == 1 && resumed == 0);
	machine_resume(&machine);
	cr_expect(quiesced == 1 && resumed == 1);
	machine_destroy(&machine);
}

Test(machine, memory_that_has_no_place_is_refused, .init = setup)
{
	struct error err = {0};

	plan.mem_size_mib = 131072;
	cr_assert(machine_init(&machine, &plan, &err) == -1);
	cr_expect_str_eq(err.msg, "Invalid Memory Configuration: 131072 MiB are more than fake can "
				  "place");
	error_clear(&err);
	plan.mem_size_mib = UINT64_MAX / 1024;
	cr_assert(machine_init(&machine, &plan, &err) == -1);
	cr_expect_str_eq(err.msg,
			 "Invalid Memory Configuration: mem_size_mib is beyond 2^64 bytes");
	error_clear(&err);
	plan.mem_size_mib = UINT64_MAX / 1024 / 1024;
	cr_assert(machine_init(&machine, &plan, &err) == -1);
}

/* One slot for all of it, before there is anything on KVM's buses. */
Test(machine, memory_that_is_plugged_in_has_addresses_from_the_start, .init = setup)
{
	uint64_t bits[] = {5, 0};
	struct machine_state state = {.plug_words = 2, .plugged = bits};
	unsigned slots = kvm_fake_count(KVM_SET_USER_MEMORY_REGION);
	struct gmem_range range;
	uint64_t block_len;
	struct gmem_blocks all;
	struct error err = {0};

	plan.plug = (struct machine_plug){.len = 256 * GIB, .block_len = 2 * MIB, .align = GIB};
	cr_assert(machine_init(&machine, &plan, &err) == -1);
	cr_expect_str_eq(err.msg, "Invalid Memory Configuration: fake has no room for 262144 MiB "
				  "of memory that is plugged in, beside 128 MiB");
	error_clear(&err);
	plan.plug.len = 128 * MIB;
	cr_assert(machine_init(&machine, &plan, &err) == 0, "%s", err.msg);
	cr_assert(gmem_plug_region(machine.mem, &range, &block_len, &all));
	cr_expect(range.base.v == 512 * GIB && all.count == 64 && block_len == 2 * MIB);
	cr_expect_eq(gmem_plugged(machine.mem, all), 0);
	cr_expect_eq(kvm_fake_count(KVM_SET_USER_MEMORY_REGION) - slots,
		     gmem_region_count(machine.mem) + 1, "and one of registers");

	/* A loaded machine has the blocks that were plugged, if it is of the same size. */
	cr_expect(machine_state_plug(&state, machine.mem, &err) < 0 && err.kind == ERR_CORRUPT);
	error_clear(&err);
	state.plug_words = 1;
	cr_assert(machine_state_plug(&state, machine.mem, &err) == 0, "%s", err.msg);
	cr_expect(gmem_contains(machine.mem, GPA(range.base.v + 4 * MIB), 2 * MIB));
	cr_expect_eq(gmem_plugged(machine.mem, all), 2);
	machine_destroy(&machine);
}

Test(machine, each_step_may_fail_and_be_mended, .init = setup, .timeout = 20)
{
	static const struct {
		const char *function;
		const char *sentence;
	} cases[] = {
		{"arch_check_host", "arch_check_host was told to fail"},
		{"arch_vm_init", "arch_vm_init was told"},
		{"arch_vcpu_init", "Cannot create vCPU 0: arch_vcpu_init was told"},
		{"arch_vm_finish", "arch_vm_finish was told"},
		{"arch_load_kernel", "Cannot load the kernel /boot/kernel: arch_load_kernel was"},
		{"arch_initrd_place", "Cannot load the initrd /boot/initrd: arch_initrd_place was"},
		{"arch_write_boot_info", "arch_write_boot_info was told"},
		{"arch_vcpu_set_boot_state", "arch_vcpu_set_boot_state was told"},
	};
	unsigned fds = kvm_fake_open_fds();
	unsigned tasks = threads();

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err = {0};

		arch_fake_fail(cases[i].function);
		cr_expect(machine_init(&machine, &plan, &err) == -1, "%s", cases[i].function);
		cr_expect(strncmp(err.msg, cases[i].sentence, strlen(cases[i].sentence)) == 0, "%s",
			  err.msg);
		expect_clean(fds, tasks, cases[i].function);
		arch_fake_fail(NULL);
		expect_success(cases[i].function);
		expect_clean(fds, tasks, "the mended build");
	}
}

/* Each ioctl of a successful build in turn, the nth call of its kind. */
Test(machine, each_ioctl_may_fail_and_be_mended, .init = setup, .timeout = 20)
{
	static unsigned long requests[256];
	const struct kvm_fake_call *calls;
	unsigned fds = kvm_fake_open_fds();
	unsigned tasks = threads();

	expect_success("nothing");
	size_t count = kvm_fake_calls(&calls);

	cr_assert(count > 10 && count < ARRAY_COUNT(requests));
	for (size_t i = 0; i < count; i++) {
		requests[i] = calls[i].request;
	}
	for (size_t i = 0; i < count; i++) {
		char what[32];
		unsigned nth = 1;
		struct error err = {0};

		for (size_t j = 0; j < i; j++) {
			nth += requests[j] == requests[i];
		}
		snprintf(what, sizeof(what), "ioctl %zu, %#lx", i, requests[i]);
		kvm_fake_fail(requests[i], nth, EPERM);
		cr_expect(machine_init(&machine, &plan, &err) == -1, "%s", what);
		cr_expect(strstr(err.msg, "KVM_") != NULL && err.sys == EPERM, "%s: %s", what,
			  err.msg);
		expect_clean(fds, tasks, what);
		expect_success(what);
		expect_clean(fds, tasks, "the mended build");
	}
}

Test(machine, files_that_do_not_fit_are_named, .init = setup, .timeout = 10)
{
	struct error err = {0};
	unsigned fds = kvm_fake_open_fds();
	unsigned tasks = threads();

	plan.boot.kernel_len = GIB;
	cr_assert(machine_init(&machine, &plan, &err) == -1);
	cr_assert(strstr(err.msg, "/boot/kernel: 0x40000000 bytes at guest address 0x100000 lie "
				  "outside") != NULL,
		  "%s", err.msg);
	error_clear(&err);
	plan.boot.kernel_len = 10;
	plan.boot.initrd_len = 11;
	cr_assert(machine_init(&machine, &plan, &err) == -1);
	cr_assert(strstr(err.msg, "/boot/initrd: The file ends too early") != NULL, "%s", err.msg);
	expect_clean(fds, tasks, "short initrd");
}

static bool set_limit(rlim_t count)
{
	struct rlimit limit = {.rlim_cur = count, .rlim_max = count};

	return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

Test(machine, without_descriptors_nothing_leaks, .init = setup, .timeout = 20)
{
	unsigned fds = kvm_fake_open_fds();
	unsigned tasks = threads();
	int spare[64];

	/* Fewer and fewer are left: the build fails at ever earlier steps. */
	for (int left = 20; left >= 2; left--) {
		int count = 0;
		int fd;

		cr_assert(set_limit(64));
		while (count < 64 && (fd = dup(STDERR_FILENO)) >= 0) {
			spare[count++] = fd;
		}
		for (int i = 0; i < left && count > 0; i++) {
			close(spare[--count]);
		}
		struct error err = {0};
		int result = machine_init(&machine, &plan, &err);

		cr_expect(result == 0 || err.sys == EMFILE, "%d left: %s", left, err.msg);
		if (result == 0) {
			machine_destroy(&machine);
		}
		while (count > 0) {
			close(spare[--count]);
		}
		expect_clean(fds, tasks, "few descriptors");
	}
}

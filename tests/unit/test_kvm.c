/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/kvm.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"
#include "vmm/base/kvm.h"

static struct {
	int sys;
	unsigned failures;
	unsigned calls;
	bool is_blocked; /* SIGTERM and the kick, during each call */
} create_vm;

static int answer_create_vm(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	(void)arg;
	sigset_t blocked;

	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	create_vm.is_blocked = create_vm.is_blocked && sigismember(&blocked, SIGTERM) == 1 &&
			       sigismember(&blocked, SIGRTMIN) == 1;
	if (create_vm.calls++ < create_vm.failures) {
		errno = create_vm.sys;
		return -1;
	}
	return 77;
}

Test(kvm, create_vm_is_tried_again_when_that_can_help)
{
	sigset_t before;
	sigset_t after;
	static const struct {
		int sys;
		unsigned failures;
		int result;
		unsigned calls;
	} cases[] = {
		{EINTR, 0, 0, 1},     {EINTR, 1, 0, 2},	  {EINTR, 100, 0, 101}, {ENOMEM, 3, 0, 4},
		{ENOMEM, 99, -1, 40}, {EINVAL, 1, -1, 1}, {EMFILE, 1, -1, 1},
	};

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	kvm_fake_script(KVM_CREATE_VM, answer_create_vm);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int vm = -1;
		struct error err = {0};

		create_vm.sys = cases[i].sys;
		create_vm.failures = cases[i].failures;
		create_vm.calls = 0;
		create_vm.is_blocked = true;
		cr_expect(kvm_create_vm(3, 0, &vm, &err) == cases[i].result, "case %zu", i);
		cr_expect(create_vm.calls == cases[i].calls, "case %zu: %u calls", i,
			  create_vm.calls);
		cr_expect(vm == (cases[i].result == 0 ? 77 : -1), "case %zu", i);
		cr_expect(create_vm.is_blocked, "case %zu: signals come through", i);
		if (cases[i].result < 0) {
			cr_expect(err.sys == cases[i].sys, "case %zu", i);
			cr_expect(strncmp(err.msg, "KVM_CREATE_VM failed: ", 22) == 0, "%s",
				  err.msg);
		}
	}
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	cr_expect_eq(memcmp(&before, &after, sizeof(before)), 0, "signals stay blocked");
}

static int api_version = 12;

static int answer_version(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	(void)arg;
	return api_version;
}

Test(kvm, open_checks_the_api_version_and_leaks_nothing)
{
	static const struct {
		int version;
		const char *sentence;
	} cases[] = {
		{12, ""},
		{11, "KVM has API version 11, squib needs 12"},
		{13, "KVM has API version 13, squib needs 12"},
	};

	kvm_fake_script(KVM_GET_API_VERSION, answer_version);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		unsigned fds = kvm_fake_open_fds();
		int kvm = -1;
		struct error err = {0};

		api_version = cases[i].version;
		cr_expect((kvm_open(&kvm, &err) == 0) == (cases[i].version == 12));
		cr_expect_str_eq(err.msg, cases[i].sentence);
		cr_expect(kvm_fake_open_fds() == fds + (cases[i].version == 12));
	}
}

Test(kvm, open_names_an_ioctl_that_fails)
{
	unsigned fds = kvm_fake_open_fds();
	int kvm = -1;
	struct error err = {0};

	kvm_fake_fail(KVM_GET_API_VERSION, 1, ENOTTY);
	cr_assert(kvm_open(&kvm, &err) == -1 && kvm == -1);
	cr_assert_str_eq(err.msg, "KVM_GET_API_VERSION failed: Not a tty (os error 25)");
	cr_assert(kvm_fake_open_fds() == fds);
}

static struct kvm_userspace_memory_region seen_memory;
static struct kvm_irqfd seen_irqfd;
static struct kvm_ioeventfd seen_ioeventfd;
static struct kvm_device_attr seen_attr;

static int see(int fd, unsigned long request, void *arg)
{
	(void)fd;
	switch (request) {
	case KVM_SET_USER_MEMORY_REGION:
		memcpy(&seen_memory, arg, sizeof(seen_memory));
		break;
	case KVM_IRQFD:
		memcpy(&seen_irqfd, arg, sizeof(seen_irqfd));
		break;
	case KVM_IOEVENTFD:
		memcpy(&seen_ioeventfd, arg, sizeof(seen_ioeventfd));
		break;
	case KVM_SET_DEVICE_ATTR:
		memcpy(&seen_attr, arg, sizeof(seen_attr));
		break;
	case KVM_CREATE_DEVICE: {
		struct kvm_create_device *create = arg;

		create->fd = 90 + create->type;
		break;
	}
	default:
		break;
	}
	return 0;
}

Test(kvm, structures_reach_the_kernel_as_meant)
{
	const struct gmem_slot slot = {.base = GPA(4 * GIB), .len = 2 * MIB, .hva = 0x7f0000200000};
	const uint32_t value = 5;
	int device = -1;
	struct error err = {0};

	kvm_fake_script(KVM_SET_USER_MEMORY_REGION, see);
	kvm_fake_script(KVM_IRQFD, see);
	kvm_fake_script(KVM_IOEVENTFD, see);
	kvm_fake_script(KVM_CREATE_DEVICE, see);
	kvm_fake_script(KVM_SET_DEVICE_ATTR, see);
	cr_assert(kvm_set_memory(5, 3, &slot, false, &err) == 0);
	cr_assert(seen_memory.slot == 3 && seen_memory.flags == 0);
	cr_assert(seen_memory.guest_phys_addr == 4 * GIB && seen_memory.memory_size == 2 * MIB);
	cr_assert(seen_memory.userspace_addr == 0x7f0000200000);
	cr_assert(kvm_irqfd(5, 9, 24, &err) == 0);
	cr_assert(seen_irqfd.fd == 9 && seen_irqfd.gsi == 24 && seen_irqfd.flags == 0);
	cr_assert(kvm_ioeventfd(5, 11, 0xd0000050, 3, &err) == 0);
	cr_assert(seen_ioeventfd.fd == 11 && seen_ioeventfd.addr == 0xd0000050);
	cr_assert(seen_ioeventfd.len == 4 && seen_ioeventfd.datamatch == 3);
	cr_assert(seen_ioeventfd.flags == KVM_IOEVENTFD_FLAG_DATAMATCH);
	cr_assert(kvm_create_device(5, 7, &device, &err) == 0 && device == 97);
	cr_assert(kvm_set_device_attr(device, 1, 2, &value, &err) == 0);
	cr_assert(seen_attr.group == 1 && seen_attr.attr == 2 && seen_attr.flags == 0);
	cr_assert(seen_attr.addr == (uintptr_t)&value);
}

/* Each wrapper names its ioctl. */
Test(kvm, failures_name_the_ioctl)
{
	static const struct {
		unsigned long request;
		const char *name;
	} cases[] = {
		{KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION failed: "},
		{KVM_CREATE_VCPU, "KVM_CREATE_VCPU failed: "},
		{KVM_IRQFD, "KVM_IRQFD failed: "},
		{KVM_IOEVENTFD, "KVM_IOEVENTFD failed: "},
		{KVM_CREATE_DEVICE, "KVM_CREATE_DEVICE failed: "},
		{KVM_SET_DEVICE_ATTR, "KVM_SET_DEVICE_ATTR failed: "},
		{KVM_GET_VCPU_MMAP_SIZE, "KVM_GET_VCPU_MMAP_SIZE failed: "},
	};
	const struct gmem_slot slot = {0};
	struct kvm_run *run = NULL;
	size_t len = 0;
	int fd = -1;

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err[7] = {0};

		kvm_fake_fail(cases[i].request, 1, EIO);
		int failed = 0;

		failed += kvm_set_memory(5, 0, &slot, false, &err[0]) < 0;
		failed += kvm_create_vcpu(5, 0, &fd, &err[1]) < 0;
		failed += kvm_irqfd(5, 9, 0, &err[2]) < 0;
		failed += kvm_ioeventfd(5, 9, 0, 0, &err[3]) < 0;
		failed += kvm_create_device(5, 7, &fd, &err[4]) < 0;
		failed += kvm_set_device_attr(5, 1, 2, NULL, &err[5]) < 0;
		failed += kvm_map_run(5, 6, &run, &len, &err[6]) < 0;
		kvm_unmap_run(run, len);
		run = NULL;
		cr_expect(failed == 1, "%s: %d", cases[i].name, failed);
		cr_expect(strncmp(err[i].msg, cases[i].name, strlen(cases[i].name)) == 0, "%s",
			  err[i].msg);
	}
}

static int answer_tiny(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	(void)arg;
	return 100;
}

Test(kvm, a_run_area_that_is_too_small_is_refused)
{
	struct kvm_run *run = NULL;
	size_t len = 0;
	struct error err = {0};

	kvm_fake_script(KVM_GET_VCPU_MMAP_SIZE, answer_tiny);
	cr_assert(kvm_map_run(3, 4, &run, &len, &err) == -1 && run == NULL);
	cr_assert_str_eq(err.msg, "KVM's run area has 100 bytes, too few");
	kvm_unmap_run(NULL, 0);
}

Test(kvm, an_unknown_extension_is_absent)
{
	kvm_fake_fail(KVM_CHECK_EXTENSION, 1, EINVAL);
	cr_assert(kvm_check_extension(3, KVM_CAP_IRQFD) == 0);
	cr_assert(kvm_check_extension(3, KVM_CAP_IRQFD) == 1);
}

Test(kvm, run_tells_interruptions_from_failures)
{
	static const struct {
		int sys;
		enum kvm_run_result result;
	} cases[] = {
		{EINTR, KVM_INTERRUPTED},
		{EAGAIN, KVM_INTERRUPTED},
		{ENOMEM, KVM_FAILED},
		{EFAULT, KVM_FAILED},
		{0, KVM_RAN},
	};

	kvm_fake_script(KVM_RUN, see);
	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
		kvm_fake_fail(KVM_RUN, cases[i].sys != 0, cases[i].sys);
		cr_expect(kvm_run(4) == cases[i].result, "case %u", i);
	}
}

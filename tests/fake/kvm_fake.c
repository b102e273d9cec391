/* SPDX-License-Identifier: Apache-2.0 */
/* A scripted KVM: answers, failures, and a record of every call. */
#include "tests/fake/kvm_fake.h"

#include <dirent.h>
#include <errno.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vmm/base/kvm_sys.h"

enum {
	CALLS_MAX = 4096,
	SCRIPTS_MAX = 64,
	AREAS_MAX = 64,
	RUN_AREA_LEN = 3 * 4096
};

struct script {
	unsigned long request;
	kvm_fake_answer answer;
	unsigned fail_nth; /* 0: never */
	int fail_sys;
	unsigned seen;
};

static struct {
	pthread_mutex_t lock;
	struct kvm_fake_call calls[CALLS_MAX];
	size_t call_count;
	struct script scripts[SCRIPTS_MAX];
	size_t script_count;
	struct {
		int fd;
		void *area;
	} areas[AREAS_MAX];
	size_t area_count;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct script *script_of(unsigned long request, bool make)
{
	for (size_t i = 0; i < fake.script_count; i++) {
		if (fake.scripts[i].request == request) {
			return &fake.scripts[i];
		}
	}
	if (!make || fake.script_count == SCRIPTS_MAX) {
		return NULL;
	}
	fake.scripts[fake.script_count].request = request;
	return &fake.scripts[fake.script_count++];
}

void kvm_fake_script(unsigned long request, kvm_fake_answer answer)
{
	pthread_mutex_lock(&fake.lock);
	script_of(request, true)->answer = answer;
	pthread_mutex_unlock(&fake.lock);
}

void kvm_fake_fail(unsigned long request, unsigned nth, int sys)
{
	struct script *script = script_of(request, true);

	script->fail_nth = nth;
	script->fail_sys = sys;
	script->seen = 0;
}

size_t kvm_fake_calls(const struct kvm_fake_call **calls)
{
	*calls = fake.calls;
	return fake.call_count;
}

unsigned kvm_fake_count(unsigned long request)
{
	unsigned count = 0;

	pthread_mutex_lock(&fake.lock);
	for (size_t i = 0; i < fake.call_count; i++) {
		count += fake.calls[i].request == request;
	}
	pthread_mutex_unlock(&fake.lock);
	return count;
}

int kvm_fake_first(unsigned long request)
{
	for (size_t i = 0; i < fake.call_count; i++) {
		if (fake.calls[i].request == request) {
			return (int)i;
		}
	}
	return -1;
}

int kvm_fake_last(unsigned long request)
{
	for (size_t i = fake.call_count; i > 0; i--) {
		if (fake.calls[i - 1].request == request) {
			return (int)i - 1;
		}
	}
	return -1;
}

struct kvm_run *kvm_fake_run_area(int vcpu)
{
	for (size_t i = 0; i < fake.area_count; i++) {
		if (fake.areas[i].fd == vcpu) {
			return fake.areas[i].area;
		}
	}
	return NULL;
}

unsigned kvm_fake_open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (dir != NULL && readdir(dir) != NULL) {
		count++;
	}
	closedir(dir);
	return count;
}

static int wait_for_kick(int vcpu)
{
	struct kvm_run *run = kvm_fake_run_area(vcpu);

	while (run == NULL || !__atomic_load_n(&run->immediate_exit, __ATOMIC_SEQ_CST)) {
		if (poll(NULL, 0, 5) < 0) {
			break;
		}
	}
	errno = EINTR;
	return -1;
}

static int default_answer(int fd, unsigned long request, void *arg)
{
	(void)arg; /* of some architectures' requests alone */
	switch (request) {
#ifdef KVM_IRQCHIP_PIC_MASTER /* the kernel headers are x86's */
	case KVM_GET_MSR_INDEX_LIST:
		((struct kvm_msr_list *)arg)->nmsrs = 0;
		return 0;
#endif
	case KVM_GET_API_VERSION:
		return KVM_API_VERSION;
	case KVM_CHECK_EXTENSION:
		return 1;
	case KVM_GET_VCPU_MMAP_SIZE:
		return RUN_AREA_LEN;
	case KVM_CREATE_VM:
	case KVM_CREATE_VCPU:
		return eventfd(0, EFD_CLOEXEC);
	case KVM_RUN:
		return wait_for_kick(fd);
	default:
		return 0;
	}
}

int kvm_sys_open(const char *path)
{
	(void)path;
	return eventfd(0, EFD_CLOEXEC);
}

int kvm_sys_ioctl(int fd, unsigned long request, void *arg)
{
	kvm_fake_answer answer = NULL;
	int fail_sys = 0;

	pthread_mutex_lock(&fake.lock);
	if (fake.call_count < CALLS_MAX) {
		fake.calls[fake.call_count++] = (struct kvm_fake_call){fd, request, (uintptr_t)arg};
	}
	struct script *script = script_of(request, false);

	if (script != NULL) {
		script->seen++;
		answer = script->answer;
		fail_sys = script->seen == script->fail_nth ? script->fail_sys : 0;
	}
	pthread_mutex_unlock(&fake.lock);
	if (fail_sys != 0) {
		errno = fail_sys;
		return -1;
	}
	return answer != NULL ? answer(fd, request, arg) : default_answer(fd, request, arg);
}

void *kvm_sys_mmap(int fd, size_t len)
{
	void *area = calloc(1, len);

	if (area != NULL && fake.area_count < AREAS_MAX) {
		fake.areas[fake.area_count].fd = fd;
		fake.areas[fake.area_count].area = area;
		fake.area_count++;
	}
	return area;
}

void kvm_sys_munmap(void *addr, size_t len)
{
	(void)len;
	for (size_t i = 0; i < fake.area_count; i++) {
		if (fake.areas[i].area == addr) {
			fake.areas[i] = fake.areas[--fake.area_count];
		}
	}
	free(addr);
}

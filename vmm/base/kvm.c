/* SPDX-License-Identifier: Apache-2.0 */
/* The KVM ioctls that both architectures share. */
#include "vmm/base/kvm.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/kvm_sys.h"

enum {
	API_VERSION = 12,	 /* frozen since Linux 2.6.22 [kvm-api 4.1] */
	CREATE_VM_ATTEMPTS = 40, /* while the host lacks memory; 1, 2, 4... us apart */
};

int kvm_call(int fd, unsigned long request, void *arg, const char *name, struct error *err)
{
	int result = 0;

	return kvm_call_result(fd, request, arg, name, &result, err);
}

int kvm_call_value(int fd, unsigned long request, unsigned long value, const char *name,
		   struct error *err)
{
	/* ioctl's third argument is a word: some KVM calls want a number in it. */
	return kvm_call(fd, request, (void *)value, name, err); // NOLINT(performance-no-int-to-ptr)
}

int kvm_call_result(int fd, unsigned long request, void *arg, const char *name, int *result,
		    struct error *err)
{
	int got = kvm_sys_ioctl(fd, request, arg);

	if (got < 0) {
		return error_sys(err, "%s failed", name);
	}
	*result = got;
	return 0;
}

int kvm_open(int *kvm, struct error *err)
{
	AUTO_FD fd = kvm_sys_open("/dev/kvm");
	int version = 0;

	if (fd < 0) {
		switch (errno) {
		case ENOENT:
		case ENXIO:
		case ENODEV:
			return error_sys(err, "Cannot open /dev/kvm: this host offers no KVM; load "
					      "its kvm module or enable virtualization");
		case EACCES:
		case EPERM:
			return error_sys(err, "Cannot open /dev/kvm for reading and writing: give "
					      "this user access to it");
		default:
			return error_sys(err, "Cannot open /dev/kvm");
		}
	}
	if (kvm_call_result(fd, KVM_GET_API_VERSION, NULL, "KVM_GET_API_VERSION", &version, err) <
	    0) {
		return -1;
	}
	if (version != API_VERSION) {
		return error_set(err, ERR_HOST, "KVM has API version %d, squib needs %d", version,
				 API_VERSION);
	}
	*kvm = fd_take(&fd);
	return 0;
}

int kvm_check_extension(int fd, int cap)
{
	int value = kvm_sys_ioctl(fd, KVM_CHECK_EXTENSION, (void *)(long)cap);

	return value > 0 ? value : 0;
}

int kvm_check_caps(int kvm, const struct kvm_cap *caps, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		if (kvm_check_extension(kvm, caps[i].cap) <= 0) {
			return error_set(err, ERR_NOT_SUPPORTED,
					 "The KVM of this host lacks %s, which squib needs; use "
					 "Linux 5.10 or newer",
					 caps[i].name);
		}
	}
	return 0;
}

/*
 * The kernel gives up with EINTR when the thread has a signal to handle, so none is let through
 * meanwhile. SIGSTOP can't be blocked: it alone still interrupts.
 */
static int create_vm_undisturbed(int kvm, unsigned long type)
{
	sigset_t all;
	sigset_t before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int fd = kvm_sys_ioctl(kvm, KVM_CREATE_VM, (void *)type); // NOLINT

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return fd;
}

int kvm_create_vm(int kvm, unsigned long type, int *vm, struct error *err)
{
	struct timespec pause = {.tv_nsec = 1000};
	int lacks = 0;

	for (;;) {
		int fd = create_vm_undisturbed(kvm, type);

		if (fd >= 0) {
			*vm = fd;
			return 0;
		}
		lacks += errno == ENOMEM ? 1 : 0;
		if ((errno != EINTR && errno != ENOMEM) || lacks == CREATE_VM_ATTEMPTS) {
			return error_sys(err, "KVM_CREATE_VM failed");
		}
		nanosleep(&pause, NULL);
		pause.tv_nsec = (long)min_u64((uint64_t)pause.tv_nsec * 2, NS_PER_MS);
	}
}

static int set_memory(int vm, unsigned slot, const struct gmem_slot *region, uint32_t flags,
		      struct error *err)
{
	struct kvm_userspace_memory_region memory = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = region->base.v,
		.memory_size = region->len,
		.userspace_addr = region->hva,
	};

	return kvm_call(vm, KVM_SET_USER_MEMORY_REGION, &memory, "KVM_SET_USER_MEMORY_REGION", err);
}

int kvm_set_memory(int vm, unsigned slot, const struct gmem_slot *region, bool is_logged,
		   struct error *err)
{
	return set_memory(vm, slot, region, is_logged ? KVM_MEM_LOG_DIRTY_PAGES : 0, err);
}

int kvm_set_read_only_memory(int vm, unsigned slot, struct gmem_range range, void *memory,
			     struct error *err)
{
	const struct gmem_slot region = {
		.base = range.base,
		.len = range.len,
		.hva = (uintptr_t)memory,
	};

	return set_memory(vm, slot, &region, KVM_MEM_READONLY, err);
}

int kvm_get_dirty_log(int vm, unsigned slot, uint64_t *bitmap, struct error *err)
{
	struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = bitmap};

	return kvm_call(vm, KVM_GET_DIRTY_LOG, &log, "KVM_GET_DIRTY_LOG", err);
}

int kvm_create_vcpu(int vm, unsigned index, int *vcpu, struct error *err)
{
	void *arg = (void *)(unsigned long)index; // NOLINT

	return kvm_call_result(vm, KVM_CREATE_VCPU, arg, "KVM_CREATE_VCPU", vcpu, err);
}

int kvm_irqfd(int vm, int eventfd, uint32_t gsi, struct error *err)
{
	struct kvm_irqfd irqfd = {.fd = (uint32_t)eventfd, .gsi = gsi};

	return kvm_call(vm, KVM_IRQFD, &irqfd, "KVM_IRQFD", err);
}

int kvm_irqfd_remove(int vm, int eventfd, uint32_t gsi, struct error *err)
{
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)eventfd, .gsi = gsi, .flags = KVM_IRQFD_FLAG_DEASSIGN};

	return kvm_call(vm, KVM_IRQFD, &irqfd, "KVM_IRQFD", err);
}

int kvm_ioeventfd(int vm, int eventfd, uint64_t addr, uint32_t value, struct error *err)
{
	struct kvm_ioeventfd ioeventfd = {
		.datamatch = value,
		.addr = addr,
		.len = sizeof(value),
		.fd = eventfd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	return kvm_call(vm, KVM_IOEVENTFD, &ioeventfd, "KVM_IOEVENTFD", err);
}

int kvm_ioeventfd_any(int vm, int eventfd, uint64_t addr, struct error *err)
{
	struct kvm_ioeventfd ioeventfd = {.addr = addr, .fd = eventfd};

	return kvm_call(vm, KVM_IOEVENTFD, &ioeventfd, "KVM_IOEVENTFD", err);
}

int kvm_ioeventfd_any_remove(int vm, int eventfd, uint64_t addr, struct error *err)
{
	struct kvm_ioeventfd ioeventfd = {
		.addr = addr, .fd = eventfd, .flags = KVM_IOEVENTFD_FLAG_DEASSIGN};

	return kvm_call(vm, KVM_IOEVENTFD, &ioeventfd, "KVM_IOEVENTFD", err);
}

int kvm_set_gsi_routing(int vm, struct kvm_irq_routing *routing, struct error *err)
{
	return kvm_call(vm, KVM_SET_GSI_ROUTING, routing, "KVM_SET_GSI_ROUTING", err);
}

int kvm_create_device(int vm, uint32_t type, int *device, struct error *err)
{
	struct kvm_create_device create = {.type = type};

	if (kvm_call(vm, KVM_CREATE_DEVICE, &create, "KVM_CREATE_DEVICE", err) < 0) {
		return -1;
	}
	*device = (int)create.fd;
	return 0;
}

int kvm_set_device_attr(int device, uint32_t group, uint64_t attr, const void *value,
			struct error *err)
{
	struct kvm_device_attr device_attr = {
		.group = group,
		.attr = attr,
		.addr = (uintptr_t)value,
	};

	return kvm_call(device, KVM_SET_DEVICE_ATTR, &device_attr, "KVM_SET_DEVICE_ATTR", err);
}

int kvm_map_run(int kvm, int vcpu, struct kvm_run **run, size_t *len, struct error *err)
{
	int size = 0;

	if (kvm_call_result(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE", &size,
			    err) < 0) {
		return -1;
	}
	if ((size_t)size < sizeof(struct kvm_run)) {
		return error_set(err, ERR_HOST, "KVM's run area has %d bytes, too few", size);
	}
	*run = kvm_sys_mmap(vcpu, (size_t)size);
	if (*run == NULL) {
		return error_sys(err, "Cannot map the run area of a vCPU");
	}
	*len = (size_t)size;
	return 0;
}

void kvm_unmap_run(struct kvm_run *run, size_t len)
{
	if (run != NULL) {
		kvm_sys_munmap(run, len);
	}
}

int kvm_set_guest_debug(int vcpu, const struct kvm_guest_debug *debug, struct error *err)
{
	struct kvm_guest_debug copy = *debug;

	return kvm_call(vcpu, KVM_SET_GUEST_DEBUG, &copy, "KVM_SET_GUEST_DEBUG", err);
}

enum kvm_run_result kvm_run(int vcpu)
{
	if (kvm_sys_ioctl(vcpu, KVM_RUN, NULL) == 0) {
		return KVM_RAN;
	}
	return errno == EINTR || errno == EAGAIN ? KVM_INTERRUPTED : KVM_FAILED;
}

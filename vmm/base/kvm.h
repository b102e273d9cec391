/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function per KVM ioctl that both architectures share, filling struct error with the ioctl's
 * name. The ioctls of one architecture are in arch/<isa>/kvm_<isa>.h, on top of kvm_call. Numbers
 * in brackets are sections of the kernel's Documentation/virt/kvm/api.rst.
 */
#ifndef VMM_BASE_KVM_H
#define VMM_BASE_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

/* Issues any KVM ioctl whose result is only success or failure. `name` is for the sentence. */
MUST_CHECK int kvm_call(int fd, unsigned long request, void *arg, const char *name,
			struct error *err);

/* As kvm_call for ioctls that take a number (by value) in place of a pointer. */
MUST_CHECK int kvm_call_value(int fd, unsigned long request, unsigned long value, const char *name,
			      struct error *err);

/* As kvm_call for ioctls whose result is a descriptor or a count: it goes to *result. */
MUST_CHECK int kvm_call_result(int fd, unsigned long request, void *arg, const char *name,
			       int *result, struct error *err);

/* Opens /dev/kvm and checks that its API version is 12 [4.1]. The caller closes *kvm. */
MUST_CHECK int kvm_open(int *kvm, struct error *err);

/* KVM_CHECK_EXTENSION [4.4] on the system or VM descriptor: 0 where unknown or absent. */
int kvm_check_extension(int fd, int cap);

struct kvm_cap {
	int cap;
	const char *name;
};

/* All of `caps` are there; the sentence names the first that is missing. */
MUST_CHECK int kvm_check_caps(int kvm, const struct kvm_cap *caps, size_t count, struct error *err);

/*
 * KVM_CREATE_VM [4.2] with all signals blocked. It is tried again while SIGSTOP interrupts it, and
 * for some time when the host lacks memory.
 */
MUST_CHECK int kvm_create_vm(int kvm, unsigned long type, int *vm, struct error *err);

/*
 * KVM_SET_USER_MEMORY_REGION [4.35] for one region of guest memory; is_logged: KVM notes which
 * pages the guest writes to.
 */
MUST_CHECK int kvm_set_memory(int vm, unsigned slot, const struct gmem_slot *region, bool is_logged,
			      struct error *err);

/* The same for memory of ours that the guest can only read: its writes exit (KVM_MEM_READONLY). */
MUST_CHECK int kvm_set_read_only_memory(int vm, unsigned slot, struct gmem_range range,
					void *memory, struct error *err);

/*
 * KVM_GET_DIRTY_LOG [4.8]: the pages of a slot that the guest has written to since the last call, a
 * bit per page of the host, in as many words of 64 bits as that needs.
 */
MUST_CHECK int kvm_get_dirty_log(int vm, unsigned slot, uint64_t *bitmap, struct error *err);

/* KVM_CREATE_VCPU [4.7] */
MUST_CHECK int kvm_create_vcpu(int vm, unsigned index, int *vcpu, struct error *err);

/* KVM_IRQFD [4.75]: each write to `eventfd` pulses `gsi`. */
MUST_CHECK int kvm_irqfd(int vm, int eventfd, uint32_t gsi, struct error *err);

/* The opposite, which closing the eventfd alone is not while another process has it too. */
MUST_CHECK int kvm_irqfd_remove(int vm, int eventfd, uint32_t gsi, struct error *err);

/*
 * KVM_IOEVENTFD [4.59]: a guest's 4-byte write of `value` at MMIO address `addr` signals `eventfd`
 * without leaving the kernel.
 */
MUST_CHECK int kvm_ioeventfd(int vm, int eventfd, uint64_t addr, uint32_t value, struct error *err);

/* The same for a write of any width and value. */
MUST_CHECK int kvm_ioeventfd_any(int vm, int eventfd, uint64_t addr, struct error *err);

/* The opposite of kvm_ioeventfd_any, which closing the eventfd is not. */
MUST_CHECK int kvm_ioeventfd_any_remove(int vm, int eventfd, uint64_t addr, struct error *err);

/* KVM_SET_GSI_ROUTING [4.52]: the whole table, which takes the place of the one before. */
MUST_CHECK int kvm_set_gsi_routing(int vm, struct kvm_irq_routing *routing, struct error *err);

/* KVM_CREATE_DEVICE [4.79]; KVM_SET_DEVICE_ATTR [4.80]; `attr` is copied from *value by the kernel.
 */
MUST_CHECK int kvm_create_device(int vm, uint32_t type, int *device, struct error *err);
MUST_CHECK int kvm_set_device_attr(int device, uint32_t group, uint64_t attr, const void *value,
				   struct error *err);

/* Maps the kvm_run area of a vCPU [4.5, 5]; *len is its size, for kvm_unmap_run. */
MUST_CHECK int kvm_map_run(int kvm, int vcpu, struct kvm_run **run, size_t *len, struct error *err);
void kvm_unmap_run(struct kvm_run *run, size_t len); /* NULL is fine */

/* KVM_SET_GUEST_DEBUG [4.87] */
MUST_CHECK int kvm_set_guest_debug(int vcpu, const struct kvm_guest_debug *debug,
				   struct error *err);

enum kvm_run_result {
	KVM_RAN,	 /* an exit to handle: run->exit_reason */
	KVM_INTERRUPTED, /* a kick (EINTR) or a passing refusal (EAGAIN): look for commands, go on
			  */
	KVM_FAILED,	 /* errno says why */
};

/* KVM_RUN [4.10]. No error object: this is the hot path. */
MUST_CHECK enum kvm_run_result kvm_run(int vcpu);

#endif

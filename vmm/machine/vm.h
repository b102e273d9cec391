/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual machine: KVM's VM, its memory, its vCPUs, and starting, pausing and stopping them. */
#ifndef VMM_VM_H
#define VMM_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "arch/arch.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"
#include "vmm/base/gmem.h"
#include "vmm/base/metrics.h"
#include "vmm/machine/bus.h"
#include "vmm/machine/registers.h"
#include "vmm/confine/confine.h"
#include "vmm/machine/timeline.h"
#include "vmm/machine/vcpu.h"

struct mender;

/* The state in which the VMM thread wants all vCPUs. */
enum vm_want {
	VM_PARK,
	VM_RUN,
	VM_QUIT
};

/* Why the guest stopped by itself. */
enum vm_end {
	VM_NOT_ENDED,
	VM_RESET,  /* the guest asked for a reset or power-off: success */
	VM_FAILED, /* a vCPU can't go on */
};

/*
 * Lock order: vm->lock is taken alone; it is never held across KVM_RUN, a device or the log.
 */
struct vm {
	bool is_made;
	/* immutable once vCPUs run */
	int kvm_fd;
	int vm_fd;
	int keeper_fd;	  /* keeps vm_fd's file, and waits for its release in our place; -1: none */
	struct gmem *mem; /* the creator's */
	struct arch_machine machine;
	unsigned address_bits; /* of guest-physical addresses, at most */
	bool is_tracked;       /* KVM and gmem note which pages are written to */
	struct arch_vm arch;
	struct registers registers; /* of virtio-mmio; not made with a PCI bus */
	struct bus mmio;
	struct bus pio;
	struct timeline *timeline;     /* the creator's */
	struct metrics *metrics;       /* the same; NULL: nothing is counted */
	const struct confine *confine; /* the same; NULL: none */
	bool has_vhost;		       /* vCPU threads may stop the kernel's vhost */
	struct ev_wake *debugger;      /* the same: told of KVM_EXIT_DEBUG; NULL: none */
	struct mender *mender;	       /* the same: told of pages that are missing; NULL: none */
	int end_event;		       /* eventfd, readable once the guest has ended */
	/* shared */
	_Atomic int end;		/* enum vm_end; the first end wins */
	char end_reason[ERROR_MSG_LEN]; /* by the winner, before end_event is written */
	/* shared, under lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum vm_want want;
	unsigned parked;
	struct vcpu vcpus[ARCH_VCPUS_MAX]; /* the last: pages of unmade ones stay untouched */
};

struct vm_params {
	struct arch_machine machine;
	bool is_tracked;	       /* mem is (gmem_track_dirty), and KVM is to do the same */
	struct gmem *mem;	       /* outlives the VM */
	struct timeline *timeline;     /* the same */
	struct metrics *metrics;       /* the same; may be NULL */
	const struct confine *confine; /* of the vCPU threads, the same; NULL: none */
	bool has_vhost;		       /* see struct vm */
};

/*
 * Makes the VM, its memory slots, interrupt controller and vCPUs (zeroed, as vm_destroy leaves
 * them), in the order that KVM serves fastest: see vm.c. Failed or not, vm_destroy is to follow.
 */
MUST_CHECK int vm_init(struct vm *vm, const struct vm_params *params, struct error *err);

/*
 * Sets a bitmap of a region to the pages that were written to, by the guest or by us, since the
 * last call. Of a VM that is tracked. Bits whose pages could not be saved go back by
 * gmem_dirty_put_back. VMM thread, with nothing running.
 */
MUST_CHECK int vm_dirty_take(const struct vm *vm, unsigned region, uint64_t *bitmap,
			     struct error *err);

/*
 * Gives the guest a file that was mapped (gmem_pmem.h) on a VM that is made already, and takes it
 * away; vCPUs may run. VMM thread.
 */
MUST_CHECK int vm_map_pmem(const struct vm *vm, unsigned index, struct error *err);
MUST_CHECK int vm_unmap_pmem(const struct vm *vm, unsigned index, struct error *err);

/* Frees what is there, also of a zeroed VM; the vCPU threads must have been stopped. */
void vm_destroy(struct vm *vm);

/* Starts the vCPU threads, parked. */
MUST_CHECK int vm_start(struct vm *vm, struct error *err);

/* Lets the vCPUs run. Idempotent. VMM thread. */
void vm_resume(struct vm *vm);

/*
 * Returns when no vCPU is inside the guest or a device any more. Idempotent. Fails if one does not
 * park within 30 s [compat]. VMM thread.
 */
MUST_CHECK int vm_pause(struct vm *vm, struct error *err);

/*
 * Calls fn while no vCPU is inside the guest or a device. Those that ran go on afterwards, and a
 * guest is not told: it is for changes that take microseconds. Fails as vm_pause does, without a
 * call, and the vCPUs run as before. VMM thread.
 */
MUST_CHECK int vm_do_parked(struct vm *vm, void (*fn)(void *arg), void *arg, struct error *err);

/*
 * Holds all vCPUs for a debugger, whether or not the machine is paused besides; returns when none
 * is inside the guest or a device. Idempotent. Fails as vm_pause does. VMM thread.
 */
MUST_CHECK int vm_hold(struct vm *vm, struct error *err);

/* Lets vCPU i go if bit i of `vcpus` is set: it runs unless the machine is paused. VMM thread. */
void vm_release(struct vm *vm, uint32_t vcpus);

/*
 * Hides from processes that are forked from now on what would keep KVM's objects alive there: the
 * vCPUs' run areas. VMM thread.
 */
MUST_CHECK int vm_hide_from_forks(const struct vm *vm, struct error *err);

/* Ends and joins the vCPU threads, from any state. VMM thread. */
void vm_stop(struct vm *vm);

/*
 * The guest is over: tells the VMM thread through end_event, with a sentence ("" where there is
 * nothing to explain). From any thread, never blocks; only the first call counts.
 */
void vm_signal_end(struct vm *vm, enum vm_end end, const char *reason);

#endif

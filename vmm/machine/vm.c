/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual machine.
 *
 * Theory of operation. The order of the ioctls decides what a start costs. Registering anything on
 * KVM's I/O buses (interrupt chips, PIT, ioeventfds) queues an SRCU grace period, and a memory slot
 * set after that waits for it: on Linux 6.18 two timer ticks, 200 times what the slot itself costs.
 * So all memory slots come first, then the interrupt controller, then vCPUs, then event
 * descriptors. tests/unit/test_vm.c watches the order.
 */
#include "vmm/machine/vm.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>

#include "arch/device_memory.h"
#include "arch/template.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_pages.h"
#include "vmm/base/gmem_pmem.h"
#include "vmm/base/kvm.h"
#include "vmm/machine/keeper.h"

enum {
	PAUSE_TIMEOUT_S = 30,
	/* KVM's numbers of slots, far behind those of the RAM. */
	REGISTERS_SLOT = 255,
	PMEM_SLOTS = 256, /* of the first file */
};

/* KVM on x86 takes a slot that no guest can reach. */
static int set_slot(const struct vm *vm, unsigned number, const struct gmem_slot *slot,
		    bool is_tracked, struct error *err)
{
	uint64_t end = slot->base.v + slot->len;

	if (((end - 1) >> vm->address_bits) != 0) {
		return error_set(err, ERR_TOO_LARGE,
				 "The machine would have memory up to the address %#llx, and "
				 "guests of this host have addresses of %u bits only: use a host "
				 "whose processor has more, or less RAM and no memory above 512 "
				 "GiB (pmem, hotplug)",
				 (unsigned long long)end, vm->address_bits);
	}
	return kvm_set_memory(vm->vm_fd, number, slot, is_tracked, err);
}

int vm_map_pmem(const struct vm *vm, unsigned index, struct error *err)
{
	const struct gmem_slot slot = gmem_pmem_slot(vm->mem, index);

	return set_slot(vm, PMEM_SLOTS + index, &slot, false, err);
}

int vm_unmap_pmem(const struct vm *vm, unsigned index, struct error *err)
{
	struct gmem_slot slot = gmem_pmem_slot(vm->mem, index);

	slot.len = 0; /* [kvm-api 4.35] */
	return kvm_set_memory(vm->vm_fd, PMEM_SLOTS + index, &slot, false, err);
}

static int set_memory(struct vm *vm, struct error *err)
{
	struct gmem_pmem_info info;

	vm->address_bits = arch_address_bits(vm->kvm_fd);
	for (unsigned i = 0; i < gmem_region_count(vm->mem); i++) {
		struct gmem_slot slot = gmem_slot(vm->mem, i);

		if (set_slot(vm, i, &slot, vm->is_tracked, err) < 0) {
			return -1;
		}
	}
	for (unsigned i = 0; i < gmem_pmem_end(vm->mem); i++) {
		if (gmem_pmem_get(vm->mem, i, &info) && vm_map_pmem(vm, i, err) < 0) {
			return -1;
		}
	}
	return vm->machine.has_pci ? 0
				   : registers_init(&vm->registers, vm->vm_fd, REGISTERS_SLOT, err);
}

static int init_sync(struct vm *vm, struct error *err)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&vm->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&vm->changed, &attr);
	pthread_condattr_destroy(&attr);
	vm->end_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->end_event < 0) {
		return error_sys(err, "Cannot create an eventfd for the end of the guest");
	}
	return 0;
}

/* The template by its name, and what it asks of the host. */
static int check_host(struct vm *vm, struct error *err)
{
	struct arch_machine *machine = &vm->machine;

	if (machine->static_template != NULL &&
	    arch_find_template(machine->static_template, &machine->cpu_template, err) < 0) {
		return error_wrap(err, "Failed to get CPU template");
	}
	return arch_check_host(vm->kvm_fd, machine->cpu_template, err);
}

int vm_init(struct vm *vm, const struct vm_params *params, struct error *err)
{
	memset(vm, 0, offsetof(struct vm, vcpus));
	vm->is_made = true;
	vm->kvm_fd = -1;
	vm->vm_fd = -1;
	vm->keeper_fd = -1;
	vm->end_event = -1;
	vm->mem = params->mem;
	vm->want = VM_PARK;
	vm->machine = params->machine;
	vm->is_tracked = params->is_tracked;
	vm->timeline = params->timeline;
	vm->metrics = params->metrics;
	vm->confine = params->confine;
	vm->has_vhost = params->has_vhost;
	if (init_sync(vm, err) < 0 || kvm_open(&vm->kvm_fd, err) < 0 || check_host(vm, err) < 0 ||
	    kvm_create_vm(vm->kvm_fd, arch_vm_type(vm->kvm_fd), &vm->vm_fd, err) < 0 ||
	    set_memory(vm, err) < 0 ||
	    arch_vm_init(&vm->arch, vm->kvm_fd, vm->vm_fd, &vm->machine, err) < 0) {
		return -1;
	}
	timeline_set(vm->timeline, TIMELINE_VM);
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		if (vcpu_init(&vm->vcpus[i], vm, i, err) < 0) {
			return -1;
		}
	}
	if (arch_vm_finish(&vm->arch, err) < 0) {
		return -1;
	}
	/*
	 * KVM waits for grace periods when a VM is freed, 20 to 40 ms. Nothing here depends on
	 * their end.
	 */
	vm->keeper_fd = keeper_open(vm->vm_fd);
	timeline_set(vm->timeline, TIMELINE_VCPUS);
	return 0;
}

int vm_dirty_take(const struct vm *vm, unsigned region, uint64_t *bitmap, struct error *err)
{
	size_t words = gmem_bitmap_words(vm->mem, region);

	if (kvm_get_dirty_log(vm->vm_fd, region, bitmap, err) < 0) {
		return -1;
	}
	gmem_dirty_take(vm->mem, region, bitmap, words);
	return 0;
}

void vm_destroy(struct vm *vm)
{
	if (!vm->is_made) {
		return;
	}
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		vcpu_destroy(&vm->vcpus[i]);
	}
	arch_vm_destroy(&vm->arch);
	fd_close(&vm->vm_fd);
	registers_destroy(&vm->registers);
	fd_close(&vm->kvm_fd);
	fd_close(&vm->keeper_fd); /* the last to have the VM */
	fd_close(&vm->end_event);
}

int vm_start(struct vm *vm, struct error *err)
{
	if (vcpu_kick_setup(err) < 0) {
		return -1;
	}
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		if (vcpu_start(&vm->vcpus[i], err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* With vm->lock held. */
static void set_want(struct vm *vm, enum vm_want want)
{
	vm->want = want;
	for (unsigned i = 0; want != VM_RUN && i < vm->machine.vcpu_count; i++) {
		vcpu_kick(&vm->vcpus[i]);
	}
	pthread_cond_broadcast(&vm->changed);
}

void vm_resume(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	set_want(vm, VM_RUN);
	pthread_mutex_unlock(&vm->lock);
}

/* With all vCPUs parked. A guest without a paravirtual clock gets no notice: that is counted.
 */
static void note_pause(struct vm *vm)
{
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		struct error ignored = {0};

		if (arch_vcpu_note_pause(&vm->vcpus[i].arch, &ignored) < 0) {
			metric_add(&vm->vcpus[i].metrics.kvmclock_ctrl_fails, 1);
		}
	}
}

/* With vm->lock held, which it gives up. */
static int await_parked(struct vm *vm, struct error *err)
{
	struct timespec deadline;
	int sys = 0;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += PAUSE_TIMEOUT_S;
	while (vm->parked < vm->machine.vcpu_count && sys == 0) {
		sys = pthread_cond_timedwait(&vm->changed, &vm->lock, &deadline);
	}
	unsigned parked = vm->parked;

	pthread_mutex_unlock(&vm->lock);
	if (parked < vm->machine.vcpu_count) {
		return error_set(err, ERR_HOST, "Only %u of %u vCPUs paused within %d s", parked,
				 vm->machine.vcpu_count, PAUSE_TIMEOUT_S);
	}
	return 0;
}

static int park(struct vm *vm, struct error *err)
{
	pthread_mutex_lock(&vm->lock);
	set_want(vm, VM_PARK);
	return await_parked(vm, err);
}

int vm_pause(struct vm *vm, struct error *err)
{
	if (park(vm, err) < 0) {
		return -1;
	}
	note_pause(vm);
	return 0;
}

int vm_do_parked(struct vm *vm, void (*fn)(void *arg), void *arg, struct error *err)
{
	bool is_running = vm->want == VM_RUN; /* only this thread changes it */
	int result = 0;

	if (is_running) {
		result = park(vm, err);
	}
	if (result == 0) {
		fn(arg);
	}
	if (is_running) {
		vm_resume(vm);
	}
	return result;
}

int vm_hold(struct vm *vm, struct error *err)
{
	pthread_mutex_lock(&vm->lock);
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		vm->vcpus[i].is_held = true;
		vcpu_kick(&vm->vcpus[i]);
	}
	return await_parked(vm, err);
}

void vm_release(struct vm *vm, uint32_t vcpus)
{
	/* The guest's clocks have gone on. */
	note_pause(vm);
	pthread_mutex_lock(&vm->lock);
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		vm->vcpus[i].is_held &= (vcpus >> i & 1) == 0;
	}
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
}

void vm_stop(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	set_want(vm, VM_QUIT);
	pthread_mutex_unlock(&vm->lock);
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		if (vm->vcpus[i].has_thread) {
			pthread_join(vm->vcpus[i].thread, NULL);
			vm->vcpus[i].has_thread = false;
		}
	}
}

void vm_signal_end(struct vm *vm, enum vm_end end, const char *reason)
{
	int none = VM_NOT_ENDED;

	if (atomic_compare_exchange_strong(&vm->end, &none, (int)end)) {
		snprintf(vm->end_reason, sizeof(vm->end_reason), "%s", reason);
		(void)!eventfd_write(vm->end_event, 1);
	}
}

int vm_hide_from_forks(const struct vm *vm, struct error *err)
{
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		const struct vcpu *vcpu = &vm->vcpus[i];

		if (madvise(vcpu->run, vcpu->run_len, MADV_DONTFORK) < 0) {
			return error_sys(err, "Cannot hide a vCPU from a fork");
		}
	}
	return registers_hide_from_forks(&vm->registers, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/machine/vm.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/fake/arch_fake.h"
#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "tests/lib/ram.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/kvm.h"
#include "vmm/machine/vm.h"

static struct timeline timeline;

static void make(struct vm *vm, unsigned vcpu_count)
{
	struct vm_params params = {
		.machine = {.vcpu_count = vcpu_count},
		.mem = new_ram(128 * MIB),
		.timeline = &timeline,
	};
	struct error err = {0};

	cr_assert(vm_init(vm, &params, &err) == 0, "%s", err.msg);
}

static void make_started(struct vm *vm, unsigned vcpu_count)
{
	struct error err = {0};

	make(vm, vcpu_count);
	cr_assert(vm_start(vm, &err) == 0, "%s", err.msg);
}

static void end(struct vm *vm)
{
	struct gmem *mem = vm->mem;

	vm_stop(vm);
	vm_destroy(vm);
	gmem_free(mem);
}

static void pause_vm(struct vm *vm)
{
	struct error err = {0};

	cr_assert(vm_pause(vm, &err) == 0, "%s", err.msg);
	pthread_mutex_lock(&vm->lock);
	cr_assert(vm->parked == vm->machine.vcpu_count, "%u parked", vm->parked);
	pthread_mutex_unlock(&vm->lock);
}

static struct kvm_userspace_memory_region slots[4];
static unsigned slot_count;

static int see_slot(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	memcpy(&slots[slot_count++], arg, sizeof(slots[0]));
	return 0;
}

Test(vm, all_memory_is_set_before_anything_joins_an_io_bus)
{
	static struct vm vm;

	kvm_fake_script(KVM_SET_USER_MEMORY_REGION, see_slot);
	make(&vm, 2);
	int last_slot = kvm_fake_last(KVM_SET_USER_MEMORY_REGION);

	cr_assert(last_slot > kvm_fake_first(KVM_CREATE_VM));
	cr_assert(last_slot < kvm_fake_first(KVM_CREATE_IRQCHIP));
	cr_assert(last_slot < kvm_fake_first(KVM_CREATE_VCPU));
	cr_assert(kvm_fake_last(KVM_CREATE_IRQCHIP) < kvm_fake_first(KVM_CREATE_VCPU));
	cr_assert(kvm_fake_count(KVM_CREATE_VCPU) == 2);
	cr_assert(slot_count == 3);
	cr_assert(slots[0].slot == 0 && slots[0].guest_phys_addr == 0);
	cr_assert(slots[0].memory_size == 64 * MIB && slots[1].memory_size == 64 * MIB);
	cr_assert(slots[1].slot == 1 && slots[1].guest_phys_addr == 4 * GIB);
	cr_assert(slots[2].guest_phys_addr == 0xd0000000, "the registers of virtio-mmio");
	cr_assert(slots[2].memory_size == ARCH_FAKE_VIRTIO_SLOTS * UINT64_C(0x1000));
	cr_assert(slots[2].flags == KVM_MEM_READONLY);
	cr_assert(timeline.at_ns[TIMELINE_VM] > 0 && timeline.at_ns[TIMELINE_VCPUS] > 0);
	end(&vm);
}

Test(vm, registers_are_no_memory_where_the_host_can_not_show_them_or_there_is_a_bus)
{
	static struct vm vm;
	struct vm_params params = {
		.machine = {.vcpu_count = 1, .has_pci = true},
		.mem = new_ram(MIB),
		.timeline = &timeline,
	};
	struct error err = {0};

	kvm_fake_script(KVM_SET_USER_MEMORY_REGION, see_slot);
	cr_assert(vm_init(&vm, &params, &err) == 0, "%s", err.msg);
	cr_expect(slot_count == 1 && !vm.registers.is_made);
	vm_destroy(&vm);
	arch_fake_shows_registers = false;
	params.machine.has_pci = false;
	cr_assert(vm_init(&vm, &params, &err) == 0, "%s", err.msg);
	cr_expect(slot_count == 2 && registers_page(&vm.registers, 0xd0001000) == NULL);
	end(&vm);
}

/* The second half of the RAM is above 4 GiB, which 33 bits reach. */
Test(vm, memory_that_the_guest_has_no_addresses_for_is_refused)
{
	static struct vm vm;
	struct gmem *mem = new_ram(128 * MIB);
	struct vm_params params = {.machine = {.vcpu_count = 1}, .mem = mem, .timeline = &timeline};
	struct error err = {0};

	arch_fake_address_bits = 32;
	cr_expect(vm_init(&vm, &params, &err) < 0);
	cr_expect(strstr(err.msg, "up to the address 0x104000000") != NULL &&
			  strstr(err.msg, "addresses of 32 bits") != NULL,
		  "%s", err.msg);
	vm_destroy(&vm);
	error_clear(&err);
	arch_fake_address_bits = 33;
	cr_expect(vm_init(&vm, &params, &err) == 0, "%s", err.msg);
	end(&vm);
}

Test(vm, one_that_was_never_made_may_be_destroyed)
{
	static struct vm vm;
	unsigned fds = kvm_fake_open_fds();

	end(&vm);
	cr_assert(kvm_fake_open_fds() == fds, "standard descriptors were closed");
}

/* A guest that computes: it leaves only for a signal or immediate_exit, without a gap between. */
static int compute(int fd, unsigned long request, void *arg)
{
	struct kvm_run *run = kvm_fake_run_area(fd);
	sigset_t kick;
	sigset_t old;

	(void)request;
	(void)arg;
	sigemptyset(&kick);
	sigaddset(&kick, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &kick, &old);
	if (!__atomic_load_n(&run->immediate_exit, __ATOMIC_SEQ_CST)) {
		ppoll(NULL, 0, NULL, &old);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = EINTR;
	return -1;
}

static _Atomic unsigned inside;
static _Atomic unsigned rounds;

/* A guest that exits all the time, for a device that takes a moment. */
static int exit_at_once(int fd, unsigned long request, void *arg)
{
	struct kvm_run *run = kvm_fake_run_area(fd);

	(void)request;
	(void)arg;
	if (__atomic_load_n(&run->immediate_exit, __ATOMIC_SEQ_CST)) {
		errno = EINTR;
		return -1;
	}
	inside++;
	rounds++;
	run->exit_reason = KVM_EXIT_INTR;
	inside--;
	return 0;
}

static int mix(int fd, unsigned long request, void *arg)
{
	return fd % 2 ? compute(fd, request, arg) : exit_at_once(fd, request, arg);
}

/*
 * As many rounds as a busy machine has time for: each waits for all vCPU threads to have had a CPU.
 * A lost kick is told by vm_pause, after 30 s.
 */
Test(vm, no_kick_is_lost, .timeout = 120)
{
	static const kvm_fake_answer guests[] = {compute, exit_at_once, mix};
	static const uint64_t enough_ns = 5000000000;

	for (size_t i = 0; i < ARRAY_COUNT(guests); i++) {
		static struct vm vm;

		kvm_fake_script(KVM_RUN, guests[i]);
		make_started(&vm, 4);
		uint64_t begin_ns = clock_host.now_ns(CLOCK_MONOTONIC);

		for (int round = 0;
		     round < 1500 && clock_host.now_ns(CLOCK_MONOTONIC) - begin_ns < enough_ns;
		     round++) {
			vm_resume(&vm);
			if (round % 3 == 1) {
				sched_yield();
			} else if (round % 50 == 2) {
				usleep(200);
			}
			pause_vm(&vm);
			cr_assert(inside == 0);
		}
		end(&vm);
	}
}

Test(vm, a_paused_guest_stands_still, .timeout = 10)
{
	static struct vm vm;

	kvm_fake_script(KVM_RUN, exit_at_once);
	make_started(&vm, 3);
	vm_resume(&vm);
	while (rounds < 100) {
		sched_yield();
	}
	pause_vm(&vm);
	unsigned before = rounds;

	usleep(20000);
	cr_assert(rounds == before);
	vm_resume(&vm);
	while (rounds == before) {
		sched_yield();
	}
	end(&vm);
}

Test(vm, pause_resume_and_stop_may_be_repeated, .timeout = 10)
{
	static struct vm vm;

	make_started(&vm, 2);
	pause_vm(&vm);
	pause_vm(&vm);
	vm_resume(&vm);
	vm_resume(&vm);
	pause_vm(&vm);
	vm_resume(&vm);
	vm_stop(&vm);
	vm_stop(&vm);
	vm_destroy(&vm);
	vm_destroy(&vm);
}

Test(vm, stop_works_from_every_state, .timeout = 10)
{
	for (int state = 0; state < 40; state++) {
		static struct vm vm;

		make(&vm, 2);
		if (state % 4 > 0) {
			struct error err = {0};

			cr_assert(vm_start(&vm, &err) == 0);
		}
		if (state % 4 > 1) {
			vm_resume(&vm);
		}
		if (state % 4 > 2) {
			vm_signal_end(&vm, VM_RESET, "first");
		}
		end(&vm);
	}
}

/* Whoever starts us may have blocked any signal, and masks are inherited. */
Test(vm, a_blocked_kick_signal_is_unblocked_for_vcpus, .timeout = 10)
{
	static struct vm vm;
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &kick, NULL);
	kvm_fake_script(KVM_RUN, compute);
	make_started(&vm, 1);
	vm_resume(&vm);
	usleep(20000);
	pause_vm(&vm);
	end(&vm);
}

Test(vm, the_first_end_wins_and_is_told_once, .timeout = 10)
{
	static struct vm vm;
	eventfd_t count = 0;

	make_started(&vm, 2);
	vm_signal_end(&vm, VM_RESET, "first");
	vm_signal_end(&vm, VM_FAILED, "second");
	cr_assert(vm.end == VM_RESET);
	cr_assert_str_eq(vm.end_reason, "first");
	cr_assert(eventfd_read(vm.end_event, &count) == 0 && count == 1);
	cr_assert(eventfd_read(vm.end_event, &count) == -1);
	/* What has ended does not run again. */
	vm_resume(&vm);
	usleep(5000);
	cr_assert(kvm_fake_count(KVM_RUN) == 0);
	pause_vm(&vm);
	end(&vm);
}

static _Atomic int winners;

static void *signal_end(void *arg)
{
	struct vm *vm = arg;

	vm_signal_end(vm, ++winners % 2 ? VM_RESET : VM_FAILED, "x");
	return NULL;
}

Test(vm, ends_from_many_threads_are_one, .timeout = 10)
{
	static struct vm vm;
	pthread_t threads[8];
	eventfd_t count = 0;

	make(&vm, 1);
	for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
		pthread_create(&threads[i], NULL, signal_end, &vm);
	}
	for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
		pthread_join(threads[i], NULL);
	}
	cr_assert(eventfd_read(vm.end_event, &count) == 0 && count == 1);
	end(&vm);
}

Test(vm, nothing_is_left_behind)
{
	static struct vm vm;

	make_started(&vm, 3);
	end(&vm);
	unsigned fds = kvm_fake_open_fds();

	for (int i = 0; i < 20; i++) {
		make_started(&vm, 3);
		vm_resume(&vm);
		end(&vm);
	}
	cr_assert(kvm_fake_open_fds() == fds && arch_fake_alive() == 0);
}

Test(vm, a_pause_is_told_to_the_clock_of_each_vcpu, .timeout = 10)
{
	static struct vm vm;

	make_started(&vm, 3);
	vm_resume(&vm);
	pause_vm(&vm);
	cr_expect_eq(kvm_fake_count(KVM_KVMCLOCK_CTRL), 3);
	cr_expect_eq(metric_get(&vm.vcpus[2].metrics.kvmclock_ctrl_fails), 0);
	vm_resume(&vm);
	arch_fake_fail("arch_vcpu_note_pause");
	pause_vm(&vm);
	cr_expect_eq(metric_get(&vm.vcpus[2].metrics.kvmclock_ctrl_fails), 1);
	end(&vm);
}

static struct vm *parked_vm;
static bool was_alone;

static void look_alone(void *arg)
{
	unsigned before = rounds;

	(void)arg;
	usleep(5000);
	was_alone = rounds == before && inside == 0 && parked_vm->parked == 3;
}

Test(vm, a_change_is_made_while_no_vcpu_runs_and_those_that_ran_go_on, .timeout = 10)
{
	static struct vm vm;
	struct error err = {0};

	parked_vm = &vm;
	kvm_fake_script(KVM_RUN, exit_at_once);
	make_started(&vm, 3);
	vm_resume(&vm);
	for (unsigned i = 0; i < 10; i++) {
		unsigned before = rounds;

		while (rounds == before) {
			sched_yield();
		}
		cr_assert(vm_do_parked(&vm, look_alone, NULL, &err) == 0, "%s", err.msg);
		cr_expect(was_alone);
	}
	pause_vm(&vm);
	unsigned before = rounds;

	was_alone = false;
	cr_assert(vm_do_parked(&vm, look_alone, NULL, &err) == 0, "%s", err.msg);
	usleep(5000);
	cr_expect(was_alone && rounds == before, "a paused guest stays so");
	end(&vm);
}

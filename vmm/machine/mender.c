/* SPDX-License-Identifier: Apache-2.0 */
/* Mends guest memory on the VMM thread, which alone maps files there. */
#include "vmm/machine/mender.h"

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/gmem_pmem.h"
#include "vmm/base/log.h"
#include "vmm/machine/vm.h"

enum {
	LOOKS_MAX = 16 /* of a pause: pages that are missing after these stay so */
};

static void mend(void *arg)
{
	struct mender *mender = arg;

	if (gmem_pmem_mend(mender->vm->mem)) {
		(void)mender_ask(mender);
	}
}

static bool mend_parked(struct mender *mender)
{
	struct error err = {0};

	if (vm_do_parked(mender->vm, mend, mender, &err) < 0) {
		log_error("Guest memory can't be mended: %s", err.msg);
		return false;
	}
	return true;
}

/* An access that a vCPU has missed, on its behalf. False: the page is missing still. */
static bool repeat(struct gmem *mem, const struct vcpu_access *access)
{
	uint8_t byte;

	if (!gmem_contains(mem, GPA(access->addr), access->len)) {
		vcpu_warn_invalid(access); /* there is nothing at all */
		return true;
	}
	return access->is_write ? gmem_write(mem, GPA(access->addr), access->data, access->len) == 0
				: gmem_read(mem, GPA(access->addr), &byte, 1) == 0;
}

static bool repeat_all(struct gmem *mem, const struct vcpu *vcpu)
{
	bool is_done = true;

	for (unsigned i = 0; i < vcpu->missed_count && is_done; i++) {
		is_done = repeat(mem, &vcpu->missed[i]);
	}
	return is_done;
}

/* Does what vCPUs have missed, as far as pages are there: the vCPUs of which some is left. */
static uint32_t serve_missed(struct vm *vm)
{
	uint32_t left = 0;

	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		struct vcpu *vcpu = &vm->vcpus[i];

		if (atomic_load(&vcpu->missed_state) != VCPU_MISSED_ASKED) {
			continue;
		}
		if (repeat_all(vm->mem, vcpu)) {
			atomic_store(&vcpu->missed_state, VCPU_MISSED_DONE);
		} else {
			left |= UINT32_C(1) << i;
		}
	}
	return left;
}

static void fail_missed(struct vm *vm, uint32_t vcpus)
{
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		if ((vcpus >> i & 1) != 0) {
			atomic_store(&vm->vcpus[i].missed_state, VCPU_MISSED_FAILED);
		}
	}
}

/*
 * Most of what a guest misses is where nothing is, for which no file is looked at: that takes time,
 * and room on a disk. What is missing still while there was something to mend is tried again. Else
 * nothing will bring what was missing before the look.
 */
static void look(struct mender *mender)
{
	bool is_asked = atomic_exchange(&mender->is_asked, false);
	uint32_t left = serve_missed(mender->vm);

	if (!is_asked && left == 0) {
		return;
	}
	bool has_mended = gmem_pmem_is_torn(mender->vm->mem) && mend_parked(mender);

	left &= serve_missed(mender->vm);
	if (!has_mended) {
		atomic_fetch_add(&mender->looks, 1);
		fail_missed(mender->vm, left);
	} else if (left != 0) {
		ev_wake_signal(&mender->wake);
	}
}

static void on_wake(struct ev_wake *wake)
{
	look(container_of(wake, struct mender, wake));
}

static void on_timer(struct ev_timer *timer)
{
	struct mender *mender = container_of(timer, struct mender, timer);

	if (gmem_pmem_watch(mender->vm->mem)) {
		(void)mend_parked(mender);
	}
}

int mender_init(struct mender *mender, struct vm *vm, struct evloop *loop, struct error *err)
{
	*mender = (struct mender){
		.vm = vm,
		.wake = {.fn = on_wake, .is_frozen_with_guest = true},
		.timer = {.fn = on_timer, .is_frozen_with_guest = true},
	};
	if (ev_wake_init(&mender->wake, loop, err) < 0 ||
	    ev_timer_init(&mender->timer, loop, err) < 0) {
		return -1;
	}
	vm->mender = mender;
	if (gmem_pmem_end(vm->mem) > 0) {
		mender_watch(mender);
	}
	return 0;
}

void mender_destroy(struct mender *mender)
{
	if (mender->vm != NULL) {
		mender->vm->mender = NULL;
		ev_timer_destroy(&mender->timer);
		ev_wake_destroy(&mender->wake);
		*mender = (struct mender){0};
	}
}

void mender_watch(struct mender *mender)
{
	ev_timer_set(&mender->timer, NS_PER_S, NS_PER_S);
}

unsigned mender_ask(struct mender *mender)
{
	unsigned looks = atomic_load(&mender->looks);

	atomic_store(&mender->is_asked, true);
	ev_wake_signal(&mender->wake);
	return looks;
}

void mender_serve(struct mender *mender)
{
	ev_wake_signal(&mender->wake);
}

void mender_settle(struct mender *mender)
{
	struct vm *vm = mender->vm;

	for (unsigned i = 0; vm != NULL && i < vm->machine.vcpu_count; i++) {
		struct vcpu *vcpu = &vm->vcpus[i];
		int own = VCPU_MISSED_OWN;

		if (vcpu->missed_count > 0) {
			(void)atomic_compare_exchange_strong(&vcpu->missed_state, &own,
							     VCPU_MISSED_ASKED);
		}
		for (unsigned looks = 0;
		     looks < LOOKS_MAX && atomic_load(&vcpu->missed_state) == VCPU_MISSED_ASKED;
		     looks++) {
			look(mender);
		}
	}
}

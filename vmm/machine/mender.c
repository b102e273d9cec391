/* SPDX-License-Identifier: Apache-2.0 */
/* Mends guest memory on the VMM thread, which alone maps files there. */
#include "vmm/machine/mender.h"

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/gmem_pmem.h"
#include "vmm/base/log.h"
#include "vmm/machine/vm.h"

static void mend(void *arg)
{
	gmem_pmem_mend(arg);
}

static bool mend_parked(const struct mender *mender)
{
	struct error err = {0};

	if (vm_do_parked(mender->vm, mend, mender->vm->mem, &err) < 0) {
		log_error("Guest memory can't be mended: %s", err.msg);
		return false;
	}
	return true;
}

static void on_wake(struct ev_wake *wake)
{
	struct mender *mender = container_of(wake, struct mender, wake);

	if (!gmem_pmem_is_torn(mender->vm->mem) || !mend_parked(mender)) {
		atomic_fetch_add(&mender->looks, 1);
	}
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

	ev_wake_signal(&mender->wake);
	return looks;
}

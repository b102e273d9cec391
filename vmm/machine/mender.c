/* SPDX-License-Identifier: Apache-2.0 */
/* Mends guest memory on the VMM thread, which alone maps files there. */
#include "vmm/machine/mender.h"

#include "vmm/base/bytes.h"
#include "vmm/base/gmem_pmem.h"
#include "vmm/base/log.h"
#include "vmm/machine/vm.h"

static void mend(void *arg)
{
	gmem_pmem_mend(arg);
}

static void on_wake(struct ev_wake *wake)
{
	struct mender *mender = container_of(wake, struct mender, wake);
	struct gmem *mem = mender->vm->mem;
	struct error err = {0};

	if (!gmem_pmem_is_torn(mem)) {
		atomic_fetch_add(&mender->looks, 1);
	} else if (vm_do_parked(mender->vm, mend, mem, &err) < 0) {
		log_error("Guest memory can't be mended: %s", err.msg);
		atomic_fetch_add(&mender->looks, 1);
	}
}

int mender_init(struct mender *mender, struct vm *vm, struct evloop *loop, struct error *err)
{
	*mender = (struct mender){
		.vm = vm,
		.wake = {.fn = on_wake, .is_frozen_with_guest = true},
	};
	if (ev_wake_init(&mender->wake, loop, err) < 0) {
		return -1;
	}
	vm->mender = mender;
	return 0;
}

void mender_destroy(struct mender *mender)
{
	if (mender->vm != NULL) {
		mender->vm->mender = NULL;
		ev_wake_destroy(&mender->wake);
		*mender = (struct mender){0};
	}
}

unsigned mender_ask(struct mender *mender)
{
	unsigned looks = atomic_load(&mender->looks);

	ev_wake_signal(&mender->wake);
	return looks;
}

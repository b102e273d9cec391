/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any place in memory that may be there, any saved states.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-split-return full
 */
#include "tests/eva/bus.h"
#include "tests/eva/gmem.h"

#define atomic_thread_fence(order) ((void)(order))

#include "devices/platform/vmclock.c"

void main(void)
{
	const struct dev_env env = {.irq = {.fire = note}};
	struct vmclock *vmclock = NULL;
	struct vmclock_state state;
	struct error err = {0};

	if (vmclock_new(&env, GPA(any_u64()), &vmclock, &err) == 0) {
		while (any_bool()) {
			vmclock_save(vmclock, &state);
			keep(state.seq_count);
			vmclock_state_codec(NULL, &state);
			keep(vmclock_load(vmclock, &state, &err));
		}
	}
	vmclock_free(vmclock);
}

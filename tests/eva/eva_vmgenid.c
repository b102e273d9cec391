/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any place in memory that may be there, a host that may have no random bytes, any saved state.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-split-return full
 */
#include "tests/eva/bus.h"
#include "tests/eva/gmem.h"

#include <sys/types.h>

/* Frama-C has no <sys/random.h>. */
#define _SYS_RANDOM_H 1

static ssize_t getrandom(void *bytes, size_t len, unsigned flags)
{
	keep(flags);
	fill(bytes, len);
	return any_bool() ? (ssize_t)any_between(0, len) : -1;
}

#include "devices/platform/vmgenid.c"

void main(void)
{
	const struct dev_env env = {.irq = {.fire = note}};
	struct vmgenid *vmgenid = NULL;
	struct vmgenid_state state;
	struct error err = {0};

	if (vmgenid_new(&env, GPA(any_u64()), &vmgenid, &err) == 0) {
		vmgenid_save(vmgenid, &state);
		keep(state.at);
		vmgenid_state_codec(NULL, &state);
		keep(vmgenid_load(vmgenid, &state, &err));
	}
	vmgenid_free(vmgenid);
}

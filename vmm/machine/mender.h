/* SPDX-License-Identifier: Apache-2.0 */
/* Has the VMM thread look after pages of files that a vCPU was not given (gmem_pmem.h). */
#ifndef VMM_MENDER_H
#define VMM_MENDER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"

struct vm;

/* Embedded in the machine. */
struct mender {
	struct ev_wake wake;
	struct ev_timer timer; /* for pages that KVM does not tell of */
	struct vm *vm;
	_Atomic bool is_asked;	/* for a look */
	_Atomic unsigned looks; /* that found nothing to mend */
};

/* vm->mender is set from then on until mender_destroy, both while no vCPU runs. VMM thread. */
MUST_CHECK int mender_init(struct mender *mender, struct vm *vm, struct evloop *loop,
			   struct error *err);
void mender_destroy(struct mender *mender); /* a zeroed one is fine */

/* Looks each second from now on. Idempotent, VMM thread. */
void mender_watch(struct mender *mender);

/*
 * Of a vCPU whose KVM_RUN has failed with EFAULT: asks for a look, and returns how many found
 * nothing so far. One that finds something parks all vCPUs. On a vCPU's thread.
 */
unsigned mender_ask(struct mender *mender);

/* Of a vCPU that has missed accesses: has them done, and their pages mended. On its thread. */
void mender_serve(struct mender *mender);

/*
 * Of a machine that pauses, with all vCPUs parked: does at once what they have missed, as nobody
 * else would know of it who goes on from there. A zeroed one is fine. VMM thread.
 */
void mender_settle(struct mender *mender);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMClock: a page in guest memory with two counters, one of disruptions of the guest's clocks, one
 * of loads from a snapshot, and an interrupt when they have changed. Programs in the guest may map
 * the page and compare [vmclock].
 */
#ifndef DEVICES_PLATFORM_VMCLOCK_H
#define DEVICES_PLATFORM_VMCLOCK_H

#include <stdint.h>

#include "devices/device.h"
#include "vmm/base/attr.h"
#include "vmm/base/codec.h"
#include "vmm/base/error.h"

enum {
	VMCLOCK_LEN = 4096
};

struct vmclock;

/*
 * Writes the page at `at`, with counters of 0, to guest memory. Takes env->mem and env->irq. The
 * caller owns *out and frees it (NULL is fine).
 */
MUST_CHECK int vmclock_new(const struct dev_env *env, gpa_t at, struct vmclock **out,
			   struct error *err);
void vmclock_free(struct vmclock *vmclock);

/* What counts is this, and not what the guest has made of its page. */
struct vmclock_state {
	uint64_t at; /* where the guest was told it is */
	uint32_t seq_count;
	uint64_t disruption_marker;
	uint64_t vm_generation_counter;
};

/* A section of its own. */
void vmclock_state_codec(struct codec *codec, struct vmclock_state *state);

/* While no vCPU runs. Changes nothing. */
void vmclock_save(const struct vmclock *vmclock, struct vmclock_state *state);

/*
 * Into one that was just made: both counters are one more than in the state, and the guest is
 * interrupted, once interrupt controllers are loaded and before a vCPU runs. ERR_CORRUPT: the guest
 * looks for its page at another address.
 */
MUST_CHECK int vmclock_load(struct vmclock *vmclock, const struct vmclock_state *state,
			    struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine under a debugger: its vCPUs run or stand still together, with memory, breakpoints and
 * steps. All on the VMM thread.
 *
 * Theory of operation. While the vCPUs stand still, guest memory is as the guest has it: breakpoint
 * instructions are written when vCPUs are let go, and taken back when they are stopped. So what a
 * debugger reads has none of them, and what it writes needs no care.
 */
#ifndef VMM_DEBUG_TARGET_H
#define VMM_DEBUG_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "arch/debug.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"
#include "vmm/machine/vm.h"

enum {
	TARGET_BREAKS_MAX = 128 /* software breakpoints */
};

/* A software breakpoint, and what its instruction has taken the place of. */
struct target_break {
	uint64_t address; /* as the debugger knows it */
	gpa_t gpa;	  /* what it was when the breakpoint was set */
	uint8_t saved[DEBUG_TRAP_MAX];
	bool is_written;
};

enum target_cause {
	TARGET_ATTACHED,
	TARGET_INTERRUPTED,
	TARGET_BREAK,	   /* software breakpoint */
	TARGET_HARD_BREAK, /* hardware breakpoint */
	TARGET_WATCH,	   /* watchpoint of `kind`, at `address` */
	TARGET_STEPPED,
};

struct target_stop {
	enum target_cause cause;
	unsigned vcpu;
	enum debug_point_kind kind;
	uint64_t address;
};

struct target {
	struct vm *vm;
	struct debug_plan plan; /* of each vCPU, but for steps */
	struct target_break breaks[TARGET_BREAKS_MAX];
	unsigned break_count;
	uint32_t runs; /* vCPUs that were let go last, a bit each */
	uint32_t steps;
	uint32_t blocked; /* vCPUs whose interrupts wait for the end of their step */
	struct target_stop waiting[ARCH_VCPUS_MAX]; /* stops that have not been told yet */
	uint32_t waits;				    /* which of them there are */
};

void target_init(struct target *target, struct vm *vm, struct debug_can can);

/* A bit for each vCPU. */
uint32_t target_all(const struct target *target);

/* Stops all vCPUs. Idempotent. Fails as vm_pause does. */
MUST_CHECK int target_halt(struct target *target, struct error *err);

/*
 * Lets vCPUs go, those with a bit in `steps` (which `runs` has too) for one instruction. All stand
 * still.
 */
MUST_CHECK int target_resume(struct target *target, uint32_t runs, uint32_t steps,
			     struct error *err);

/*
 * Of halted vCPUs: why one has stopped. False: for nothing that the debugger has asked for; what is
 * the guest's own was handed to it.
 */
bool target_find_stop(struct target *target, struct target_stop *stop);

/* Forgets all breakpoints and lets all vCPUs go. */
void target_detach(struct target *target);

/*
 * Guest memory by the tables of a vCPU, as far as it is RAM that the guest has mapped. Reading
 * copies that much from the first byte on, and returns it. Writing copies all or nothing (false).
 */
size_t target_read(const struct target *target, unsigned vcpu, uint64_t address, uint8_t *bytes,
		   size_t len);
MUST_CHECK bool target_write(const struct target *target, unsigned vcpu, uint64_t address,
			     const uint8_t *bytes, size_t len);

/*
 * Software breakpoints and points of hardware. Idempotent. False: there is no memory, or there are
 * no more, or the processor can't have such a point.
 */
MUST_CHECK bool target_set_break(struct target *target, unsigned vcpu, uint64_t address);
void target_clear_break(struct target *target, uint64_t address);
MUST_CHECK bool target_set_point(struct target *target, const struct debug_point *point);
void target_clear_point(struct target *target, const struct debug_point *point);

#endif

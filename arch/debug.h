/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a debugger asks of a vCPU: the third part of the architecture's contract. All calls are on
 * the VMM's thread, of a vCPU that is parked between two instructions; so they may issue ioctls of
 * the vCPU.
 */
#ifndef ARCH_DEBUG_H
#define ARCH_DEBUG_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "arch/arch.h"
#include "arch/debug_reg.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

enum {
	DEBUG_BYTES_MAX = 1024, /* of all registers of a vCPU */
	DEBUG_POINTS_MAX = 32,	/* hardware breakpoints and watchpoints */
	DEBUG_TRAP_MAX = 4,	/* bytes of a breakpoint instruction */
};

/* --- Registers --- */

/*
 * All registers in the order of the table, each with its bytes in the order of the guest, without
 * gaps. Setting writes only what differs. A register that this vCPU lacks reads as 0.
 */
MUST_CHECK int debug_get_regs(const struct arch_vcpu *vcpu, uint8_t bytes[DEBUG_BYTES_MAX],
			      struct error *err);
MUST_CHECK int debug_set_regs(const struct arch_vcpu *vcpu, const uint8_t bytes[DEBUG_BYTES_MAX],
			      struct error *err);

/* --- Memory --- */

/*
 * Where the guest's own tables have `address`, with the privilege of its kernel. False: nowhere.
 * *left is how many bytes follow on the same page, that of `address` included.
 */
bool debug_translate(const struct arch_vcpu *vcpu, const struct gmem *mem, uint64_t address,
		     gpa_t *gpa, uint64_t *left);

/* The instruction that a software breakpoint is. */
struct debug_trap {
	uint8_t bytes[DEBUG_TRAP_MAX];
	size_t len;
};

extern const struct debug_trap debug_trap;

/* --- Stops --- */

/* What the host can do. */
struct debug_can {
	bool debug; /* anything at all */
	bool traps; /* breakpoint instructions */
	unsigned breaks;
	unsigned watches;
	bool block_irqs; /* while an instruction is stepped */
};

/* On x86_64 by trying, which makes a VM: before the thread is confined. */
struct debug_can debug_find_abilities(int kvm);

enum debug_point_kind {
	DEBUG_EXEC,
	DEBUG_WRITE,
	DEBUG_READ,
	DEBUG_ACCESS
};

struct debug_point {
	enum debug_point_kind kind;
	uint64_t address;
	uint64_t len; /* of a watchpoint, bytes */
};

/* What a vCPU is to stop at. */
struct debug_plan {
	struct debug_can can;
	struct debug_point points[DEBUG_POINTS_MAX];
	unsigned point_count;
	bool has_traps; /* breakpoint instructions are ours, or else the guest's */
	bool is_stepping;
};

/* Whether the processor has registers for all points, and takes them as they are. */
bool debug_plan_fits(const struct debug_plan *plan);

/* KVM_SET_GUEST_DEBUG [kvm-api 4.87]. A zeroed plan is the end of debugging. */
MUST_CHECK int debug_apply(const struct arch_vcpu *vcpu, const struct debug_plan *plan,
			   struct error *err);

/*
 * Keeps interrupts from a vCPU that is about to step one instruction, where debug_apply can't: one
 * that was due while it stood still would be stepped into. Returns whether anything was changed,
 * which debug_unblock_irqs takes back when the vCPU stands still again.
 */
bool debug_block_irqs(const struct arch_vcpu *vcpu, const struct gmem *mem);
MUST_CHECK int debug_unblock_irqs(const struct arch_vcpu *vcpu, struct error *err);

enum debug_stop_kind {
	DEBUG_STOP_TRAP,  /* a breakpoint instruction, at `address` */
	DEBUG_STOP_POINT, /* the point of number `point` */
	DEBUG_STOP_STEP,
	DEBUG_STOP_GUEST, /* no doing of ours: the guest debugs itself */
};

struct debug_stop {
	enum debug_stop_kind kind;
	uint64_t address;
	unsigned point;
};

/* Why a vCPU left the guest with KVM_EXIT_DEBUG, under this plan. */
MUST_CHECK int debug_explain(const struct arch_vcpu *vcpu, const struct debug_plan *plan,
			     const struct kvm_debug_exit_arch *exit, struct debug_stop *stop,
			     struct error *err);

/* Hands the exception to the guest, whose own it is: before its next instruction. */
MUST_CHECK int debug_inject(const struct arch_vcpu *vcpu, const struct kvm_debug_exit_arch *exit,
			    struct error *err);

#endif

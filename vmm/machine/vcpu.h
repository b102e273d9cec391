/* SPDX-License-Identifier: Apache-2.0 */
/* One vCPU: its thread, the loop around KVM_RUN, and what becomes of each exit. */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "arch/arch.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/metrics.h"

struct vm;

/* Of each vCPU, so that they share no cache line; told as sums. */
struct vcpu_metrics {
	struct metric exit_io_in;
	struct metric exit_io_out;
	struct metric exit_mmio_read;
	struct metric exit_mmio_write;
	struct metric failures;
	struct metric kvmclock_ctrl_fails;
	struct metric_latency exit_io_in_agg;
	struct metric_latency exit_io_out_agg;
	struct metric_latency exit_mmio_read_agg;
	struct metric_latency exit_mmio_write_agg;
};

extern const struct metric_group vcpu_metric_group;

/*
 * An access to guest memory that came as one to no memory, since its page was missing: the guest
 * has read zeroes, and what it has written is here.
 */
struct vcpu_access {
	uint64_t addr;
	uint32_t len;
	bool is_write;
	uint8_t data[8];
};

enum {
	VCPU_MISSED_MAX = 16 /* accesses of one instruction, of 8 bytes each: 64 in two pages */
};

/* Whose vcpu.missed is, and what became of it. */
enum vcpu_missed {
	VCPU_MISSED_OWN,    /* the vCPU thread's */
	VCPU_MISSED_ASKED,  /* the VMM thread's (mender.c) */
	VCPU_MISSED_DONE,   /* the vCPU thread's again, which goes on */
	VCPU_MISSED_FAILED, /* the same, and the guest ends */
};

struct vcpu {
	bool is_made;
	/* immutable once the thread runs */
	struct vm *vm;
	unsigned index;
	int fd;
	struct kvm_run *run;
	size_t run_len;
	struct arch_vcpu arch;
	pthread_t thread;
	bool has_thread;
	char name[16]; /* "fc_vcpu N" [compat: tools find the threads by it] */
	/* the vCPU thread's own */
	unsigned failed_runs;
	bool is_starved;      /* it waits for a page since the last instruction */
	unsigned first_looks; /* mender_ask's first answer since then */
	/* in turns the vCPU thread's and the VMM thread's, as missed_state says */
	struct vcpu_access missed[VCPU_MISSED_MAX];
	unsigned missed_count;

	/* shared */
	_Atomic int missed_state; /* enum vcpu_missed */
	struct vcpu_metrics metrics;
	struct metric_source metric_source;
	/* shared, under vm->lock */
	bool is_parked;
	bool is_held;	  /* by a debugger, whatever vm->want is */
	bool has_stopped; /* with KVM_EXIT_DEBUG, of which `stop` tells; the debugger clears it */
	struct kvm_debug_exit_arch stop;
};

/* Creates the vCPU in KVM. vcpu_destroy takes a zeroed one, too; its thread must have ended. */
MUST_CHECK int vcpu_init(struct vcpu *vcpu, struct vm *vm, unsigned index, struct error *err);
void vcpu_destroy(struct vcpu *vcpu);

/* Starts the thread, which parks at once. */
MUST_CHECK int vcpu_start(struct vcpu *vcpu, struct error *err);

/*
 * Makes KVM_RUN return soon, also if it is entered only after this call. With vm->lock held.
 * Needs vcpu_kick_setup to have run in this process.
 */
void vcpu_kick(struct vcpu *vcpu);

/* Logs an access to no memory and no device, as seldom as what guests cause. Any thread. */
void vcpu_warn_invalid(const struct vcpu_access *access);

/* Installs the handler of the kick signal (SIGRTMIN), which does nothing but interrupt KVM_RUN. */
MUST_CHECK int vcpu_kick_setup(struct error *err);

#endif

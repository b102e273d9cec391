/* SPDX-License-Identifier: Apache-2.0 */
/* How able this host's KVM is: found out by a tiny guest, which each architecture has. */
#ifndef TOOLS_KVM_PROBE_H
#define TOOLS_KVM_PROBE_H

#include <linux/kvm.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

enum probe_progress {
	PROBE_FAILED,  /* an exit that the guest does not ask for */
	PROBE_INTEGER, /* simple instructions work; run on */
	PROBE_ALL,     /* those that Linux needs work too */
};

/*
 * Runs the guest on /dev/kvm, for three seconds at most. *err has the reason of all but PROBE_ALL.
 * It takes the process's SIGALRM; on the main thread, before there are others.
 */
enum probe_progress kvm_probe(struct error *err);

/* --- What an architecture has for it --- */

/* The guest's RAM, all of it. */
extern const struct gmem_range probe_ram;

/* Writes code and tables to the RAM. */
MUST_CHECK int probe_load(struct gmem *mem, struct error *err);

/* Sets a fresh vCPU to the code's first instruction. */
MUST_CHECK int probe_set_registers(int vm, int vcpu, struct error *err);

/* How far the guest has come, by the exit in *run. */
enum probe_progress probe_progress(const struct kvm_run *run);

#endif

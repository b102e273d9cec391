/* SPDX-License-Identifier: Apache-2.0 */
/* The third "architecture": as little machine as the generic code accepts, with failures on demand.
 */
#ifndef TESTS_FAKE_ARCH_FAKE_H
#define TESTS_FAKE_ARCH_FAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "arch/pci.h"

struct debug_plan;

enum {
	ARCH_FAKE_VIRTIO_SLOTS = 8
};

/*
 * The arch function with this name (e.g. "arch_vm_init") fails from now on; NULL: none. After
 * "debug_trap" a debugger finds that breakpoint instructions stop no guest.
 */
void arch_fake_fail(const char *function);

/*
 * What "KVM" keeps of vCPU `index` (ARCH_VCPUS_MAX: of the VM): arch_*_save reads it, arch_*_load
 * sets it. 0 at first.
 */
uint64_t *arch_fake_number(unsigned index);

/* What arch_shows_registers answers. */
extern bool arch_fake_shows_registers;

/* A kernel was loaded. */
extern _Atomic bool arch_fake_has_loaded;

/* What arch_address_bits answers: 48 at first. */
extern unsigned arch_fake_address_bits;

/* Where messages become the pin that their data is; a count of 0, as at first: there is none. */
extern struct arch_msi_frame arch_fake_frame;

/* How many arch_vm_init and arch_vcpu_init objects are alive: 0 when nothing leaked. */
int arch_fake_alive(void);

/* What a vCPU was last told to stop at, and how many exceptions were handed to the guest. */
const struct debug_plan *arch_fake_plan(unsigned index);
unsigned arch_fake_injected(void);

/* How many vCPUs have their interrupts blocked for a step. */
unsigned arch_fake_blocked(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stolen time [arm-den0057]: KVM counts in guest memory how long a vCPU waited for a CPU of the
 * host. Linux's accounting subtracts that.
 */
#ifndef ARCH_AARCH64_PVTIME_H
#define ARCH_AARCH64_PVTIME_H

#include <stdint.h>

#include "layout.h"

/* The address of vCPU `index` of `count`. */
uint64_t pvtime_place(unsigned count, unsigned index);

/*
 * Makes KVM count at `place` for the vCPU, once, before it runs; 0: does nothing. Where that is not
 * possible the guest goes without: that is logged if there was an address that KVM refused.
 */
void pvtime_init(struct arch_vcpu *vcpu, uint64_t place);

#endif

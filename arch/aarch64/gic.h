/* SPDX-License-Identifier: Apache-2.0 */
/* The in-kernel interrupt controller: GICv3, or GICv2 where the host has nothing newer. */
#ifndef ARCH_AARCH64_GIC_H
#define ARCH_AARCH64_GIC_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

#include "layout.h"

/*
 * Creates and initialises the GIC of a VM that has all its `vcpu_count` vCPUs: a redistributor
 * exists per vCPU. Only after this does KVM accept an irqfd. With has_its it takes messages, which
 * a GICv2 can't: ERR_NOT_SUPPORTED. *gic is GIC_NONE on failure.
 */
MUST_CHECK int gic_init(struct gic *gic, int vm, unsigned vcpu_count, bool has_its,
			struct error *err);

/* The part of attributes of the GIC's device that says of which vCPU they are. */
uint64_t gic_cpu_attr(const struct arch_vm *vm, unsigned index);

/* Closes the descriptors; the GIC itself lives as long as the VM. A zeroed object is fine. */
void gic_destroy(struct gic *gic);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The in-kernel interrupt controller: GICv3, or GICv2 where the host has nothing newer. */
#ifndef ARCH_AARCH64_GIC_H
#define ARCH_AARCH64_GIC_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

#include "layout.h"

/*
 * Creates and initialises the GIC of a VM that has all its `vcpu_count` vCPUs: a redistributor
 * exists per vCPU. Only after this does KVM accept an irqfd. With takes_messages a GICv3 has an
 * ITS, and a GICv2 a frame, which the caller serves. *gic is GIC_NONE on failure.
 */
MUST_CHECK int gic_init(struct gic *gic, int vm, unsigned vcpu_count, bool takes_messages,
			struct error *err);

/* The part of attributes of the GIC's device that says of which vCPU they are. */
uint64_t gic_cpu_attr(const struct arch_vm *vm, unsigned index);

/* Closes the descriptors; the GIC itself lives as long as the VM. A zeroed object is fine. */
void gic_destroy(struct gic *gic);

#endif

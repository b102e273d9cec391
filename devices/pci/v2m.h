/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of a GICv2m: the address that messages go to, and the interrupts that they become, for
 * guests to find [gic-v2m 5]. Messages of our functions don't come by way of it: KVM is told of
 * their interrupts. What a vCPU writes to it has no effect.
 */
#ifndef DEVICES_PCI_V2M_H
#define DEVICES_PCI_V2M_H

#include <stdint.h>

#include "devices/device.h"

/* Immutable while vCPUs run: there is nothing to save. */
struct v2m_frame {
	uint32_t first; /* interrupt, as the GIC counts them */
	uint32_t count;
};

extern const struct bus_ops v2m_bus_ops;

#endif

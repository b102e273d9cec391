/* SPDX-License-Identifier: Apache-2.0 */
/* Where devices have memory of their own in the guest. */
#ifndef ARCH_DEVICE_MEMORY_H
#define ARCH_DEVICE_MEMORY_H

#include "vmm/base/gmem.h"

/* Beside the RAM: guest ABI, and what Firecracker has there [compat]. RAM may reach into it. */
extern const struct gmem_range arch_device_memory;

#endif

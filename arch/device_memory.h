/* SPDX-License-Identifier: Apache-2.0 */
/* Where devices have memory of their own in the guest, and where memory is plugged in. */
#ifndef ARCH_DEVICE_MEMORY_H
#define ARCH_DEVICE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/bytes.h"
#include "vmm/base/gmem.h"

/* Beside the RAM: guest ABI, and what Firecracker has there [compat]. RAM may reach into it. */
extern const struct gmem_range arch_device_memory;

/* How wide the physical addresses are that a guest of this host can have, in bits; of /dev/kvm. */
unsigned arch_address_bits(int kvm);

/*
 * The first place in it for `len` bytes on a border of `align` (a power of two), above all RAM.
 * False if there is no room.
 */
static inline bool device_memory_place(const struct gmem_range *ram, size_t count, uint64_t len,
				       uint64_t align, struct gmem_range *range)
{
	const struct gmem_range *last = &ram[count - 1];
	uint64_t begin = max_u64(arch_device_memory.base.v, last->base.v + last->len);
	uint64_t base = align_up(begin, align);
	uint64_t end = arch_device_memory.base.v + arch_device_memory.len;

	*range = (struct gmem_range){GPA(base), len};
	return base <= end && len <= end - base;
}

/*
 * A guest that reads a memory slot as device registers finds what this process has just written to
 * it, and KVM has slots that the guest can only read.
 */
bool arch_shows_registers(int vm_fd);

#endif

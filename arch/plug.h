/* SPDX-License-Identifier: Apache-2.0 */
/* What an architecture answers about memory that is plugged in: beside arch.h. */
#ifndef ARCH_PLUG_H
#define ARCH_PLUG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/gmem.h"

/*
 * Where memory that is plugged in later has its place: `len` bytes on a border of `align` (a power
 * of two), above all RAM and above what PCI functions map. False if there is no room.
 */
bool arch_plug_range(const struct gmem_range *ram, size_t count, uint64_t len, uint64_t align,
		     struct gmem_range *range);

#endif

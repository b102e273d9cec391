/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration keeps of memory that is plugged in. */
#ifndef VMM_RESOURCES_MEMORY_H
#define VMM_RESOURCES_MEMORY_H

#include <stdbool.h>

#include "devices/virtio/mem/mem.h"
#include "vmm/machine/machine.h"

struct memory_hotplug {
	bool is_there;
	struct mem_config config;
	struct mem *device; /* the machine's; NULL: not attached */
};

/* The address space that the device needs. VMM thread. */
struct machine_plug memory_plug(const struct memory_hotplug *memory);

#endif

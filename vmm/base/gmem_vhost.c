/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory for the host's kernel. */
#include "vmm/base/gmem_vhost.h"

#include <linux/vhost.h>
#include <stddef.h>
#include <sys/ioctl.h>

int gmem_vhost_tell(const struct gmem *mem, int vhost, struct error *err)
{
	struct table {
		uint32_t nregions;
		uint32_t padding;
		struct vhost_memory_region regions[GMEM_REGIONS_MAX];
	} table = {.nregions = (uint32_t)gmem_region_count(mem)};

	_Static_assert(offsetof(struct table, regions) == offsetof(struct vhost_memory, regions),
		       "a struct vhost_memory with its regions");
	for (size_t i = 0; i < table.nregions; i++) {
		const struct gmem_slot slot = gmem_slot(mem, i);

		table.regions[i] = (struct vhost_memory_region){.guest_phys_addr = slot.base.v,
								.memory_size = slot.len,
								.userspace_addr = slot.hva};
	}
	return ioctl(vhost, VHOST_SET_MEM_TABLE, &table) < 0
		       ? error_sys(err, "The kernel's vhost refuses the guest's memory")
		       : 0;
}

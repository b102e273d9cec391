/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory for the host's kernel, where that serves queues (vhost). */
#ifndef VMM_BASE_GMEM_VHOST_H
#define VMM_BASE_GMEM_VHOST_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

/*
 * Has an open vhost device, whose owner is this process, know where the guest's memory lies
 * [linux/vhost.h VHOST_SET_MEM_TABLE]: all of its regions, also what is not plugged, which has no
 * permissions for the kernel either. Files of pmem devices are not among them. The memory outlives
 * the device. ERR_HOST.
 */
MUST_CHECK int gmem_vhost_tell(const struct gmem *mem, int vhost, struct error *err);

#endif

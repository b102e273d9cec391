/* SPDX-License-Identifier: Apache-2.0 */
/* The pmem devices of a configuration, for other resources. VMM thread. */
#ifndef VMM_RESOURCES_PMEM_H
#define VMM_RESOURCES_PMEM_H

#include <stdbool.h>
#include <stddef.h>

#include "devices/virtio/pmem/pmem.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct gmem;
struct machine_state;

/* One device. Its file is opened when the machine is made [compat], and is guest memory's. */
struct pmem_device {
	struct pmem_config config;
	unsigned index;	   /* of the file (gmem_pmem_add) */
	struct pmem *pmem; /* the machine's; NULL: not attached */
	bool is_file_held; /* as of a drive */
};

struct pmem_devices {
	struct pmem_device *items;
	size_t count;
};

/* One of them is the root device. */
bool pmem_has_root(const struct pmem_devices *devices);

/* The first that the guest's writes reach the file of; NULL: there is none. */
const struct pmem_device *pmem_find_writable(const struct pmem_devices *devices);

/* Whether a load of this state would find the files, as long as they were. */
MUST_CHECK int pmem_check_files(const struct pmem_devices *devices,
				const struct machine_state *saved, struct error *err);

/*
 * Fails where a file of a running machine no longer has what its guest knows, which a load would
 * bring back from there.
 */
MUST_CHECK int pmem_check_saved(const struct pmem_devices *devices, const struct gmem *mem,
				struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the jail's root has beside the program: directories, devices, facts about the CPU. */
#ifndef TOOLS_JAILER_POPULATE_H
#define TOOLS_JAILER_POPULATE_H

#include <stdbool.h>

#include "tools/jailer/beneath.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* The minor number of a misc device in /proc/misc (`table`, or a test's); false: not there. */
bool populate_find_misc(const char *table, const char *name, unsigned *minor);

/* Makes /dev, /dev/net and /run with their devices, all the owner's. `uffd_minor`: -1 for none. */
MUST_CHECK int populate_dirs(const struct beneath_dir *root, struct beneath_owner owner,
			     int uffd_minor, struct error *err);

/*
 * aarch64: copies what the monitor reads of the host's first CPU. `cpu` is
 * /sys/devices/system/cpu/cpu0, or a test's. Elsewhere there is no midr_el1, and nothing to do.
 */
MUST_CHECK int populate_cpu(const char *cpu, const struct beneath_dir *root,
			    struct beneath_owner owner, struct error *err);

#endif

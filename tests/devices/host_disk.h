/* SPDX-License-Identifier: Apache-2.0 */
/* The host's disks that fail: a file system that is full, a device with bad sectors. */
#ifndef TESTS_DEVICES_HOST_DISK_H
#define TESTS_DEVICES_HOST_DISK_H

#include <stdbool.h>

#include "tests/devices/machine.h"

/* This process and its children get mounts of their own. */
bool host_mounts_isolate(struct squib *squib);

/* A tmpfs of that size on a new directory of squib's. */
bool host_mount(struct squib *squib, const char *name, unsigned kib);
/* Also of one that is not there. Nobody may use it any more. */
void host_unmount(const struct squib *squib, const char *name);

/* Writes the file until its file system is full. */
bool host_fill(struct squib *squib, const char *name);

/* Sectors that a device has, and which of them are bad, in KiB. */
struct bad_range {
	unsigned kib;
	unsigned bad_from;
	unsigned bad_kib;  /* 0: none */
	unsigned delay_ms; /* of each request to the others */
};

/* A block device of the device mapper, on a loop device on a file. */
struct host_dm {
	int loop;
	unsigned minor; /* /dev/dm-<minor> */
	char name[64];
	bool is_made;
};

/* The file is one of squib's directory. `dm` is to be destroyed whatever is returned. */
bool host_dm_init(struct squib *squib, struct host_dm *dm, const char *file,
		  const struct bad_range *range);
/* Other sectors are bad from now on; the kernel forgets nothing that it has read. */
bool host_dm_change(struct squib *squib, const struct host_dm *dm, const struct bad_range *range);
/* Requests wait in the kernel, or go on. */
bool host_dm_hold(struct squib *squib, const struct host_dm *dm, bool hold);
/* Nobody may use it any more. */
void host_dm_destroy(struct host_dm *dm);
/* Stops squib, whose requests go on where they are held, and destroys the devices. */
bool host_dms_end(struct squib *squib, struct host_dm *dms, unsigned count);

#endif

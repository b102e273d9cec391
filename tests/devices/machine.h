/* SPDX-License-Identifier: Apache-2.0 */
/* A guest under test: what it is, where it meets its test, and what its host does. */
#ifndef TESTS_DEVICES_MACHINE_H
#define TESTS_DEVICES_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/lib/squib.h"

/* One test of devices. */
struct device_test {
	const char *name;
	bool (*run)(struct squib *squib);
	unsigned timeout_s;
};

extern const struct device_test disk_tests[];
extern const struct device_test network_tests[];
extern const struct device_test passt_tests[];
extern const struct device_test kernel_net_tests[];
extern const struct device_test metadata_tests[];
extern const struct device_test memory_tests[];
extern const struct device_test hotplug_tests[];
extern const struct device_test many_tests[];
extern const struct device_test call_tests[];
extern const struct device_test cpu_tests[];
extern const struct device_test fault_tests[];
extern const struct device_test fork_tests[];
extern const struct device_test hang_tests[];
extern const struct device_test golden_tests[];
extern const struct device_test pager_tests[];
extern const struct device_test payload_tests[];
extern const struct device_test plug_tests[];
extern const struct device_test pmem_tests[];
extern const struct device_test snapshot_tests[];
extern const struct device_test snapshot_io_tests[];
extern const struct device_test vhost_tests[];
extern const struct device_test identity_tests[]; /* each ends with an empty one */

/* What the guest is: its RAM, its CPUs, the script that it runs, further boot arguments. */
struct guest {
	unsigned vcpus;
	unsigned mem_mib;
	const char *script;
	const char *root;     /* the root disk, in squib's directory or absolute */
	const char *partuuid; /* of the root; NULL: the whole disk */
	bool is_root_writable;
	const char *payload;	 /* in place of Linux, with no root */
	const char *words;	 /* more of the kernel's command line; NULL: none */
	const char *const *args; /* further ones of squib, NULL behind them; NULL: none */
};

/* The disk to boot from, which is not to be written. */
const char *machine_root(void);
/* The same with programs that nobody here wrote (tools/dev/guest_clients). */
const char *machine_clients(void);

/* Starts squib and configures kernel, machine and root disk; devices come next, then the start. */
bool machine_configure(struct squib *squib, const struct guest *guest);

/* Waits for "ready: <name>" of the guest's scripts. */
bool machine_meet(struct squib *squib, const char *name);
/* Lets the guest go on. */
bool machine_go_on(struct squib *squib);
/* --- disks, as files of squib's directory --- */

/* Of holes only. */
bool machine_make_disk(struct squib *squib, const char *name, unsigned mib);
/* From DEVICES_DIR. */
bool machine_copy_disk(struct squib *squib, const char *from, const char *name);
/* KiB that the file takes on its file system. */
long machine_disk_kib(const struct squib *squib, const char *name);

/* Waits for a socket in squib's directory, which `whose` makes. */
bool machine_wait_socket(struct squib *squib, const char *name, const char *whose);

/* --- metrics --- */

bool machine_flush_metrics(struct squib *squib);
/* The sum over all lines of the file "metrics". */
long machine_metric(const struct squib *squib, const char *group, const char *field);

/* --- programs on the host's side, in squib's directory --- */

/* Starts "gt" with these words, or the program named first if it has a slash; its pid. */
__attribute__((format(printf, 2, 3))) pid_t machine_spawn(struct squib *squib, const char *fmt,
							  ...);
/* Waits for its end, which must be with status 0. */
bool machine_reap(struct squib *squib, pid_t pid, const char *what);
__attribute__((format(printf, 2, 3))) bool machine_run(struct squib *squib, const char *fmt, ...);

#endif

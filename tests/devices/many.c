/* SPDX-License-Identifier: Apache-2.0 */
/* As many devices as the machine has interrupts for, and a few more than it often has. */
#include <stdio.h>

#include "tests/devices/host_net.h"
#include "tests/devices/machine.h"

enum {
	INTERFACES = 2,
	/* With the root, the interfaces, balloon, vsock and entropy: 17 and 30 devices. */
	DISKS_X86_64 = 11,
	DISKS_AARCH64 = 24,
};

static bool put_disks(struct machine *machine, unsigned disks)
{
	for (unsigned i = 1; i <= disks; i++) {
		char name[32];
		char path[64];

		snprintf(name, sizeof(name), "disk%u", i);
		snprintf(path, sizeof(path), "/drives/%s", name);
		if (!machine_make_disk(machine, name, 2) ||
		    !machine_run(machine, "pattern write %s 0 64 %u", name, 40 + i) ||
		    !machine_api(machine, 204, "PUT", path,
				 "{\"drive_id\": \"%s\", \"is_root_device\": false, "
				 "\"path_on_host\": \"%s\", \"io_engine\": \"%s\"}",
				 name, name, i % 2 == 0 ? "Async" : "Sync")) {
			return false;
		}
	}
	return true;
}

static bool put_others(struct machine *machine)
{
	for (unsigned i = 0; i < INTERFACES; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/network-interfaces/eth%u", i);
		if (!machine_api(machine, 204, "PUT", path,
				 "{\"iface_id\": \"eth%u\", \"host_dev_name\": \"many%u\"}", i,
				 i)) {
			return false;
		}
	}
	return machine_api(machine, 204, "PUT", "/vsock",
			   "{\"guest_cid\": 3, \"uds_path\": \"v.sock\"}") &&
	       machine_api(machine, 204, "PUT", "/entropy", "{}") &&
	       machine_api(machine, 204, "PUT", "/balloon",
			   "{\"amount_mib\": 8, \"deflate_on_oom\": true}");
}

static bool run_many(struct machine *machine)
{
	unsigned disks = is_x86() ? DISKS_X86_64 : DISKS_AARCH64;
	char script[64];
	char text[64];

	snprintf(script, sizeof(script), "/tests/many.sh %u %u", disks + 1, INTERFACES);
	snprintf(text, sizeof(text), "ok: %u disks", disks);
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 192, .script = script, .root = machine->root};

	if (!host_net_isolate(machine) || !machine_configure(machine, &guest) ||
	    !put_disks(machine, disks) || !put_others(machine) || !machine_start(machine) ||
	    !host_net_up(machine, "many0", "10.9.0.1", 1500) ||
	    !host_net_up(machine, "many1", "10.9.1.1", 1500)) {
		return false;
	}
	pid_t served = machine_spawn(machine, "serve unix:v.sock_7000 2");

	return machine_expect(machine, text, NULL) && machine_expect(machine, "many: done", NULL) &&
	       machine_reap(machine, served, "serve 7000") && machine_ends(machine);
}

const struct device_test many_tests[] = {
	{"many: 17 devices on x86_64, 30 on aarch64", run_many, 300},
	{NULL, NULL, 0},
};

/* SPDX-License-Identifier: Apache-2.0 */
/* As many devices as the machine has places for, and a few more than it often has. */
#include <stdio.h>

#include "tests/devices/host_net.h"
#include "tests/devices/machine.h"

enum {
	INTERFACES = 2,
	/* With the root, the interfaces, balloon, vsock and entropy: 17 and 30 devices. */
	DISKS_X86_64 = 11,
	DISKS_AARCH64 = 24,
	DISKS_PCI = 25, /* 31 devices: the bus is full */
};

static bool put_disks(struct squib *squib, unsigned disks)
{
	for (unsigned i = 1; i <= disks; i++) {
		char name[32];
		char path[64];

		snprintf(name, sizeof(name), "disk%u", i);
		snprintf(path, sizeof(path), "/drives/%s", name);
		if (!machine_make_disk(squib, name, 2) ||
		    !machine_run(squib, "pattern write %s 0 64 %u", name, 40 + i) ||
		    !squib_put(squib, path,
			       "{\"drive_id\": \"%s\", \"is_root_device\": false, "
			       "\"path_on_host\": \"%s\", \"io_engine\": \"%s\"}",
			       name, name, i % 2 == 0 ? "Async" : "Sync")) {
			return false;
		}
	}
	return true;
}

static bool put_others(struct squib *squib)
{
	for (unsigned i = 0; i < INTERFACES; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/network-interfaces/eth%u", i);
		if (!squib_put(squib, path,
			       "{\"iface_id\": \"eth%u\", \"host_dev_name\": \"many%u\"}", i, i)) {
			return false;
		}
	}
	return squib_put(squib, "/vsock", "{\"guest_cid\": 3, \"uds_path\": \"v.sock\"}") &&
	       squib_put(squib, "/entropy", "{}") &&
	       squib_put(squib, "/balloon", "{\"amount_mib\": 8, \"deflate_on_oom\": true}");
}

static bool run_many(struct squib *squib)
{
	unsigned on_mmio = is_x86() ? DISKS_X86_64 : DISKS_AARCH64;
	unsigned disks = squib->flag != NULL ? DISKS_PCI : on_mmio;
	char script[64];
	char text[64];

	snprintf(script, sizeof(script), "/tests/many.sh %u %u", disks + 1, INTERFACES);
	snprintf(text, sizeof(text), "ok: %u disks", disks);
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 192, .script = script, .root = machine_root()};

	if (!host_net_isolate(squib) || !machine_configure(squib, &guest) ||
	    !put_disks(squib, disks) || !put_others(squib) || !squib_api_start(squib, 204) ||
	    !host_net_up(squib, "many0", "10.9.0.1", 1500) ||
	    !host_net_up(squib, "many1", "10.9.1.1", 1500)) {
		return false;
	}
	pid_t served = machine_spawn(squib, "serve unix:v.sock_7000 2");

	return squib_expect(squib, text, NULL) && squib_expect(squib, "many: done", NULL) &&
	       machine_reap(squib, served, "serve 7000") && squib_ends(squib, 0);
}

const struct device_test many_tests[] = {
	{"many: 17 devices on x86_64, 30 on aarch64; 31 on PCI", run_many, 300},
	{NULL, NULL, 0},
};

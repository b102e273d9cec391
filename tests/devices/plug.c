/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that are plugged into a PCI bus and unplugged while Linux runs. */
#include <stdio.h>
#include <string.h>

#include "tests/devices/host_net.h"
#include "tests/devices/machine.h"
#include "tests/devices/saved.h"

static bool plug(struct squib *squib, const char *name, const char *engine)
{
	char path[64];

	snprintf(path, sizeof(path), "/drives/%s", name);
	return squib_put(squib, path,
			 "{\"drive_id\": \"%s\", \"is_root_device\": false, \"path_on_host\": "
			 "\"%s\", \"io_engine\": \"%s\"}",
			 name, name, engine);
}

static bool unplug(struct squib *squib, const char *path)
{
	return squib_api(squib, 204, "DELETE", path, "%s", "");
}

static bool try_file_system(struct squib *squib)
{
	for (unsigned round = 1; round <= 2; round++) {
		char name[64];

		snprintf(name, sizeof(name), "file system %u", round);
		if (!machine_meet(squib, name) ||
		    !plug(squib, "fs", round == 1 ? "Sync" : "Async") || !machine_go_on(squib)) {
			return false;
		}
		snprintf(name, sizeof(name), "file system %u removed", round);
		if (!machine_meet(squib, name) || !unplug(squib, "/drives/fs") ||
		    !machine_go_on(squib)) {
			return false;
		}
	}
	return squib_expect(squib, "ok: plugged and unplugged", NULL);
}

static bool try_load(struct squib *squib)
{
	return machine_meet(squib, "a disk") && plug(squib, "one", "Sync") &&
	       machine_go_on(squib) && machine_meet(squib, "another one") &&
	       plug(squib, "two", "Async") && machine_go_on(squib) &&
	       machine_meet(squib, "the first removed") && unplug(squib, "/drives/one") &&
	       machine_go_on(squib) && machine_meet(squib, "to be saved") &&
	       saved_renew(squib, "Full", false) && machine_go_on(squib) &&
	       squib_expect(squib, "ok: loaded", NULL);
}

static bool try_interface(struct squib *squib)
{
	return machine_meet(squib, "an interface") &&
	       squib_put(squib, "/network-interfaces/eth0",
			 "{\"iface_id\": \"eth0\", \"host_dev_name\": \"plug0\"}") &&
	       host_net_up(squib, "plug0", "10.1.0.1", 1500) && machine_go_on(squib) &&
	       machine_meet(squib, "the interface removed") &&
	       unplug(squib, "/network-interfaces/eth0") && machine_go_on(squib) &&
	       squib_expect(squib, "ok: an interface", NULL);
}

/* A guest that is to give it back may not do so while it is busy, or may: it is not asked. */
static bool try_under_load(struct squib *squib)
{
	return machine_meet(squib, "to be unplugged under load") &&
	       squib_api(squib, 204, "DELETE", "/drives/two", "%s", "{\"force\": true}") &&
	       machine_go_on(squib) && squib_expect(squib, "ok: dead", NULL) &&
	       squib_expect(squib, "plug: done", NULL);
}

static bool run(struct squib *squib, const char *script, unsigned ports)
{
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 192, .script = script, .root = machine_root()};

	squib->flag = "--enable-pci";
	return host_net_isolate(squib) && machine_configure(squib, &guest) &&
	       squib_patch(squib, "/machine-config", "{\"pci_hotplug_ports\": %u}", ports) &&
	       machine_copy_disk(squib, "rootfs.ext4", "fs") &&
	       machine_make_disk(squib, "one", 16) && machine_make_disk(squib, "two", 16) &&
	       squib_api_start(squib, 204) && try_file_system(squib) && try_load(squib) &&
	       try_interface(squib) && try_under_load(squib);
}

static bool run_rescan(struct squib *squib)
{
	return run(squib, "/tests/plug.sh rescan", 0);
}

static bool run_ports(struct squib *squib)
{
	return run(squib, "/tests/plug.sh ports", 4);
}

const struct device_test plug_tests[] = {
	{"plug: disks and an interface come and go, the guest looks at its bus", run_rescan, 300},
	{"plug: the same behind hot-plug ports, the guest notices", run_ports, 300},
	{NULL, NULL, 0},
};

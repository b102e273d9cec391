/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that are plugged into a PCI bus and unplugged while Linux runs. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/devices/host_disk.h"
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

/* --- disks that hang --- */

static const struct bad_range whole = {.kib = 8192, .bad_from = 8192};

enum {
	SETTLE_US = 200000
};

/* A DELETE, which another thread waits for. */
struct deletion {
	struct squib *squib;
	const char *path;
	atomic_bool is_done;
	bool is_ok;
};

static void *delete (void *arg)
{
	struct deletion *deletion = arg;

	deletion->is_ok = unplug(deletion->squib, deletion->path);
	atomic_store(&deletion->is_done, true);
	return NULL;
}

/* The guest's line is read by the thread that would wait for the disk. */
static bool works_meanwhile(struct squib *squib, const struct deletion *deletion, const char *name)
{
	return machine_go_on(squib) && machine_meet(squib, name) &&
	       (!atomic_load(&deletion->is_done) ||
		squib_fail(squib, "DELETE %s is answered while the disk hangs", deletion->path));
}

static bool unplug_hanging(struct squib *squib, const char *path, const struct host_dm *dm,
			   const char *name)
{
	struct deletion deletion = {.squib = squib, .path = path};
	char request[128];
	pthread_t thread;

	if (pthread_create(&thread, NULL, delete, &deletion) != 0) {
		return squib_fail(squib, "no thread");
	}
	snprintf(request, sizeof(request), "received a Delete request on \"%s\"", path);
	bool ok = squib_expect(squib, request, NULL);

	usleep(SETTLE_US); /* in which it comes to where it waits */
	ok = ok && works_meanwhile(squib, &deletion, name);

	ok = host_dm_hold(squib, dm, false) && ok;
	pthread_join(thread, NULL);
	return ok && deletion.is_ok;
}

static bool put_slow(struct squib *squib, const char *id, const struct host_dm *dm)
{
	char path[64];

	snprintf(path, sizeof(path), "/drives/%s", id);
	return squib_put(squib, path,
			 "{\"drive_id\": \"%s\", \"is_root_device\": false, \"path_on_host\": "
			 "\"/dev/dm-%u\", \"cache_type\": \"Writeback\"}",
			 id, dm->minor);
}

static bool try_hangs(struct squib *squib, struct host_dm dms[2])
{
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = 128,
				    .script = "/tests/plug.sh hangs",
				    .root = machine_root()};

	squib->flag = "--enable-pci";
	return machine_make_disk(squib, "hang0", 8) && machine_make_disk(squib, "hang1", 8) &&
	       host_dm_init(squib, &dms[0], "hang0", &whole) &&
	       host_dm_init(squib, &dms[1], "hang1", &whole) && machine_configure(squib, &guest) &&
	       put_slow(squib, "reads", &dms[0]) && put_slow(squib, "writes", &dms[1]) &&
	       squib_api_start(squib, 204) && machine_meet(squib, "to hang") &&
	       host_dm_hold(squib, &dms[0], true) && host_dm_hold(squib, &dms[1], true) &&
	       machine_go_on(squib) && machine_meet(squib, "a read in flight") &&
	       unplug_hanging(squib, "/drives/reads", &dms[0], "typed while it hangs") &&
	       machine_go_on(squib) && machine_meet(squib, "a write in the cache") &&
	       unplug_hanging(squib, "/drives/writes", &dms[1], "typed while that hangs") &&
	       machine_go_on(squib) && squib_expect(squib, "plug: done", NULL);
}

static bool run_hangs(struct squib *squib)
{
	struct host_dm dms[2] = {{.loop = -1}, {.loop = -1}};
	bool ok = try_hangs(squib, dms);

	return host_dms_end(squib, dms, 2) && ok;
}

const struct device_test plug_tests[] = {
	{"plug: disks and an interface come and go, the guest looks at its bus", run_rescan, 300},
	{"plug: the same behind hot-plug ports, the guest notices", run_ports, 300},
	{"plug: disks that hang are unplugged once they answer, and hold up nothing", run_hangs,
	 300},
	{NULL, NULL, 0},
};

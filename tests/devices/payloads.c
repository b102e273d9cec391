/* SPDX-License-Identifier: Apache-2.0 */
/* Payload guests that mean no good, with every device (tests/guest/virtio_*.c). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/devices/host_disk.h"
#include "tests/devices/host_net.h"
#include "tests/devices/machine.h"

enum {
	DISK_LEN = 64 << 10,
	OWN_MAX_KIB = 4096, /* of the monitor, guest memory apart */
	LOG_MAX = 256 << 10,
	HELD_MS = 500,
};

/* As tests/guest/virtio.h has it. */
#define DISK_MARK UINT64_C(0x7371756200000000)

static bool make_marked_disk(struct machine *machine)
{
	static uint64_t words[DISK_LEN / 8];
	char path[PATH_LEN];

	for (uint64_t i = 0; i < DISK_LEN / 8; i++) {
		words[i] = DISK_MARK + i * 8;
	}
	machine_path(machine, "disk", path);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && write(fd, words, sizeof(words)) == sizeof(words);

	if (fd >= 0) {
		close(fd);
	}
	return ok || machine_fail(machine, "cannot make the disk");
}

static bool start(struct machine *machine, const char *payload, const char *disk,
		  const char *engine)
{
	const struct guest guest = {.vcpus = 2, .mem_mib = 128, .payload = payload};

	return host_net_isolate(machine) && machine_configure(machine, &guest) &&
	       machine_api(machine, 204, "PUT", "/balloon",
			   "{\"amount_mib\": 0, \"deflate_on_oom\": true, "
			   "\"stats_polling_interval_s\": 1, \"free_page_reporting\": true, "
			   "\"free_page_hinting\": true}") &&
	       machine_api(machine, 204, "PUT", "/drives/disk",
			   "{\"drive_id\": \"disk\", \"is_root_device\": false, "
			   "\"is_read_only\": true, \"path_on_host\": \"%s\", \"io_engine\": "
			   "\"%s\"}",
			   disk, engine) &&
	       machine_api(machine, 204, "PUT", "/network-interfaces/eth0",
			   "{\"iface_id\": \"eth0\", \"host_dev_name\": \"bad0\"}") &&
	       machine_api(machine, 204, "PUT", "/vsock",
			   "{\"guest_cid\": 3, \"uds_path\": \"v.sock\"}") &&
	       machine_api(machine, 204, "PUT", "/entropy", "{}") && machine_start(machine);
}

/* What the monitor itself needs, and says, is bounded. */
static bool is_small(struct machine *machine)
{
	long own_kib = proc_own_kib(machine->squib.pid, 64);
	char path[PATH_LEN];
	struct stat st = {0};

	machine_path(machine, "log", path);
	if (own_kib > OWN_MAX_KIB || stat(path, &st) < 0 || st.st_size > LOG_MAX) {
		return machine_fail(machine, "the monitor has %ld KiB resident, its log %lld bytes",
				    own_kib, (long long)st.st_size);
	}
	return true;
}

static bool run_payload(struct machine *machine, const char *name, const char *engine)
{
	char ok[64];

	snprintf(ok, sizeof(ok), "%s: ok", name);
	return make_marked_disk(machine) && start(machine, name, "disk", engine) &&
	       machine_expect(machine, "balloon: bears it", NULL) && is_small(machine) &&
	       machine_expect(machine, "vsock: bears it", NULL) && is_small(machine) &&
	       machine_expect(machine, ok, NULL) && machine_ends(machine);
}

static bool run_registers(struct machine *machine)
{
	return run_payload(machine, "virtio_registers", "Sync");
}

static bool run_rings(struct machine *machine)
{
	return run_payload(machine, "virtio_rings", "Sync");
}

static bool run_rings_async(struct machine *machine)
{
	return run_payload(machine, "virtio_rings", "Async");
}

static bool run_race(struct machine *machine)
{
	return run_payload(machine, "virtio_race", "Async");
}

/* The guest's reset waits; others are served. */
static bool is_held(struct machine *machine)
{
	sleep_ms(HELD_MS);
	char *console = machine_console(machine);
	bool is_over = console == NULL || strstr(console, "was reset") != NULL;

	free(console);
	return (!is_over || machine_fail(machine, "the reset did not wait")) &&
	       machine_api(machine, 200, "GET", "/", NULL);
}

static bool try_hang(struct machine *machine, struct host_dm *dm)
{
	const struct bad_range none = {.kib = DISK_LEN >> 10};
	char path[64];

	if (!make_marked_disk(machine) || !host_dm_init(machine, dm, "disk", &none)) {
		return false;
	}
	snprintf(path, sizeof(path), "/dev/dm-%u", dm->minor);
	return host_dm_hold(machine, dm, true) && start(machine, "virtio_hang", path, "Async") &&
	       machine_expect(machine, "virtio_hang: resets", NULL) && is_held(machine) &&
	       host_dm_hold(machine, dm, false) &&
	       machine_expect(machine, "virtio_hang: ok", NULL) && machine_ends(machine);
}

static bool run_hang(struct machine *machine)
{
	struct host_dm dm = {.loop = -1};
	bool ok = try_hang(machine, &dm);

	/* What is held can't be killed. */
	if (dm.is_made) {
		ok = host_dm_hold(machine, &dm, false) && ok;
	}
	machine_kill(machine);
	host_dm_destroy(&dm);
	return ok;
}

const struct device_test hang_tests[] = {
	{"hang: a reset amid a read that the host does not end", run_hang, 120},
	{NULL, NULL, 0},
};

const struct device_test payload_tests[] = {
	{"payload registers: every register, width and state", run_registers, 300},
	{"payload rings: anywhere, with anything in them, Sync", run_rings, 300},
	{"payload rings: anywhere, with anything in them, Async", run_rings_async, 300},
	{"payload race: a second vCPU changes what the device reads", run_race, 300},
	{NULL, NULL, 0},
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Payload guests that mean no good, with every device (tests/guests/payload/virtio_*.c). */
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
	HEAVY_LEN = 1 << 30, /* of a disk, with a hole behind its marks */
	ANSWERS_MIN = 3,     /* of the API while one request is under way */
};

/* As tests/guests/payload/virtio.h has it. */
#define DISK_MARK UINT64_C(0x7371756200000000)

static bool make_marked_disk(struct squib *squib)
{
	static uint64_t words[DISK_LEN / 8];
	char path[PATH_LEN];

	for (uint64_t i = 0; i < DISK_LEN / 8; i++) {
		words[i] = DISK_MARK + i * 8;
	}
	squib_path(squib, "disk", path);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && write(fd, words, sizeof(words)) == sizeof(words);

	if (fd >= 0) {
		close(fd);
	}
	return ok || squib_fail(squib, "cannot make the disk");
}

/* An engine besides those of drives: the host's kernel serves the interface. */
static const char vhost[] = "vhost";

/* With the engine Async the interface has a control queue, too. */
static bool start(struct squib *squib, const char *payload, const char *disk, const char *engine)
{
	const struct guest guest = {.vcpus = 2, .mem_mib = 128, .payload = payload};

	return host_net_isolate(squib) && machine_configure(squib, &guest) &&
	       squib_put(squib, "/balloon",
			 "{\"amount_mib\": 0, \"deflate_on_oom\": true, "
			 "\"stats_polling_interval_s\": 1, \"free_page_reporting\": true, "
			 "\"free_page_hinting\": true}") &&
	       squib_put(squib, "/drives/disk",
			 "{\"drive_id\": \"disk\", \"is_root_device\": false, "
			 "\"is_read_only\": true, \"path_on_host\": \"%s\", \"io_engine\": "
			 "\"%s\"}",
			 disk, engine == vhost ? "Sync" : engine) &&
	       squib_put(squib, "/network-interfaces/eth0",
			 "{\"iface_id\": \"eth0\", \"host_dev_name\": \"bad0\", "
			 "\"queue_pairs\": %d, \"vhost\": %s}",
			 strcmp(engine, "Async") == 0 ? 2 : 1,
			 engine == vhost ? "true" : "false") &&
	       squib_put(squib, "/vsock", "{\"guest_cid\": 3, \"uds_path\": \"v.sock\"}") &&
	       squib_put(squib, "/entropy", "{}") && squib_api_start(squib, 204);
}

/* The bytes of the log that no request of the test caused; -1 if it can't be read. */
static long log_len(struct squib *squib)
{
	char *log = squib_text(squib, "log");
	long len = log == NULL ? -1 : 0;

	for (char *rest = log, *line = NULL; (line = strsep(&rest, "\n")) != NULL;) {
		len += strstr(line, ":fc_api]") == NULL ? (long)strlen(line) + 1 : 0;
	}
	free(log);
	return len;
}

/* What the monitor itself needs, and says of its guest, is bounded. */
static bool is_small(struct squib *squib)
{
	long own_kib = proc_own_kib(squib->pid, 64, "Rss");
	long log = log_len(squib);

	return (own_kib <= OWN_MAX_KIB && log >= 0 && log <= LOG_MAX) ||
	       squib_fail(squib,
			  "the monitor has %ld KiB resident, of which %ld are in huge pages, its "
			  "log %ld bytes",
			  own_kib, proc_own_kib(squib->pid, 64, "AnonHugePages"), log);
}

static bool run_payload(struct squib *squib, const char *name, const char *engine)
{
	char ok[64];

	snprintf(ok, sizeof(ok), "%s: ok", name);
	return make_marked_disk(squib) && start(squib, name, "disk", engine) &&
	       squib_expect(squib, "balloon: bears it", NULL) && is_small(squib) &&
	       squib_expect(squib, "vsock: bears it", NULL) && is_small(squib) &&
	       squib_expect(squib, ok, NULL) && squib_ends(squib, 0);
}

static bool run_registers(struct squib *squib)
{
	return run_payload(squib, "virtio_registers", "Sync");
}

static bool run_registers_vhost(struct squib *squib)
{
	return run_payload(squib, "virtio_registers", vhost);
}

static bool run_rings_vhost(struct squib *squib)
{
	return run_payload(squib, "virtio_rings", vhost);
}

/* Amid a queue that the kernel comes back to without end. */
static bool is_served(struct squib *squib)
{
	return squib_api(squib, 200, "GET", "/", NULL) &&
	       squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") &&
	       squib_put(squib, "/snapshot/create",
			 "{\"snapshot_path\": \"state\", \"mem_file_path\": \"memory\"}") &&
	       squib_patch(squib, "/vm", "{\"state\": \"Resumed\"}") && is_small(squib);
}

static bool has_told(struct squib *squib)
{
	char *log = squib_text(squib, "log");
	bool is_told =
		log != NULL &&
		strstr(log, "Interface eth0 can't be used until its driver resets it") != NULL;

	free(log);
	return is_told || squib_fail(squib, "the log does not name the interface");
}

static bool run_driver_vhost(struct squib *squib)
{
	return make_marked_disk(squib) && start(squib, "virtio_vhost", "disk", vhost) &&
	       host_net_up(squib, "bad0", "10.1.0.1", 1500) &&
	       squib_expect(squib, "virtio_vhost: needs resets", NULL) && has_told(squib) &&
	       squib_expect(squib, "virtio_vhost: spins", NULL) && is_served(squib) &&
	       squib_type(squib, "\n") && squib_expect(squib, "virtio_vhost: ok", NULL) &&
	       squib_ends(squib, 0);
}

static bool run_pci(struct squib *squib)
{
	squib->flag = "--enable-pci";
	return run_payload(squib, "virtio_pci", "Sync");
}

static bool run_rings(struct squib *squib)
{
	return run_payload(squib, "virtio_rings", "Sync");
}

static bool run_rings_async(struct squib *squib)
{
	return run_payload(squib, "virtio_rings", "Async");
}

static bool run_race(struct squib *squib)
{
	return run_payload(squib, "virtio_race", "Async");
}

/* Asks the API until the guest says `end`; *answers: how often it answered. */
static bool ask_until(struct squib *squib, const char *end, unsigned *answers)
{
	for (*answers = 0; !squib_says(squib, end); (*answers)++) {
		if (!squib_api(squib, 200, "GET", "/", NULL)) {
			return false;
		}
	}
	return true;
}

static bool run_heavy(struct squib *squib, const char *engine)
{
	unsigned answers = 0;
	char path[PATH_LEN];

	squib_path(squib, "disk", path);
	return make_marked_disk(squib) &&
	       (truncate(path, HEAVY_LEN) == 0 || squib_fail(squib, "cannot extend the disk")) &&
	       start(squib, "virtio_heavy", "disk", engine) &&
	       squib_expect(squib, "virtio_heavy: reads", NULL) &&
	       ask_until(squib, "has read", &answers) &&
	       (answers >= ANSWERS_MIN ||
		squib_fail(squib, "%u answers amid the request", answers)) &&
	       squib_expect(squib, "virtio_heavy: ok", NULL) && is_small(squib) &&
	       squib_ends(squib, 0);
}

static bool run_heavy_sync(struct squib *squib)
{
	return run_heavy(squib, "Sync");
}

static bool run_heavy_async(struct squib *squib)
{
	return run_heavy(squib, "Async");
}

/* The guest's reset waits; others are served. */
static bool is_held(struct squib *squib)
{
	sleep_ms(HELD_MS);
	return (!squib_says(squib, "was reset") || squib_fail(squib, "the reset did not wait")) &&
	       squib_api(squib, 200, "GET", "/", NULL);
}

static bool try_hang(struct squib *squib, struct host_dm *dm)
{
	const struct bad_range none = {.kib = DISK_LEN >> 10};
	char path[64];

	if (!make_marked_disk(squib) || !host_dm_init(squib, dm, "disk", &none)) {
		return false;
	}
	snprintf(path, sizeof(path), "/dev/dm-%u", dm->minor);
	return host_dm_hold(squib, dm, true) && start(squib, "virtio_hang", path, "Async") &&
	       squib_expect(squib, "virtio_hang: resets", NULL) && is_held(squib) &&
	       host_dm_hold(squib, dm, false) && squib_expect(squib, "virtio_hang: ok", NULL) &&
	       squib_ends(squib, 0);
}

static bool run_hang(struct squib *squib)
{
	struct host_dm dm = {.loop = -1};
	bool ok = try_hang(squib, &dm);

	/* What is held can't be killed. */
	if (dm.is_made) {
		ok = host_dm_hold(squib, &dm, false) && ok;
	}
	squib_stop(squib);
	host_dm_destroy(&dm);
	return ok;
}

const struct device_test hang_tests[] = {
	{"hang: a reset amid a read that the host does not end", run_hang, 120},
	{NULL, NULL, 0},
};

const struct device_test payload_tests[] = {
	{"payload registers: every register, width and state", run_registers, 300},
	{"payload pci: every register, width and state of each function, from two vCPUs", run_pci,
	 300},
	{"payload rings: anywhere, with anything in them, Sync", run_rings, 300},
	{"payload rings: anywhere, with anything in them, Async", run_rings_async, 300},
	{"payload registers of an interface by vhost-net", run_registers_vhost, 300},
	{"payload rings of an interface by vhost-net", run_rings_vhost, 300},
	{"payload vhost-net: chains that are none, and a frame that never ends", run_driver_vhost,
	 300},
	{"payload heavy: a read of 1 GiB and thousands of flushes, Sync", run_heavy_sync, 300},
	{"payload heavy: a read of 1 GiB and thousands of flushes, Async", run_heavy_async, 300},
	{"payload race: a second vCPU changes what the device reads", run_race, 300},
	{NULL, NULL, 0},
};

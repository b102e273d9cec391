/* SPDX-License-Identifier: Apache-2.0 */
/* One guest with every device, and the API's part: the workload of tests/seccomp. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/devices/host_disk.h"
#include "tests/devices/host_net.h"
#include "tests/devices/machine.h"
#include "tests/devices/saved.h"

enum {
	BALLOON_MIB = 16,
	INFLATE_MS = 30000,
};

static bool put_devices(struct squib *squib)
{
	return machine_make_disk(squib, "vdb", 8) && machine_make_disk(squib, "vdc", 8) &&
	       squib_put(squib, "/drives/vdb",
			 "{\"drive_id\": \"vdb\", \"is_root_device\": false, \"path_on_host\": "
			 "\"vdb\", \"cache_type\": \"Writeback\"}") &&
	       squib_put(squib, "/drives/vdc",
			 "{\"drive_id\": \"vdc\", \"is_root_device\": false, \"path_on_host\": "
			 "\"vdc\", \"cache_type\": \"Writeback\", \"io_engine\": \"Async\"}") &&
	       squib_put(squib, "/network-interfaces/eth0",
			 "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\"}") &&
	       squib_put(squib, "/vsock", "{\"guest_cid\": 3, \"uds_path\": \"v.sock\"}") &&
	       squib_put(squib, "/entropy", "{}") &&
	       squib_put(squib, "/balloon",
			 "{\"amount_mib\": 0, \"deflate_on_oom\": true, "
			 "\"stats_polling_interval_s\": 1}");
}

/* Another file for each drive, with limits; then back, without. */
static bool change_drives(struct squib *squib)
{
	static const char *const drives[] = {"vdb", "vdc"};

	if (!machine_meet(squib, "disks written") || !machine_make_disk(squib, "other", 8)) {
		return false;
	}
	for (size_t i = 0; i < 4; i++) {
		const char *drive = drives[i % 2];
		char path[64];

		snprintf(path, sizeof(path), "/drives/%s", drive);
		if (!squib_patch(
			    squib, path,
			    "{\"drive_id\": \"%s\", \"path_on_host\": \"%s\", "
			    "\"rate_limiter\": {\"ops\": {\"size\": %u, \"refill_time\": %u}}}",
			    drive, i < 2 ? "other" : drive, i < 2 ? 50 : 0, i < 2 ? 100 : 0)) {
			return false;
		}
	}
	return machine_go_on(squib);
}

static bool connect_both_ways(struct squib *squib)
{
	pid_t server = machine_spawn(squib, "serve unix:v.sock_7000 3");

	return machine_meet(squib, "serving vsock") &&
	       machine_run(squib, "send uds:v.sock:7002 64 64 3") &&
	       machine_reap(squib, server, "serve 7000") && machine_go_on(squib);
}

static bool inflate(struct squib *squib)
{
	uint64_t until = now_ms() + INFLATE_MS;

	if (!machine_meet(squib, "memory") ||
	    !squib_patch(squib, "/balloon", "{\"amount_mib\": %d}", BALLOON_MIB)) {
		return false;
	}
	do {
		if (!squib_api(squib, 200, "GET", "/balloon/statistics", "%s", "")) {
			return false;
		}
		if (squib_answer_number(squib, "actual_mib") == BALLOON_MIB) {
			return machine_go_on(squib);
		}
		sleep_ms(100);
	} while (now_ms() < until);
	return squib_fail(squib, "the balloon does not inflate");
}

/* Twice, since the second finds what the first has made. */
static bool pause_and_resume(struct squib *squib)
{
	for (int i = 0; i < 2; i++) {
		if (!squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") ||
		    !squib_patch(squib, "/vm", "{\"state\": \"Resumed\"}")) {
			return false;
		}
	}
	return true;
}

/* The memory is there when its state can't be, and is removed again. */
static bool save_in_vain(struct squib *squib)
{
	char memory[PATH_LEN];

	squib_path(squib, "made", memory);
	return squib_api(squib, 400, "PUT", "/snapshot/create",
			 "{\"snapshot_path\": \"none/state\", \"mem_file_path\": \"made\"}") &&
	       (access(memory, F_OK) < 0 || squib_fail(squib, "half a snapshot is left"));
}

/* What is loaded from one file is saved to another one: most of it goes from file to file. */
static bool save_elsewhere(struct squib *squib)
{
	return squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") && save_in_vain(squib) &&
	       squib_put(squib, "/snapshot/create",
			 "{\"snapshot_path\": \"state\", \"mem_file_path\": \"elsewhere\"}") &&
	       saved_resume(squib);
}

/* Booted and loaded, Full and Diff, tracked and not. */
static bool save_and_load(struct squib *squib)
{
	return machine_meet(squib, "to be saved") && saved_save(squib, "Full") &&
	       saved_resume(squib) && saved_renew(squib, "Diff", true) && save_elsewhere(squib) &&
	       saved_renew(squib, "Full", false) && saved_save(squib, "Diff") &&
	       saved_resume(squib) && machine_go_on(squib);
}

static bool run_calls(struct squib *squib)
{
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 128, .script = "/tests/calls.sh", .root = machine_root()};

	return host_net_isolate(squib) && machine_configure(squib, &guest) && put_devices(squib) &&
	       squib_patch(squib, "/machine-config", "{\"track_dirty_pages\": true}") &&
	       squib_api_start(squib, 204) && change_drives(squib) &&
	       machine_meet(squib, "addresses") && host_net_up(squib, "tap0", "10.1.0.1", 1500) &&
	       machine_go_on(squib) && connect_both_ways(squib) && pause_and_resume(squib) &&
	       inflate(squib) && save_and_load(squib) && squib_expect(squib, "calls: done", NULL) &&
	       squib_ends(squib, 0);
}

/* As in a jail: nothing tells which pages are in use. */
static bool hide_proc(struct squib *squib)
{
	return host_mounts_isolate(squib) &&
	       (mount("none", "/proc", "tmpfs", 0, NULL) == 0 ||
		squib_fail(squib, "/proc stays: %s", strerror(errno)));
}

static bool run_without_proc(struct squib *squib)
{
	const struct guest guest = {.vcpus = 1, .mem_mib = 128, .payload = "count"};
	bool ok = hide_proc(squib) && machine_configure(squib, &guest) &&
		  squib_api_start(squib, 204) && squib_expect(squib, "count: ", NULL) &&
		  saved_renew(squib, "Full", false) && squib_expect(squib, "count: ", NULL) &&
		  save_elsewhere(squib) && squib_expect(squib, "count: ", NULL);

	squib_stop(squib);
	umount("/proc");
	return ok;
}

const struct device_test call_tests[] = {
	{"calls: saved and loaded where there is no /proc", run_without_proc, 120},
	{"calls: a little of everything, for the filters", run_calls, 300},
	{NULL, NULL, 0},
};

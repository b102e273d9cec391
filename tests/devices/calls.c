/* SPDX-License-Identifier: Apache-2.0 */
/* One guest with every device, and the API's part: the workload of tests/seccomp. */
#include <stdio.h>

#include "tests/devices/host_net.h"
#include "tests/devices/machine.h"

enum {
	BALLOON_MIB = 16,
	INFLATE_MS = 30000,
};

static bool put_devices(struct machine *machine)
{
	return machine_make_disk(machine, "vdb", 8) && machine_make_disk(machine, "vdc", 8) &&
	       machine_api(machine, 204, "PUT", "/drives/vdb",
			   "{\"drive_id\": \"vdb\", \"is_root_device\": false, \"path_on_host\": "
			   "\"vdb\", \"cache_type\": \"Writeback\"}") &&
	       machine_api(machine, 204, "PUT", "/drives/vdc",
			   "{\"drive_id\": \"vdc\", \"is_root_device\": false, \"path_on_host\": "
			   "\"vdc\", \"cache_type\": \"Writeback\", \"io_engine\": \"Async\"}") &&
	       machine_api(machine, 204, "PUT", "/network-interfaces/eth0",
			   "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\"}") &&
	       machine_api(machine, 204, "PUT", "/vsock",
			   "{\"guest_cid\": 3, \"uds_path\": \"v.sock\"}") &&
	       machine_api(machine, 204, "PUT", "/entropy", "{}") &&
	       machine_api(machine, 204, "PUT", "/balloon",
			   "{\"amount_mib\": 0, \"deflate_on_oom\": true, "
			   "\"stats_polling_interval_s\": 1}");
}

/* Another file for each drive, with limits; then back, without. */
static bool change_drives(struct machine *machine)
{
	static const char *const drives[] = {"vdb", "vdc"};

	if (!machine_meet(machine, "disks written") || !machine_make_disk(machine, "other", 8)) {
		return false;
	}
	for (size_t i = 0; i < 4; i++) {
		const char *drive = drives[i % 2];
		char path[64];

		snprintf(path, sizeof(path), "/drives/%s", drive);
		if (!machine_api(
			    machine, 204, "PATCH", path,
			    "{\"drive_id\": \"%s\", \"path_on_host\": \"%s\", "
			    "\"rate_limiter\": {\"ops\": {\"size\": %u, \"refill_time\": %u}}}",
			    drive, i < 2 ? "other" : drive, i < 2 ? 50 : 0, i < 2 ? 100 : 0)) {
			return false;
		}
	}
	return machine_go_on(machine);
}

static bool connect_both_ways(struct machine *machine)
{
	pid_t server = machine_spawn(machine, "serve unix:v.sock_7000 3");

	return machine_meet(machine, "serving vsock") &&
	       machine_run(machine, "send uds:v.sock:7002 64 64 3") &&
	       machine_reap(machine, server, "serve 7000") && machine_go_on(machine);
}

static bool inflate(struct machine *machine)
{
	uint64_t until = now_ms() + INFLATE_MS;

	if (!machine_meet(machine, "memory") ||
	    !machine_api(machine, 204, "PATCH", "/balloon", "{\"amount_mib\": %d}", BALLOON_MIB)) {
		return false;
	}
	do {
		if (!machine_api(machine, 200, "GET", "/balloon/statistics", "%s", "")) {
			return false;
		}
		if (machine_answer_number(machine, "actual_mib") == BALLOON_MIB) {
			return machine_go_on(machine);
		}
		sleep_ms(100);
	} while (now_ms() < until);
	return machine_fail(machine, "the balloon does not inflate");
}

/* Twice, since the second finds what the first has made. */
static bool pause_and_resume(struct machine *machine)
{
	for (int i = 0; i < 2; i++) {
		if (!machine_api(machine, 204, "PATCH", "/vm", "{\"state\": \"Paused\"}") ||
		    !machine_api(machine, 204, "PATCH", "/vm", "{\"state\": \"Resumed\"}")) {
			return false;
		}
	}
	return true;
}

static bool run_calls(struct machine *machine)
{
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 128, .script = "/tests/calls.sh", .root = machine->root};

	return host_net_isolate(machine) && machine_configure(machine, &guest) &&
	       put_devices(machine) && machine_start(machine) && change_drives(machine) &&
	       machine_meet(machine, "addresses") &&
	       host_net_up(machine, "tap0", "10.1.0.1", 1500) && machine_go_on(machine) &&
	       connect_both_ways(machine) && pause_and_resume(machine) && inflate(machine) &&
	       machine_expect(machine, "calls: done", NULL) && machine_ends(machine);
}

const struct device_test call_tests[] = {
	{"calls: a little of everything, for the filters", run_calls, 300},
	{NULL, NULL, 0},
};

/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon under Linux: what the guest gives, the host gets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/devices/machine.h"

enum {
	MEM_MIB = 256,
	TARGET_MIB = 160,
	/* Of hinting: what is freed before a run, less what the guest frees in pieces too small. */
	EATEN_MIB = 128,
	HINTED_MIB = 80,
	CMD_DONE = 1, /* [virtio-1.2 §5.5.6.5]; 0 ends the guest's part */
	CMD_FIRST = 2,
};

static long resident_mib(const struct machine *machine)
{
	return proc_status_field(machine->squib.pid, "VmRSS") / 1024;
}

/* Waits until the monitor has less than that; false after 30 s. */
static bool shrinks_below(struct machine *machine, long mib, const char *why)
{
	uint64_t until = now_ms() + 30000;

	while (resident_mib(machine) >= mib) {
		if (now_ms() > until) {
			return machine_fail(machine, "%s: %ld MiB are resident, not below %ld", why,
					    resident_mib(machine), mib);
		}
		sleep_ms(100);
	}
	return true;
}

static bool actual_mib(struct machine *machine, long *mib)
{
	bool ok = machine_api(machine, 200, "GET", "/balloon/statistics", "%s", "");

	*mib = machine_answer_number(machine, "actual_mib");
	return ok;
}

/* Waits until the balloon is between these, or 30 s. */
static bool reaches(struct machine *machine, long least, long most)
{
	uint64_t until = now_ms() + 30000;
	long mib;

	while (actual_mib(machine, &mib)) {
		if (mib >= least && mib <= most) {
			return true;
		}
		if (now_ms() > until) {
			return machine_fail(machine, "the balloon has %ld MiB, not %ld to %ld", mib,
					    least, most);
		}
		sleep_ms(100);
	}
	return false;
}

static bool has_statistics(struct machine *machine)
{
	static const char *const names[] = {"free_memory", "total_memory", "available_memory",
					    "disk_caches", "minor_faults"};
	uint64_t until = now_ms() + 20000;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]);) {
		if (!machine_api(machine, 200, "GET", "/balloon/statistics", "%s", "")) {
			return false;
		}
		if (machine_answer_number(machine, names[i]) > 0) {
			i++;
		} else if (now_ms() > until) {
			return machine_fail(machine, "no %s in the statistics: %s", names[i],
					    machine->answer);
		} else {
			sleep_ms(200);
		}
	}
	long total_mib = machine_answer_number(machine, "total_memory") >> 20;

	return (total_mib > MEM_MIB / 2 && total_mib <= MEM_MIB) ||
	       machine_fail(machine, "total_memory is %ld MiB", total_mib);
}

static bool inflate(struct machine *machine, long mib)
{
	return machine_api(machine, 204, "PATCH", "/balloon", "{\"amount_mib\": %ld}", mib);
}

static bool start(struct machine *machine)
{

	const struct guest guest = {.vcpus = 1,
				    .mem_mib = MEM_MIB,
				    .script = "/tests/balloon.sh",
				    .root = machine->root};

	return machine_configure(machine, &guest) && machine_make_disk(machine, "vdb", 96) &&
	       machine_api(machine, 204, "PUT", "/drives/vdb",
			   "{\"drive_id\": \"vdb\", \"is_root_device\": false, \"path_on_host\": "
			   "\"vdb\", \"is_read_only\": true}") &&
	       machine_api(machine, 204, "PUT", "/balloon",
			   "{\"amount_mib\": 0, \"deflate_on_oom\": true, "
			   "\"stats_polling_interval_s\": 1, \"free_page_reporting\": true}") &&
	       machine_start(machine);
}

static bool run_balloon(struct machine *machine)
{
	if (!start(machine) || !machine_meet(machine, "eaten and freed")) {
		return false;
	}
	/* Reported on its own, a few seconds after it was freed. */
	if (!shrinks_below(machine, 128, "free pages are reported") || !has_statistics(machine) ||
	    !machine_go_on(machine) || !machine_meet(machine, "page cache filled")) {
		return false;
	}
	long full = resident_mib(machine);

	return inflate(machine, TARGET_MIB) && reaches(machine, TARGET_MIB, TARGET_MIB) &&
	       shrinks_below(machine, full - 50, "inflated") && machine_go_on(machine) &&
	       machine_meet(machine, "inflated") && machine_go_on(machine) &&
	       /* It gave way for the guest's need, though its target is as it was. */
	       machine_meet(machine, "eaten under pressure") &&
	       reaches(machine, 1, TARGET_MIB - 1) && inflate(machine, 0) &&
	       reaches(machine, 0, 0) && machine_go_on(machine) &&
	       machine_meet(machine, "deflated") && inflate(machine, 64) &&
	       reaches(machine, 64, 64) && machine_go_on(machine) &&
	       machine_meet(machine, "unbound and bound") && reaches(machine, 64, 64) &&
	       inflate(machine, 8) && reaches(machine, 8, 8) && machine_go_on(machine) &&
	       machine_expect(machine, "balloon: done", NULL) && machine_ends(machine);
}

/* --- hinting --- */

/* Starts the run `cmd` and waits until the guest has told of all that is free. */
static bool hint(struct machine *machine, long cmd, bool is_acknowledged)
{
	uint64_t until = now_ms() + 30000;
	long host_cmd = is_acknowledged ? CMD_DONE : cmd;

	if (!machine_api(machine, 204, "PATCH", "/balloon/hinting/start",
			 "{\"acknowledge_on_stop\": %s}", is_acknowledged ? "true" : "false")) {
		return false;
	}
	while (machine_api(machine, 200, "GET", "/balloon/hinting/status", "%s", "")) {
		if (machine_answer_number(machine, "guest_cmd") == 0 &&
		    machine_answer_number(machine, "host_cmd") == host_cmd) {
			return true;
		}
		if (now_ms() > until) {
			return machine_fail(machine, "the run does not end: %s", machine->answer);
		}
		sleep_ms(100);
	}
	return false;
}

/* One run behind a meeting, where much is free: the monitor has that much less. */
static bool run_hinting_at(struct machine *machine, const char *name, long cmd,
			   bool is_acknowledged)
{
	if (!machine_meet(machine, name)) {
		return false;
	}
	long full = resident_mib(machine);

	return (full >= EATEN_MIB || machine_fail(machine, "only %ld MiB are resident", full)) &&
	       hint(machine, cmd, is_acknowledged) &&
	       shrinks_below(machine, full - HINTED_MIB, "hinted") && machine_go_on(machine);
}

static bool run_hinting(struct machine *machine)
{
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = MEM_MIB,
				    .script = "/tests/balloon.sh hinting",
				    .root = machine->root};

	return machine_configure(machine, &guest) &&
	       machine_api(machine, 204, "PUT", "/balloon",
			   "{\"amount_mib\": 0, \"deflate_on_oom\": true, "
			   "\"free_page_hinting\": true}") &&
	       machine_start(machine) &&
	       run_hinting_at(machine, "eaten and freed", CMD_FIRST, true) &&
	       run_hinting_at(machine, "eaten again", CMD_FIRST + 1, false) &&
	       machine_meet(machine, "the run is held") &&
	       machine_api(machine, 204, "PATCH", "/balloon/hinting/stop", "{}") &&
	       machine_go_on(machine) && machine_expect(machine, "balloon: done", NULL) &&
	       machine_ends(machine);
}

const struct device_test memory_tests[] = {
	{"balloon: inflate, deflate, pressure, statistics, reporting, unbind", run_balloon, 300},
	{"balloon: hinting gives back what is free, and nothing else", run_hinting, 300},
	{NULL, NULL, 0},
};

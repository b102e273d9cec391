/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon under Linux: what the guest gives, the host gets. */
#include <stdlib.h>

#include "tests/devices/machine.h"
#include "tests/devices/saved.h"

enum {
	MEM_MIB = 256,
	TARGET_MIB = 160,
	/* Of hinting: what is freed before a run, less what the guest frees in pieces too small. */
	EATEN_MIB = 128,
	HINTED_MIB = 80,
	SAVED_MIB = 64,
	CMD_DONE = 1, /* [virtio-1.2 §5.5.6.5]; 0 ends the guest's part */
	CMD_FIRST = 2,
};

static long resident_mib(const struct squib *squib)
{
	return proc_status_field(squib->pid, "VmRSS") / 1024;
}

/* Waits until the monitor has less than that; false after 30 s. */
static bool shrinks_below(struct squib *squib, long mib, const char *why)
{
	uint64_t until = now_ms() + 30000;

	while (resident_mib(squib) >= mib) {
		if (now_ms() > until) {
			return squib_fail(squib, "%s: %ld MiB are resident, not below %ld", why,
					  resident_mib(squib), mib);
		}
		sleep_ms(100);
	}
	return true;
}

static bool actual_mib(struct squib *squib, long *mib)
{
	bool ok = squib_api(squib, 200, "GET", "/balloon/statistics", "%s", "");

	*mib = squib_answer_number(squib, "actual_mib");
	return ok;
}

/* Waits until the balloon is between these, or 30 s. */
static bool reaches(struct squib *squib, long least, long most)
{
	uint64_t until = now_ms() + 30000;
	long mib;

	while (actual_mib(squib, &mib)) {
		if (mib >= least && mib <= most) {
			return true;
		}
		if (now_ms() > until) {
			return squib_fail(squib, "the balloon has %ld MiB, not %ld to %ld", mib,
					  least, most);
		}
		sleep_ms(100);
	}
	return false;
}

static bool has_statistics(struct squib *squib)
{
	static const char *const names[] = {"free_memory", "total_memory", "available_memory",
					    "disk_caches", "minor_faults"};
	uint64_t until = now_ms() + 20000;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]);) {
		if (!squib_api(squib, 200, "GET", "/balloon/statistics", "%s", "")) {
			return false;
		}
		if (squib_answer_number(squib, names[i]) > 0) {
			i++;
		} else if (now_ms() > until) {
			return squib_fail(squib, "no %s in the statistics: %s", names[i],
					  squib->answer);
		} else {
			sleep_ms(200);
		}
	}
	long total_mib = squib_answer_number(squib, "total_memory") >> 20;

	return (total_mib > MEM_MIB / 2 && total_mib <= MEM_MIB) ||
	       squib_fail(squib, "total_memory is %ld MiB", total_mib);
}

static bool inflate(struct squib *squib, long mib)
{
	return squib_patch(squib, "/balloon", "{\"amount_mib\": %ld}", mib);
}

static bool start(struct squib *squib)
{

	const struct guest guest = {.vcpus = 1,
				    .mem_mib = MEM_MIB,
				    .script = "/tests/balloon.sh",
				    .root = machine_root()};

	return machine_configure(squib, &guest) && machine_make_disk(squib, "vdb", 96) &&
	       squib_put(squib, "/drives/vdb",
			 "{\"drive_id\": \"vdb\", \"is_root_device\": false, \"path_on_host\": "
			 "\"vdb\", \"is_read_only\": true}") &&
	       squib_put(squib, "/balloon",
			 "{\"amount_mib\": 0, \"deflate_on_oom\": true, "
			 "\"stats_polling_interval_s\": 1, \"free_page_reporting\": true}") &&
	       squib_api_start(squib, 204);
}

static bool run_balloon(struct squib *squib)
{
	if (!start(squib) || !machine_meet(squib, "eaten and freed")) {
		return false;
	}
	/* Reported on its own, a few seconds after it was freed. */
	if (!shrinks_below(squib, 128, "free pages are reported") || !has_statistics(squib) ||
	    !machine_go_on(squib) || !machine_meet(squib, "page cache filled")) {
		return false;
	}
	long full = resident_mib(squib);

	return inflate(squib, TARGET_MIB) && reaches(squib, TARGET_MIB, TARGET_MIB) &&
	       shrinks_below(squib, full - 50, "inflated") && machine_go_on(squib) &&
	       machine_meet(squib, "inflated") && machine_go_on(squib) &&
	       /* It gave way for the guest's need, though its target is as it was. */
	       machine_meet(squib, "eaten under pressure") && reaches(squib, 1, TARGET_MIB - 1) &&
	       inflate(squib, 0) && reaches(squib, 0, 0) && machine_go_on(squib) &&
	       machine_meet(squib, "deflated") && inflate(squib, 64) && reaches(squib, 64, 64) &&
	       machine_go_on(squib) && machine_meet(squib, "unbound and bound") &&
	       reaches(squib, 64, 64) && inflate(squib, 8) && reaches(squib, 8, 8) &&
	       machine_go_on(squib) && squib_expect(squib, "balloon: done", NULL) &&
	       squib_ends(squib, 0);
}

/* --- hinting --- */

/* Starts the run `cmd` and waits until the guest has told of all that is free. */
static bool hint(struct squib *squib, long cmd, bool is_acknowledged)
{
	uint64_t until = now_ms() + 30000;
	long host_cmd = is_acknowledged ? CMD_DONE : cmd;

	if (!squib_patch(squib, "/balloon/hinting/start", "{\"acknowledge_on_stop\": %s}",
			 is_acknowledged ? "true" : "false")) {
		return false;
	}
	while (squib_api(squib, 200, "GET", "/balloon/hinting/status", "%s", "")) {
		if (squib_answer_number(squib, "guest_cmd") == 0 &&
		    squib_answer_number(squib, "host_cmd") == host_cmd) {
			return true;
		}
		if (now_ms() > until) {
			return squib_fail(squib, "the run does not end: %s", squib->answer);
		}
		sleep_ms(100);
	}
	return false;
}

/* One run behind a meeting, where much is free: the monitor has that much less. */
static bool run_hinting_at(struct squib *squib, const char *name, long cmd, bool is_acknowledged)
{
	if (!machine_meet(squib, name)) {
		return false;
	}
	long full = resident_mib(squib);

	return (full >= EATEN_MIB || squib_fail(squib, "only %ld MiB are resident", full)) &&
	       hint(squib, cmd, is_acknowledged) &&
	       shrinks_below(squib, full - HINTED_MIB, "hinted") && machine_go_on(squib);
}

static bool run_hinting(struct squib *squib)
{
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = MEM_MIB,
				    .script = "/tests/balloon.sh hinting",
				    .root = machine_root()};

	return machine_configure(squib, &guest) &&
	       squib_put(squib, "/balloon",
			 "{\"amount_mib\": 0, \"deflate_on_oom\": true, "
			 "\"free_page_hinting\": true}") &&
	       squib_api_start(squib, 204) &&
	       run_hinting_at(squib, "eaten and freed", CMD_FIRST, true) &&
	       run_hinting_at(squib, "eaten again", CMD_FIRST + 1, false) &&
	       machine_meet(squib, "the run is held") &&
	       squib_patch(squib, "/balloon/hinting/stop", "{}") && machine_go_on(squib) &&
	       squib_expect(squib, "balloon: done", NULL) && squib_ends(squib, 0);
}

/* --- a machine that is saved and loaded --- */

/* Inflated, with statistics, while the guest reports and a run of hinting is under way. */
static bool save_inflated(struct squib *squib)
{
	return machine_meet(squib, "eating") && inflate(squib, SAVED_MIB) &&
	       reaches(squib, SAVED_MIB, SAVED_MIB) && has_statistics(squib) &&
	       squib_patch(squib, "/balloon/hinting/start", "{\"acknowledge_on_stop\": false}") &&
	       saved_renew(squib, "Full", true);
}

static bool run_saved(struct squib *squib)
{
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = MEM_MIB,
				    .script = "/tests/snapshot.sh balloon",
				    .root = machine_root()};

	if (!machine_configure(squib, &guest) ||
	    !squib_put(squib, "/balloon",
		       "{\"amount_mib\": 0, \"deflate_on_oom\": true, "
		       "\"stats_polling_interval_s\": 1, \"free_page_reporting\": true, "
		       "\"free_page_hinting\": true}") ||
	    !squib_api_start(squib, 204) || !save_inflated(squib) || !has_statistics(squib) ||
	    !reaches(squib, SAVED_MIB, SAVED_MIB) || !machine_go_on(squib) ||
	    !machine_meet(squib, "checked") || !saved_renew(squib, "Diff", false) ||
	    !inflate(squib, 0) || !reaches(squib, 0, 0) || !has_statistics(squib) ||
	    !hint(squib, CMD_FIRST + 1, true) || !machine_go_on(squib) ||
	    !machine_meet(squib, "eaten and freed")) {
		return false;
	}
	/* Reporting goes on by itself. */
	return shrinks_below(squib, 160, "free pages are reported") && machine_go_on(squib) &&
	       squib_expect(squib, "snapshot: done", NULL) && squib_ends(squib, 0);
}

const struct device_test memory_tests[] = {
	{"balloon: inflate, deflate, pressure, statistics, reporting, unbind", run_balloon, 300},
	{"balloon: hinting gives back what is free, and nothing else", run_hinting, 300},
	{"snapshot: balloon inflated, reporting and hinting under way", run_saved, 300},
	{NULL, NULL, 0},
};

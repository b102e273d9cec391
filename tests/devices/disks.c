/* SPDX-License-Identifier: Apache-2.0 */
/* Disks under Linux: both engines, another file, limits, and what outlives a killed monitor. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/devices/machine.h"

enum {
	KILLS = 4,
	/*
	 * The guest moves 1 MiB, of which 512 KiB are there at once, since a bucket that idled
	 * gives twice its size [compat], and 256 KiB each second; or 60 blocks, of which 20 are,
	 * from a bucket that is new. Then 8 MiB, which would take 30 s under the first limit.
	 */
	LIMITED_MS = 1800,
	LIMITED_ALL_MS = 25000,
};

#define ROOT_UUID "87654321-01"

static bool put_disk(struct machine *machine, const char *id, unsigned mib, const char *more)
{
	char path[64];

	snprintf(path, sizeof(path), "/drives/%s", id);
	return machine_make_disk(machine, id, mib) &&
	       machine_api(machine, 204, "PUT", path,
			   "{\"drive_id\": \"%s\", \"is_root_device\": false, \"is_read_only\": "
			   "false, \"path_on_host\": \"%s\"%s}",
			   id, id, more);
}

/* What was written takes space; what was discarded takes none. */
static bool check_holes(struct machine *machine, const char *disk)
{
	char text[64];

	snprintf(text, sizeof(text), "%s written", disk);
	if (!machine_meet(machine, text)) {
		return false;
	}
	long before = machine_disk_kib(machine, disk);

	if (!machine_run(machine, "pattern check %s 0 8192 11", disk) || !machine_go_on(machine)) {
		return false;
	}
	snprintf(text, sizeof(text), "%s discarded", disk);
	if (!machine_meet(machine, text)) {
		return false;
	}
	long after = machine_disk_kib(machine, disk);

	if (before - after < 3500) {
		return machine_fail(machine, "%s takes %ld KiB, and %ld after 4 MiB are discarded",
				    disk, before, after);
	}
	return machine_run(machine, "pattern check %s 4096 4096 11", disk) &&
	       machine_go_on(machine);
}

static bool replace_file(struct machine *machine)
{
	return machine_meet(machine, "old file, 16384 sectors") &&
	       machine_make_disk(machine, "new", 16) &&
	       machine_run(machine, "pattern write new 0 8192 22") &&
	       machine_api(machine, 204, "PATCH", "/drives/vdd",
			   "{\"drive_id\": \"vdd\", \"path_on_host\": \"new\"}") &&
	       machine_go_on(machine) &&
	       machine_expect(machine, "ok: new file, 32768 sectors", NULL) &&
	       /* The old one is left alone. */
	       machine_run(machine, "pattern check vdd 0 1024 21");
}

static bool limit(struct machine *machine, const char *limiter)
{
	return machine_api(machine, 204, "PATCH", "/drives/vde",
			   "{\"drive_id\": \"vde\", \"rate_limiter\": {%s}}", limiter);
}

#define NO_LIMIT "{\"size\": 0, \"refill_time\": 0}"

/* Lets the guest go on, and tells how long it takes until it says `text`. */
static bool time_guest(struct machine *machine, const char *text, uint64_t *ms)
{
	uint64_t begin = now_ms();
	bool ok = machine_go_on(machine) && machine_expect(machine, text, NULL);

	*ms = now_ms() - begin;
	return ok;
}

static bool check_limits(struct machine *machine)
{
	uint64_t bytes;
	uint64_t ops;
	uint64_t none;

	if (!machine_meet(machine, "bytes") ||
	    !time_guest(machine, "ok: limited by bytes", &bytes) ||
	    !machine_meet(machine, "operations") ||
	    !limit(machine,
		   "\"bandwidth\": " NO_LIMIT ", \"ops\": {\"size\": 20, \"refill_time\": 1000}") ||
	    !time_guest(machine, "ok: limited by operations", &ops) ||
	    !machine_meet(machine, "no limits") ||
	    !limit(machine, "\"bandwidth\": " NO_LIMIT ", \"ops\": " NO_LIMIT) ||
	    !time_guest(machine, "ok: not limited", &none)) {
		return false;
	}
	return (bytes >= LIMITED_MS && ops >= LIMITED_MS && none < LIMITED_ALL_MS) ||
	       machine_fail(machine, "%llu ms by bytes, %llu ms by operations, %llu ms without",
			    (unsigned long long)bytes, (unsigned long long)ops,
			    (unsigned long long)none);
}

static bool run_disks(struct machine *machine)
{
	char rest[MESSAGE_LEN];

	const struct guest guest = {
		.vcpus = 2, .mem_mib = 128, .script = "/tests/disks.sh", .root = machine->root};

	return machine_configure(machine, &guest) &&
	       put_disk(machine, "vdb", 16, ", \"cache_type\": \"Writeback\", \"num_queues\": 2") &&
	       put_disk(machine, "vdc", 16,
			", \"io_engine\": \"Async\", \"cache_type\": \"Writeback\", "
			"\"num_queues\": 2") &&
	       put_disk(machine, "vdd", 8, ", \"io_engine\": \"Async\"") &&
	       machine_run(machine, "pattern write vdd 0 1024 21") &&
	       put_disk(machine, "vde", 8,
			", \"rate_limiter\": {\"bandwidth\": {\"size\": 262144, "
			"\"refill_time\": 1000}}") &&
	       put_disk(machine, "vdf", 8, ", \"io_engine\": \"Async\", \"num_queues\": 2") &&
	       machine_start(machine) && machine_expect(machine, "ok: queues ", rest) &&
	       (strcmp(rest, "2 2") == 0 || machine_fail(machine, "queues: %s", rest)) &&
	       machine_expect(machine, "ok: cache write back, write back", NULL) &&
	       machine_expect(machine, "ok: random I/O", NULL) && check_holes(machine, "vdb") &&
	       check_holes(machine, "vdc") && replace_file(machine) && check_limits(machine) &&
	       machine_expect(machine, "ok: unbound and bound", NULL) &&
	       machine_expect(machine, "disks: done", NULL) && machine_ends(machine);
}

/* --- SIGKILL --- */

/* The last file that the console tells of; `last` where there is none. */
static long last_kept(const struct machine *machine, long last)
{
	char *console = machine_console(machine);

	for (char *at = console; at != NULL && (at = strstr(at, "kept <")) != NULL; at++) {
		char *end;
		long told = strtol(at + strlen("kept <"), &end, 10);

		/* A torn line was not told. */
		last = *end == '>' ? told : last;
	}
	free(console);
	return last;
}

static bool boot_to_keep(struct machine *machine, long next, const char *engine, bool is_last)
{
	char script[64];
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = 128,
				    .script = script,
				    .root = "disk.mbr",
				    .partuuid = ROOT_UUID,
				    .is_root_writable = true};

	snprintf(script, sizeof(script), "/tests/crash.sh %ld%s", next, is_last ? " last" : "");
	return machine_configure(machine, &guest) &&
	       machine_api(machine, 204, "PUT", "/drives/root",
			   "{\"drive_id\": \"root\", \"is_root_device\": true, \"partuuid\": "
			   "\"" ROOT_UUID "\", \"path_on_host\": \"disk.mbr\", \"is_read_only\": "
			   "false, \"cache_type\": \"Writeback\", \"io_engine\": \"%s\"}",
			   engine) &&
	       machine_start(machine) && machine_expect(machine, "ok: kept files", NULL);
}

/* The partition as a file: e2fsck replays its journal, then finds nothing to mend. */
static bool check_filesystem(struct machine *machine)
{
	char e2fsck[PATH_LEN];

	snprintf(e2fsck, sizeof(e2fsck), "%.400s/e2fsck", env("DEVICES_DIR"));
	return machine_run(machine, "/bin/dd if=disk.mbr of=part bs=1M skip=1") &&
	       machine_run(machine, "%s -E journal_only -y part", e2fsck) &&
	       machine_run(machine, "%s -fn part", e2fsck);
}

static bool run_kills(struct machine *machine)
{
	long last = -1;
	unsigned random = (unsigned)now_ms();

	if (!machine_copy_disk(machine, "disk.mbr", "disk.mbr")) {
		return false;
	}
	for (unsigned i = 0; i < KILLS; i++) {
		unsigned ms = 200 + (unsigned)(random = random * 1103515245 + 12345) / 65536 % 1300;

		if (!boot_to_keep(machine, last + 1, i % 2 == 0 ? "Sync" : "Async", false)) {
			return false;
		}
		sleep_ms(ms);
		machine_kill(machine);
		last = last_kept(machine, last);
		printf("      killed %u ms after the boot, %ld files are kept\n", ms, last + 1);
		if (!check_filesystem(machine)) {
			return machine_fail(machine, "after the kill, at %u ms", ms);
		}
	}
	return (last >= 0 || machine_fail(machine, "no file was kept")) &&
	       boot_to_keep(machine, last + 1, "Sync", true) && machine_ends(machine);
}

const struct device_test disk_tests[] = {
	{"disks: both engines, queues, discard, another file, limits, unbind", run_disks, 600},
	{"disks: what was told outlives a killed monitor, PARTUUID root", run_kills, 300},
	{NULL, NULL, 0},
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Disks under Linux: both engines, another file, limits, and what outlives a killed monitor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static bool put_disk(struct squib *squib, const char *id, unsigned mib, const char *more)
{
	char path[64];

	snprintf(path, sizeof(path), "/drives/%s", id);
	return machine_make_disk(squib, id, mib) &&
	       squib_put(squib, path,
			 "{\"drive_id\": \"%s\", \"is_root_device\": false, \"is_read_only\": "
			 "false, \"path_on_host\": \"%s\"%s}",
			 id, id, more);
}

/* What was written takes space; what was discarded takes none. */
static bool check_holes(struct squib *squib, const char *disk)
{
	char text[64];

	snprintf(text, sizeof(text), "%s written", disk);
	if (!machine_meet(squib, text)) {
		return false;
	}
	long before = machine_disk_kib(squib, disk);

	if (!machine_run(squib, "pattern check %s 0 8192 11", disk) || !machine_go_on(squib)) {
		return false;
	}
	snprintf(text, sizeof(text), "%s discarded", disk);
	if (!machine_meet(squib, text)) {
		return false;
	}
	long after = machine_disk_kib(squib, disk);

	if (before - after < 3500) {
		return squib_fail(squib, "%s takes %ld KiB, and %ld after 4 MiB are discarded",
				  disk, before, after);
	}
	return machine_run(squib, "pattern check %s 4096 4096 11", disk) && machine_go_on(squib);
}

static bool replace_file(struct squib *squib)
{
	return machine_meet(squib, "old file, 16384 sectors") &&
	       machine_make_disk(squib, "new", 16) &&
	       machine_run(squib, "pattern write new 0 8192 22") &&
	       squib_patch(squib, "/drives/vdd",
			   "{\"drive_id\": \"vdd\", \"path_on_host\": \"new\"}") &&
	       machine_go_on(squib) && squib_expect(squib, "ok: new file, 32768 sectors", NULL) &&
	       /* The old one is left alone. */
	       machine_run(squib, "pattern check vdd 0 1024 21");
}

static bool limit(struct squib *squib, const char *limiter)
{
	return squib_patch(squib, "/drives/vde", "{\"drive_id\": \"vde\", \"rate_limiter\": {%s}}",
			   limiter);
}

#define NO_LIMIT "{\"size\": 0, \"refill_time\": 0}"

/* Lets the guest go on, and tells how long it takes until it says `text`. */
static bool time_guest(struct squib *squib, const char *text, uint64_t *ms)
{
	uint64_t begin = now_ms();
	bool ok = machine_go_on(squib) && squib_expect(squib, text, NULL);

	*ms = now_ms() - begin;
	return ok;
}

static bool check_limits(struct squib *squib)
{
	uint64_t bytes;
	uint64_t ops;
	uint64_t none;

	if (!machine_meet(squib, "bytes") || !time_guest(squib, "ok: limited by bytes", &bytes) ||
	    !machine_meet(squib, "operations") ||
	    !limit(squib,
		   "\"bandwidth\": " NO_LIMIT ", \"ops\": {\"size\": 20, \"refill_time\": 1000}") ||
	    !time_guest(squib, "ok: limited by operations", &ops) ||
	    !machine_meet(squib, "no limits") ||
	    !limit(squib, "\"bandwidth\": " NO_LIMIT ", \"ops\": " NO_LIMIT) ||
	    !time_guest(squib, "ok: not limited", &none)) {
		return false;
	}
	return (bytes >= LIMITED_MS && ops >= LIMITED_MS && none < LIMITED_ALL_MS) ||
	       squib_fail(squib, "%llu ms by bytes, %llu ms by operations, %llu ms without",
			  (unsigned long long)bytes, (unsigned long long)ops,
			  (unsigned long long)none);
}

static bool run_disks(struct squib *squib)
{
	char rest[MESSAGE_LEN];

	const struct guest guest = {
		.vcpus = 2, .mem_mib = 128, .script = "/tests/disks.sh", .root = machine_root()};

	return machine_configure(squib, &guest) &&
	       put_disk(squib, "vdb", 16, ", \"cache_type\": \"Writeback\", \"num_queues\": 2") &&
	       put_disk(squib, "vdc", 16,
			", \"io_engine\": \"Async\", \"cache_type\": \"Writeback\", "
			"\"num_queues\": 2") &&
	       put_disk(squib, "vdd", 8, ", \"io_engine\": \"Async\"") &&
	       machine_run(squib, "pattern write vdd 0 1024 21") &&
	       put_disk(squib, "vde", 8,
			", \"rate_limiter\": {\"bandwidth\": {\"size\": 262144, "
			"\"refill_time\": 1000}}") &&
	       put_disk(squib, "vdf", 8, ", \"io_engine\": \"Async\", \"num_queues\": 2") &&
	       squib_api_start(squib, 204) && squib_expect(squib, "ok: queues ", rest) &&
	       (strcmp(rest, "2 2") == 0 || squib_fail(squib, "queues: %s", rest)) &&
	       squib_expect(squib, "ok: cache write back, write back", NULL) &&
	       squib_expect(squib, "ok: random I/O", NULL) && check_holes(squib, "vdb") &&
	       check_holes(squib, "vdc") && replace_file(squib) && check_limits(squib) &&
	       squib_expect(squib, "ok: unbound and bound", NULL) &&
	       squib_expect(squib, "disks: done", NULL) && squib_ends(squib, 0);
}

/* --- SIGKILL --- */

/* The last file that the console tells of; `last` where there is none. */
static long last_kept(const struct squib *squib, long last)
{
	char *console = squib_text(squib, "out");

	for (char *at = console; at != NULL && (at = strstr(at, "kept <")) != NULL; at++) {
		char *end;
		long told = strtol(at + strlen("kept <"), &end, 10);

		/* A torn line was not told. */
		last = *end == '>' ? told : last;
	}
	free(console);
	return last;
}

/* The root disk of the kills: raw, or an overlay over a disk that must stay as it is. */
#define RAW_ROOT "\"path_on_host\": \"disk.mbr\""
#define OVERLAY_ROOT "\"path_on_host\": \"own\", \"base\": \"disk.mbr\""

static bool boot_to_keep(struct squib *squib, const char *root, long next, const char *engine,
			 bool is_last)
{
	char script[64];
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = 128,
				    .script = script,
				    .root = "disk.mbr",
				    .partuuid = ROOT_UUID,
				    .is_root_writable = true};

	snprintf(script, sizeof(script), "/tests/crash.sh %ld%s", next, is_last ? " last" : "");
	return machine_configure(squib, &guest) &&
	       squib_put(squib, "/drives/root",
			 "{\"drive_id\": \"root\", \"is_root_device\": true, \"partuuid\": "
			 "\"" ROOT_UUID "\", %s, \"is_read_only\": "
			 "false, \"cache_type\": \"Writeback\", \"io_engine\": \"%s\"}",
			 root, engine) &&
	       squib_api_start(squib, 204) && squib_expect(squib, "ok: kept files", NULL);
}

/* By squib's neighbour, squibctl. */
static bool flatten(struct squib *squib, const char *own, const char *flat)
{
	char path[PATH_LEN];

	squib_path(squib, flat, path);
	(void)unlink(path);
	return machine_run(squib, "%sctl overlay flatten %s %s", env("SQUIB"), own, flat);
}

/* The partition as a file: e2fsck replays its journal, then finds nothing to mend. */
static bool check_filesystem(struct squib *squib, bool is_overlay)
{
	char e2fsck[PATH_LEN];

	snprintf(e2fsck, sizeof(e2fsck), "%.400s/e2fsck", env("DEVICES_DIR"));
	return (!is_overlay || flatten(squib, "own", "flat")) &&
	       machine_run(squib, "/bin/dd if=%s of=part bs=1M skip=1",
			   is_overlay ? "flat" : "disk.mbr") &&
	       machine_run(squib, "%s -E journal_only -y part", e2fsck) &&
	       machine_run(squib, "%s -fn part", e2fsck);
}

static bool kill_and_check(struct squib *squib, bool is_overlay)
{
	const char *root = is_overlay ? OVERLAY_ROOT : RAW_ROOT;
	long last = -1;
	unsigned random = (unsigned)now_ms();

	if (!machine_copy_disk(squib, "disk.mbr", "disk.mbr") ||
	    (is_overlay && !machine_make_disk(squib, "own", 0))) {
		return false;
	}
	for (unsigned i = 0; i < KILLS; i++) {
		unsigned ms = 200 + (unsigned)(random = random * 1103515245 + 12345) / 65536 % 1300;

		if (!boot_to_keep(squib, root, last + 1, i % 2 == 0 ? "Sync" : "Async", false)) {
			return false;
		}
		sleep_ms(ms);
		squib_stop(squib);
		last = last_kept(squib, last);
		printf("      killed %u ms after the boot, %ld files are kept\n", ms, last + 1);
		if (!check_filesystem(squib, is_overlay)) {
			return squib_fail(squib, "after the kill, at %u ms", ms);
		}
	}
	return (last >= 0 || squib_fail(squib, "no file was kept")) &&
	       boot_to_keep(squib, root, last + 1, "Sync", true) && squib_ends(squib, 0);
}

static bool run_kills(struct squib *squib)
{
	return kill_and_check(squib, false);
}

static bool run_overlay_kills(struct squib *squib)
{
	char reference[PATH_LEN];

	snprintf(reference, sizeof(reference), "%.400s/disk.mbr", env("DEVICES_DIR"));
	return kill_and_check(squib, true) &&
	       /* All that was written went elsewhere. */
	       machine_run(squib, "/usr/bin/cmp disk.mbr %s", reference);
}

/* --- Overlays --- */

static bool put_overlay(struct squib *squib, const char *id, const char *more)
{
	char path[64];

	snprintf(path, sizeof(path), "/drives/%s", id);
	return machine_make_disk(squib, id, 0) &&
	       squib_put(squib, path,
			 "{\"drive_id\": \"%s\", \"is_root_device\": false, \"path_on_host\": "
			 "\"%s\", \"base\": \"base\", \"num_queues\": 2%s}",
			 id, id, more);
}

/* What the guest left, on the plain disk that its overlay makes. */
static bool check_overlay(struct squib *squib, const char *id)
{
	return flatten(squib, id, "flat") && machine_run(squib, "pattern check flat 0 4096 41") &&
	       machine_run(squib, "pattern check flat 8192 2048 31") &&
	       machine_run(squib, "pattern check flat 12492 509 31") &&
	       machine_run(squib, "pattern check flat 13001 7 42") &&
	       machine_run(squib, "pattern check flat 13008 3376 31");
}

static bool run_overlays(struct squib *squib)
{
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 128, .script = "/tests/overlays.sh", .root = machine_root()};

	if (!machine_configure(squib, &guest) || !machine_make_disk(squib, "base", 16) ||
	    !machine_run(squib, "pattern write base 0 16384 31") ||
	    !put_overlay(squib, "vdb", ", \"cache_type\": \"Writeback\"") ||
	    !put_overlay(squib, "vdc", ", \"io_engine\": \"Async\"") ||
	    !squib_api_start(squib, 204) || !squib_expect(squib, "ok: the base", NULL) ||
	    !squib_expect(squib, "ok: random I/O", NULL) ||
	    !squib_expect(squib, "ok: zeroes", NULL) || !machine_meet(squib, "written")) {
		return false;
	}
	squib_stop(squib);
	return check_overlay(squib, "vdb") && check_overlay(squib, "vdc") &&
	       machine_run(squib, "pattern check base 0 16384 31");
}

const struct device_test disk_tests[] = {
	{"disks: both engines, queues, discard, another file, limits, unbind", run_disks, 600},
	{"disks: what was told outlives a killed monitor, PARTUUID root", run_kills, 300},
	{"disks: overlays, both engines over one base, a killed monitor", run_overlays, 600},
	{"disks: overlays, what was told outlives a killed monitor", run_overlay_kills, 300},
	{NULL, NULL, 0},
};

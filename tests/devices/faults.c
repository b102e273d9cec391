/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest sees of a host that fails, and what it still has: full and broken disks, files
 * that are cut, TAPs that are down or gone, sinks that take nothing.
 */
#include <errno.h>
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
	SMALL_KIB = 2048, /* for two disks that claim 8 MiB each */
	CUT_KIB = 128,
	/* Requests of faults.sh that fail, of one disk. */
	FULL_FAILS = 18,
	BAD_FAILS = 34,
	CUT_FAILS = 33,
	SHOUTED_DOWN = 300,
	SHOUTED_GONE = 100,
	IDLE_MS = 2000,
	FLOOD_LEN = 256 * 64,
};

/* --- what the monitor tells --- */

static unsigned count_in(const char *text, const char *part)
{
	unsigned count = 0;

	for (; text != NULL && (text = strstr(text, part)) != NULL; text += strlen(part)) {
		count++;
	}
	return count;
}

static unsigned logged(const struct squib *squib, const char *part)
{
	size_t len = 0;
	char *log = squib_file(squib, "log", &len);
	unsigned count = count_in(log, part);

	free(log);
	return count;
}

/* A sentence stands in the log, but not for each time. */
static bool is_told(struct squib *squib, const char *sentence, long most)
{
	unsigned lines = logged(squib, sentence);

	return (lines > 0 && lines <= most) ||
	       squib_fail(squib, "the log has \"%s\" %u times, not 1 to %ld", sentence, lines,
			  most);
}

/* --- disks --- */

/* What has failed of this drive since the start. */
static bool has_failed(struct squib *squib, const char *drive, long count, const char *sentence)
{
	char group[64];
	char text[MESSAGE_LEN];

	snprintf(group, sizeof(group), "block_%s", drive);
	snprintf(text, sizeof(text), "The drive %s failed to %s", drive, sentence);
	long fails = machine_metric(squib, group, "execute_fails");

	return (fails == count ||
		squib_fail(squib, "%s counts %ld execute_fails, not %ld", drive, fails, count)) &&
	       (count == 0 || is_told(squib, text, count));
}

static bool put_drive(struct squib *squib, const char *id, const char *file, const char *engine)
{
	char path[64];

	snprintf(path, sizeof(path), "/drives/%s", id);
	return squib_put(squib, path,
			 "{\"drive_id\": \"%s\", \"is_root_device\": false, \"path_on_host\": "
			 "\"%s\", \"is_read_only\": false, \"cache_type\": \"Writeback\", "
			 "\"io_engine\": \"%s\"}",
			 id, file, engine);
}

static bool put_bad_drive(struct squib *squib, const char *id, const struct host_dm *dm,
			  const char *engine)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/dm-%u", dm->minor);
	return put_drive(squib, id, path, engine);
}

static bool put_metrics(struct squib *squib)
{
	return squib_put(squib, "/metrics", "{\"metrics_path\": \"metrics\"}");
}

static bool fill_and_empty(struct squib *squib)
{
	static const char sentence[] = "write: No space left on device (os error 28)";
	char ballast[PATH_LEN];

	squib_path(squib, "small/ballast", ballast);
	return machine_meet(squib, "disks have room") && host_fill(squib, "small/ballast") &&
	       machine_go_on(squib) && machine_meet(squib, "disks are full") &&
	       machine_flush_metrics(squib) && has_failed(squib, "vdb", FULL_FAILS, sentence) &&
	       has_failed(squib, "vdc", FULL_FAILS, sentence) && has_failed(squib, "vdf", 0, "") &&
	       unlink(ballast) == 0 && machine_go_on(squib) &&
	       squib_expect(squib, "ok: room again", NULL);
}

static const struct bad_range bad = {.kib = 8192, .bad_from = 4096, .bad_kib = 128};
static const struct bad_range good = {.kib = 8192, .bad_from = 4096};

static bool mend(struct squib *squib, const struct host_dm dms[2])
{
	return machine_meet(squib, "sectors are bad") && machine_flush_metrics(squib) &&
	       has_failed(squib, "vdd", BAD_FAILS, "flush: I/O error (os error 5)") &&
	       has_failed(squib, "vde", BAD_FAILS, "flush: I/O error (os error 5)") &&
	       host_dm_change(squib, &dms[0], &good) && host_dm_change(squib, &dms[1], &good) &&
	       machine_go_on(squib) && squib_expect(squib, "ok: sectors mended", NULL);
}

static bool cut(struct squib *squib)
{
	static const char sentence[] = "read: I/O error (os error 5)";
	char sync[PATH_LEN];
	char async[PATH_LEN];

	squib_path(squib, "small/sync", sync);
	squib_path(squib, "small/async", async);
	return machine_meet(squib, "files are whole") && truncate(sync, CUT_KIB << 10) == 0 &&
	       truncate(async, CUT_KIB << 10) == 0 && machine_go_on(squib) &&
	       machine_meet(squib, "files were cut") && machine_flush_metrics(squib) &&
	       has_failed(squib, "vdb", FULL_FAILS + CUT_FAILS, sentence) &&
	       has_failed(squib, "vdc", FULL_FAILS + CUT_FAILS, sentence) && machine_go_on(squib);
}

static bool try_disks(struct squib *squib, struct host_dm dms[2])
{
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = 128,
				    .script = "/tests/faults.sh disks",
				    .root = machine_root()};

	return host_mounts_isolate(squib) && host_mount(squib, "small", SMALL_KIB) &&
	       machine_make_disk(squib, "small/sync", 8) &&
	       machine_make_disk(squib, "small/async", 8) && machine_make_disk(squib, "bad0", 8) &&
	       machine_make_disk(squib, "bad1", 8) && host_dm_init(squib, &dms[0], "bad0", &bad) &&
	       host_dm_init(squib, &dms[1], "bad1", &bad) &&
	       machine_copy_disk(squib, "rootfs.ext4", "good") &&
	       machine_configure(squib, &guest) && put_metrics(squib) &&
	       put_drive(squib, "vdb", "small/sync", "Sync") &&
	       put_drive(squib, "vdc", "small/async", "Async") &&
	       put_bad_drive(squib, "vdd", &dms[0], "Sync") &&
	       put_bad_drive(squib, "vde", &dms[1], "Async") &&
	       put_drive(squib, "vdf", "good", "Async") && squib_api_start(squib, 204) &&
	       fill_and_empty(squib) && mend(squib, dms) && cut(squib) &&
	       squib_expect(squib, "faults: done", NULL) && squib_ends(squib, 0);
}

static bool run_disks(struct squib *squib)
{
	struct host_dm dms[2] = {{.loop = -1}, {.loop = -1}};
	bool ok = try_disks(squib, dms);

	squib_stop(squib);
	host_dm_destroy(&dms[0]);
	host_dm_destroy(&dms[1]);
	host_unmount(squib, "small");
	return ok;
}

/* --- a slow disk --- */

static const struct bad_range slow = {.kib = 8192, .bad_from = 8192, .delay_ms = 500};

/* Asks the API until the guest says `end`, and prints how long the slowest answer took. */
static bool ask_until(struct squib *squib, const char *engine, const char *end)
{
	uint64_t slowest_ms = 0;
	unsigned answers = 0;

	for (; !squib_says(squib, end); answers++) {
		uint64_t before = now_ms();

		if (!squib_api(squib, 200, "GET", "/", NULL)) {
			return false;
		}
		slowest_ms = now_ms() - before > slowest_ms ? now_ms() - before : slowest_ms;
	}
	printf("   %s, a disk with a delay of %u ms: %u answers of the API, the slowest in %llu "
	       "ms\n",
	       engine, slow.delay_ms, answers, (unsigned long long)slowest_ms);
	return true;
}

/* A disk of this engine holds all requests, then answers them, then takes its time for others. */
static bool hang(struct squib *squib, const char *engine, const struct host_dm *dm)
{
	char meeting[64];

	snprintf(meeting, sizeof(meeting), "%s delayed", engine);
	return machine_meet(squib, "idle") && host_dm_hold(squib, dm, true) &&
	       machine_go_on(squib) && squib_expect(squib, "ok: pings while it hangs", NULL) &&
	       squib_api(squib, 200, "GET", "/", NULL) && machine_meet(squib, "hangs") &&
	       machine_go_on(squib) && squib_expect(squib, "ok: typed while it hangs", NULL) &&
	       host_dm_hold(squib, dm, false) && squib_expect(squib, "ok: all is done", NULL) &&
	       machine_meet(squib, "to be slow") && host_dm_change(squib, dm, &slow) &&
	       machine_go_on(squib) && ask_until(squib, engine, meeting) &&
	       squib_expect(squib, meeting, NULL) && machine_go_on(squib);
}

static bool try_slow(struct squib *squib, struct host_dm dms[2])
{
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = 128,
				    .script = "/tests/faults.sh slow",
				    .root = machine_root()};

	return host_net_isolate(squib) && machine_make_disk(squib, "slow0", 8) &&
	       machine_make_disk(squib, "slow1", 8) &&
	       host_dm_init(squib, &dms[0], "slow0", &good) &&
	       host_dm_init(squib, &dms[1], "slow1", &good) && machine_configure(squib, &guest) &&
	       squib_put(squib, "/network-interfaces/eth0",
			 "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\"}") &&
	       put_bad_drive(squib, "vdb", &dms[0], "Sync") &&
	       put_bad_drive(squib, "vdc", &dms[1], "Async") &&
	       host_net_up(squib, "tap0", "10.1.0.1", 1500) && squib_api_start(squib, 204) &&
	       hang(squib, "Sync", &dms[0]) && hang(squib, "Async", &dms[1]) &&
	       squib_expect(squib, "faults: done", NULL) && squib_ends(squib, 0);
}

static bool run_slow(struct squib *squib)
{
	struct host_dm dms[2] = {{.loop = -1}, {.loop = -1}};
	bool ok = try_slow(squib, dms);

	return host_dms_end(squib, dms, 2) && ok;
}

/* --- network --- */

/* ms of CPU that the monitor's own thread has had; -1: cannot be read. */
static long cpu_ms(const struct squib *squib)
{
	char path[64];
	char line[512] = "";
	unsigned long user = 0;
	unsigned long system = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)squib->pid, (int)squib->pid);
	FILE *file = fopen(path, "re");
	bool ok = file != NULL && fgets(line, sizeof(line), file) != NULL;
	const char *behind_name = ok ? strrchr(line, ')') : NULL;

	ok = behind_name != NULL &&
	     sscanf(behind_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
		    &system) == 2;
	if (file != NULL) {
		fclose(file);
	}
	return ok ? (long)(user + system) * 1000 / sysconf(_SC_CLK_TCK) : -1;
}

/*
 * A thread that spins has all the time there is, however slow the machine; one that waits has none.
 */
static bool is_idle(struct squib *squib)
{
	long cpu_before = cpu_ms(squib);
	uint64_t before = now_ms();

	sleep_ms(IDLE_MS);
	long cpu = cpu_ms(squib) - cpu_before;
	long passed = (long)(now_ms() - before);

	return (cpu_before >= 0 && cpu < passed / 4) ||
	       squib_fail(squib, "the monitor had the CPU for %ld of %ld ms", cpu, passed);
}

static bool switch_off_and_on(struct squib *squib)
{
	pid_t server = machine_spawn(squib, "serve tcp:10.1.0.1:5000 1");
	pid_t other = machine_spawn(squib, "serve tcp:10.2.0.1:5000 1");

	if (!machine_meet(squib, "both are up") || !host_net_switch(squib, "tap0", false) ||
	    !machine_go_on(squib) || !machine_meet(squib, "eth0 is down") ||
	    !machine_flush_metrics(squib)) {
		return false;
	}
	long fails = machine_metric(squib, "net_eth0", "tap_write_fails");

	return (fails >= SHOUTED_DOWN ||
		squib_fail(squib, "%ld frames failed, not %d", fails, SHOUTED_DOWN)) &&
	       is_told(squib,
		       "Failed to write to tap of interface eth0: I/O error (os error 5); its "
		       "frames are dropped until the TAP is set up",
		       1) &&
	       host_net_switch(squib, "tap0", true) && machine_go_on(squib) &&
	       squib_expect(squib, "ok: eth0 is up again", NULL) &&
	       machine_reap(squib, server, "serve tap0") &&
	       machine_reap(squib, other, "serve tap1");
}

#define GONE "interface eth0: File descriptor in bad state (os error 77); its TAP was deleted"

static bool delete_tap(struct squib *squib)
{
	return machine_meet(squib, "shouting") && host_net_delete(squib, "tap0") &&
	       machine_go_on(squib) && machine_meet(squib, "eth0 is gone") && is_idle(squib) &&
	       machine_flush_metrics(squib) &&
	       is_told(squib, "Failed to write to tap of " GONE, 1) &&
	       is_told(squib, "Failed to read tap of " GONE, 1) && machine_go_on(squib) &&
	       machine_meet(squib, "eth0 was bound again") && is_idle(squib) &&
	       machine_go_on(squib);
}

static bool run_taps(struct squib *squib)
{
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = 128,
				    .script = "/tests/faults.sh taps",
				    .root = machine_root()};

	return host_net_isolate(squib) && machine_configure(squib, &guest) && put_metrics(squib) &&
	       squib_put(squib, "/network-interfaces/eth0",
			 "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\"}") &&
	       squib_put(squib, "/network-interfaces/eth1",
			 "{\"iface_id\": \"eth1\", \"host_dev_name\": \"tap1\"}") &&
	       host_net_up(squib, "tap0", "10.1.0.1", 1500) &&
	       host_net_up(squib, "tap1", "10.2.0.1", 1500) && squib_api_start(squib, 204) &&
	       switch_off_and_on(squib) && delete_tap(squib) &&
	       squib_expect(squib, "faults: done", NULL) && squib_ends(squib, 0);
}

/* --- sinks --- */

static bool start_flood(struct squib *squib, const char *serial, const char *log,
			const char *metrics)
{
	const struct guest guest = {.vcpus = 1, .mem_mib = 128, .payload = "flood"};

	return machine_configure(squib, &guest) &&
	       squib_put(squib, "/logger", "{\"log_path\": \"%s\", \"level\": \"Debug\"}", log) &&
	       squib_put(squib, "/metrics", "{\"metrics_path\": \"%s\"}", metrics) &&
	       squib_put(squib, "/serial", "{\"serial_out_path\": \"%s\"}", serial) &&
	       squib_api_start(squib, 204) && squib_ends(squib, 0);
}

/* A FIFO with as much in it as it takes; its reader, who does not read. */
static int make_full_fifo(struct squib *squib, const char *name)
{
	static const char data[4096] = "";
	char path[PATH_LEN];

	squib_path(squib, name, path);
	int fd = mkfifo(path, 0600) == 0 ? open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1;

	if (fd < 0) {
		squib_fail(squib, "no FIFO %s: %s", name, strerror(errno));
	}
	while (fd >= 0 && write(fd, data, sizeof(data)) > 0) {
	}
	return fd;
}

/* Of a FIFO's output the monitor keeps 64 KiB, which is more than the guest has to say. */
static bool has_missed(struct squib *squib, long least_bytes)
{
	long lost = machine_metric(squib, "uart", "missed_write_count");
	long errors = machine_metric(squib, "uart", "error_count");
	long lines = machine_metric(squib, "logger", "missed_log_count");

	return (lost >= least_bytes && (errors > 0) == (least_bytes > 0) && lines > 0) ||
	       squib_fail(squib, "missed: %ld bytes by %ld errors, %ld lines", lost, errors, lines);
}

static bool try_full_disk(struct squib *squib)
{
	return host_mounts_isolate(squib) && host_mount(squib, "small", SMALL_KIB) &&
	       host_fill(squib, "small/ballast") &&
	       start_flood(squib, "small/serial", "small/log", "metrics") &&
	       has_missed(squib, FLOOD_LEN) &&
	       start_flood(squib, "serial", "log", "small/metrics") &&
	       machine_disk_kib(squib, "small/metrics") == 0;
}

static bool run_sinks(struct squib *squib)
{
	bool ok = try_full_disk(squib);
	char path[PATH_LEN];

	squib_stop(squib);
	host_unmount(squib, "small");
	squib_path(squib, "metrics", path);
	unlink(path);

	int serial = ok ? make_full_fifo(squib, "serial.fifo") : -1;
	int log = ok ? make_full_fifo(squib, "log.fifo") : -1;
	int metrics = ok ? make_full_fifo(squib, "metrics.fifo") : -1;

	ok = serial >= 0 && log >= 0 && metrics >= 0 &&
	     start_flood(squib, "serial.fifo", "log.fifo", "metrics") && has_missed(squib, 0);
	close(serial);
	close(log);
	/* Now without any reader, too. */
	return ok && start_flood(squib, "serial.fifo", "log.fifo", "metrics.fifo") &&
	       close(metrics) == 0;
}

const struct device_test fault_tests[] = {
	{"faults: a full disk, bad sectors, a file that is cut; another disk goes on", run_disks,
	 300},
	{"faults: a disk that hangs, then is slow; all else goes on", run_slow, 120},
	{"faults: a TAP that is down, then deleted; another one goes on", run_taps, 300},
	{"faults: sinks on a full disk, and those that nobody reads", run_sinks, 120},
	{NULL, NULL, 0},
};

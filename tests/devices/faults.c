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

static unsigned logged(const struct machine *machine, const char *part)
{
	size_t len = 0;
	char *log = squib_file(&machine->squib, "log", &len);
	unsigned count = count_in(log, part);

	free(log);
	return count;
}

/* The sum over all lines of metrics. */
static long sum_metric(const struct machine *machine, const char *group, const char *field)
{
	char head[64];
	char name[64];
	size_t len = 0;
	char *text = squib_file(&machine->squib, "metrics", &len);
	long sum = 0;

	snprintf(head, sizeof(head), "\"%s\":{", group);
	snprintf(name, sizeof(name), "\"%s\":", field);
	for (const char *at = text; at != NULL && (at = strstr(at, head)) != NULL;) {
		at = strstr(at, name);
		sum += at != NULL ? strtol(at + strlen(name), NULL, 10) : 0;
	}
	free(text);
	return sum;
}

static bool flush_metrics(struct machine *machine)
{
	return machine_api(machine, 204, "PUT", "/actions", "{\"action_type\": \"FlushMetrics\"}");
}

/* A sentence stands in the log, but not for each time. */
static bool is_told(struct machine *machine, const char *sentence, long most)
{
	unsigned lines = logged(machine, sentence);

	return (lines > 0 && lines <= most) ||
	       machine_fail(machine, "the log has \"%s\" %u times, not 1 to %ld", sentence, lines,
			    most);
}

/* --- disks --- */

/* What has failed of this drive since the start. */
static bool has_failed(struct machine *machine, const char *drive, long count, const char *sentence)
{
	char group[64];
	char text[MESSAGE_LEN];

	snprintf(group, sizeof(group), "block_%s", drive);
	snprintf(text, sizeof(text), "The drive %s failed to %s", drive, sentence);
	long fails = sum_metric(machine, group, "execute_fails");

	return (fails == count || machine_fail(machine, "%s counts %ld execute_fails, not %ld",
					       drive, fails, count)) &&
	       (count == 0 || is_told(machine, text, count));
}

static bool put_drive(struct machine *machine, const char *id, const char *file, const char *engine)
{
	char path[64];

	snprintf(path, sizeof(path), "/drives/%s", id);
	return machine_api(machine, 204, "PUT", path,
			   "{\"drive_id\": \"%s\", \"is_root_device\": false, \"path_on_host\": "
			   "\"%s\", \"is_read_only\": false, \"cache_type\": \"Writeback\", "
			   "\"io_engine\": \"%s\"}",
			   id, file, engine);
}

static bool put_bad_drive(struct machine *machine, const char *id, const struct host_dm *dm,
			  const char *engine)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/dm-%u", dm->minor);
	return put_drive(machine, id, path, engine);
}

static bool put_metrics(struct machine *machine)
{
	return machine_api(machine, 204, "PUT", "/metrics", "{\"metrics_path\": \"metrics\"}");
}

static bool fill_and_empty(struct machine *machine)
{
	static const char sentence[] = "write: No space left on device (os error 28)";
	char ballast[PATH_LEN];

	machine_path(machine, "small/ballast", ballast);
	return machine_meet(machine, "disks have room") && host_fill(machine, "small/ballast") &&
	       machine_go_on(machine) && machine_meet(machine, "disks are full") &&
	       flush_metrics(machine) && has_failed(machine, "vdb", FULL_FAILS, sentence) &&
	       has_failed(machine, "vdc", FULL_FAILS, sentence) &&
	       has_failed(machine, "vdf", 0, "") && unlink(ballast) == 0 &&
	       machine_go_on(machine) && machine_expect(machine, "ok: room again", NULL);
}

static const struct bad_range bad = {.kib = 8192, .bad_from = 4096, .bad_kib = 128};
static const struct bad_range good = {.kib = 8192, .bad_from = 4096};

static bool mend(struct machine *machine, const struct host_dm dms[2])
{
	return machine_meet(machine, "sectors are bad") && flush_metrics(machine) &&
	       has_failed(machine, "vdd", BAD_FAILS, "flush: I/O error (os error 5)") &&
	       has_failed(machine, "vde", BAD_FAILS, "flush: I/O error (os error 5)") &&
	       host_dm_change(machine, &dms[0], &good) && host_dm_change(machine, &dms[1], &good) &&
	       machine_go_on(machine) && machine_expect(machine, "ok: sectors mended", NULL);
}

static bool cut(struct machine *machine)
{
	static const char sentence[] = "read: I/O error (os error 5)";
	char sync[PATH_LEN];
	char async[PATH_LEN];

	machine_path(machine, "small/sync", sync);
	machine_path(machine, "small/async", async);
	return machine_meet(machine, "files are whole") && truncate(sync, CUT_KIB << 10) == 0 &&
	       truncate(async, CUT_KIB << 10) == 0 && machine_go_on(machine) &&
	       machine_meet(machine, "files were cut") && flush_metrics(machine) &&
	       has_failed(machine, "vdb", FULL_FAILS + CUT_FAILS, sentence) &&
	       has_failed(machine, "vdc", FULL_FAILS + CUT_FAILS, sentence) &&
	       machine_go_on(machine);
}

static bool try_disks(struct machine *machine, struct host_dm dms[2])
{
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = 128,
				    .script = "/tests/faults.sh disks",
				    .root = machine->root};

	return host_mounts_isolate(machine) && host_mount(machine, "small", SMALL_KIB) &&
	       machine_make_disk(machine, "small/sync", 8) &&
	       machine_make_disk(machine, "small/async", 8) &&
	       machine_make_disk(machine, "bad0", 8) && machine_make_disk(machine, "bad1", 8) &&
	       host_dm_init(machine, &dms[0], "bad0", &bad) &&
	       host_dm_init(machine, &dms[1], "bad1", &bad) &&
	       machine_copy_disk(machine, "rootfs.ext4", "good") &&
	       machine_configure(machine, &guest) && put_metrics(machine) &&
	       put_drive(machine, "vdb", "small/sync", "Sync") &&
	       put_drive(machine, "vdc", "small/async", "Async") &&
	       put_bad_drive(machine, "vdd", &dms[0], "Sync") &&
	       put_bad_drive(machine, "vde", &dms[1], "Async") &&
	       put_drive(machine, "vdf", "good", "Async") && machine_start(machine) &&
	       fill_and_empty(machine) && mend(machine, dms) && cut(machine) &&
	       machine_expect(machine, "faults: done", NULL) && machine_ends(machine);
}

static bool run_disks(struct machine *machine)
{
	struct host_dm dms[2] = {{.loop = -1}, {.loop = -1}};
	bool ok = try_disks(machine, dms);

	machine_kill(machine);
	host_dm_destroy(&dms[0]);
	host_dm_destroy(&dms[1]);
	host_unmount(machine, "small");
	return ok;
}

/* --- network --- */

/* ms of CPU that the monitor's own thread has had; -1: cannot be read. */
static long cpu_ms(const struct machine *machine)
{
	char path[64];
	char line[512] = "";
	unsigned long user = 0;
	unsigned long system = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)machine->squib.pid,
		 (int)machine->squib.pid);
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
static bool is_idle(struct machine *machine)
{
	long cpu_before = cpu_ms(machine);
	uint64_t before = now_ms();

	sleep_ms(IDLE_MS);
	long cpu = cpu_ms(machine) - cpu_before;
	long passed = (long)(now_ms() - before);

	return (cpu_before >= 0 && cpu < passed / 4) ||
	       machine_fail(machine, "the monitor had the CPU for %ld of %ld ms", cpu, passed);
}

static bool switch_off_and_on(struct machine *machine)
{
	pid_t server = machine_spawn(machine, "serve tcp:10.1.0.1:5000 1");
	pid_t other = machine_spawn(machine, "serve tcp:10.2.0.1:5000 1");

	if (!machine_meet(machine, "both are up") || !host_net_switch(machine, "tap0", false) ||
	    !machine_go_on(machine) || !machine_meet(machine, "eth0 is down") ||
	    !flush_metrics(machine)) {
		return false;
	}
	long fails = sum_metric(machine, "net_eth0", "tap_write_fails");

	return (fails >= SHOUTED_DOWN ||
		machine_fail(machine, "%ld frames failed, not %d", fails, SHOUTED_DOWN)) &&
	       is_told(machine,
		       "Failed to write to tap of interface eth0: I/O error (os error 5); its "
		       "frames are dropped until the TAP is set up",
		       1) &&
	       host_net_switch(machine, "tap0", true) && machine_go_on(machine) &&
	       machine_expect(machine, "ok: eth0 is up again", NULL) &&
	       machine_reap(machine, server, "serve tap0") &&
	       machine_reap(machine, other, "serve tap1");
}

#define GONE "interface eth0: File descriptor in bad state (os error 77); its TAP was deleted"

static bool delete_tap(struct machine *machine)
{
	return machine_meet(machine, "shouting") && host_net_delete(machine, "tap0") &&
	       machine_go_on(machine) && machine_meet(machine, "eth0 is gone") &&
	       is_idle(machine) && flush_metrics(machine) &&
	       is_told(machine, "Failed to write to tap of " GONE, 1) &&
	       is_told(machine, "Failed to read tap of " GONE, 1) && machine_go_on(machine) &&
	       machine_meet(machine, "eth0 was bound again") && is_idle(machine) &&
	       machine_go_on(machine);
}

static bool run_taps(struct machine *machine)
{
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = 128,
				    .script = "/tests/faults.sh taps",
				    .root = machine->root};

	return host_net_isolate(machine) && machine_configure(machine, &guest) &&
	       put_metrics(machine) &&
	       machine_api(machine, 204, "PUT", "/network-interfaces/eth0",
			   "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\"}") &&
	       machine_api(machine, 204, "PUT", "/network-interfaces/eth1",
			   "{\"iface_id\": \"eth1\", \"host_dev_name\": \"tap1\"}") &&
	       host_net_up(machine, "tap0", "10.1.0.1", 1500) &&
	       host_net_up(machine, "tap1", "10.2.0.1", 1500) && machine_start(machine) &&
	       switch_off_and_on(machine) && delete_tap(machine) &&
	       machine_expect(machine, "faults: done", NULL) && machine_ends(machine);
}

/* --- sinks --- */

static bool start_flood(struct machine *machine, const char *serial, const char *log,
			const char *metrics)
{
	const struct guest guest = {.vcpus = 1, .mem_mib = 128, .payload = "flood"};

	return machine_configure(machine, &guest) &&
	       machine_api(machine, 204, "PUT", "/logger",
			   "{\"log_path\": \"%s\", \"level\": \"Debug\"}", log) &&
	       machine_api(machine, 204, "PUT", "/metrics", "{\"metrics_path\": \"%s\"}",
			   metrics) &&
	       machine_api(machine, 204, "PUT", "/serial", "{\"serial_out_path\": \"%s\"}",
			   serial) &&
	       machine_start(machine) && machine_ends(machine);
}

/* A FIFO with as much in it as it takes; its reader, who does not read. */
static int make_full_fifo(struct machine *machine, const char *name)
{
	static const char data[4096] = "";
	char path[PATH_LEN];

	machine_path(machine, name, path);
	int fd = mkfifo(path, 0600) == 0 ? open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1;

	if (fd < 0) {
		machine_fail(machine, "no FIFO %s: %s", name, strerror(errno));
	}
	while (fd >= 0 && write(fd, data, sizeof(data)) > 0) {
	}
	return fd;
}

/* Of a FIFO's output the monitor keeps 64 KiB, which is more than the guest has to say. */
static bool has_missed(struct machine *machine, long least_bytes)
{
	long lost = sum_metric(machine, "uart", "missed_write_count");
	long errors = sum_metric(machine, "uart", "error_count");
	long lines = sum_metric(machine, "logger", "missed_log_count");

	return (lost >= least_bytes && (errors > 0) == (least_bytes > 0) && lines > 0) ||
	       machine_fail(machine, "missed: %ld bytes by %ld errors, %ld lines", lost, errors,
			    lines);
}

static bool try_full_disk(struct machine *machine)
{
	return host_mounts_isolate(machine) && host_mount(machine, "small", SMALL_KIB) &&
	       host_fill(machine, "small/ballast") &&
	       start_flood(machine, "small/serial", "small/log", "metrics") &&
	       has_missed(machine, FLOOD_LEN) &&
	       start_flood(machine, "serial", "log", "small/metrics") &&
	       machine_disk_kib(machine, "small/metrics") == 0;
}

static bool run_sinks(struct machine *machine)
{
	bool ok = try_full_disk(machine);
	char path[PATH_LEN];

	machine_kill(machine);
	host_unmount(machine, "small");
	machine_path(machine, "metrics", path);
	unlink(path);

	int serial = ok ? make_full_fifo(machine, "serial.fifo") : -1;
	int log = ok ? make_full_fifo(machine, "log.fifo") : -1;
	int metrics = ok ? make_full_fifo(machine, "metrics.fifo") : -1;

	ok = serial >= 0 && log >= 0 && metrics >= 0 &&
	     start_flood(machine, "serial.fifo", "log.fifo", "metrics") && has_missed(machine, 0);
	close(serial);
	close(log);
	/* Now without any reader, too. */
	return ok && start_flood(machine, "serial.fifo", "log.fifo", "metrics.fifo") &&
	       close(metrics) == 0;
}

const struct device_test fault_tests[] = {
	{"faults: a full disk, bad sectors, a file that is cut; another disk goes on", run_disks,
	 300},
	{"faults: a TAP that is down, then deleted; another one goes on", run_taps, 300},
	{"faults: sinks on a full disk, and those that nobody reads", run_sinks, 120},
	{NULL, NULL, 0},
};

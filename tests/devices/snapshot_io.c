/* SPDX-License-Identifier: Apache-2.0 */
/* Machines that are saved and loaded amid I/O: disks, networks, virtio sockets. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/devices/host_net.h"
#include "tests/devices/machine.h"
#include "tests/devices/saved.h"

enum {
	GENERATIONS = 10,
	GENERATIONS_AGAIN = 4, /* of each kind one, on the second transport */
	RANDOM_MS = 300,
	WAIT_MS = 60000,
};

/* --- disks --- */

static bool put_disk(struct squib *squib, const char *id, const char *engine)
{
	char path[64];

	snprintf(path, sizeof(path), "/drives/%s", id);
	return squib_put(squib, path,
			 "{\"drive_id\": \"%s\", \"is_root_device\": false, \"path_on_host\": "
			 "\"%s\", \"cache_type\": \"Writeback\", \"num_queues\": 2, "
			 "\"io_engine\": \"%s\"}",
			 id, id, engine);
}

static bool check_filesystem(struct squib *squib, const char *disk)
{
	char e2fsck[PATH_LEN];

	snprintf(e2fsck, sizeof(e2fsck), "%.400s/e2fsck", env("DEVICES_DIR"));
	return machine_run(squib, "%s -fn %s", e2fsck, disk);
}

/* Saves and loads at random moments, Full and Diff, with and without tracking. */
static bool renew_amid_load(struct squib *squib)
{
	unsigned random = (unsigned)now_ms();
	unsigned generations = squib->flag == NULL ? GENERATIONS : GENERATIONS_AGAIN;

	for (unsigned i = 0; i < generations; i++) {
		random = random * 1103515245 + 12345;
		if (!squib_expect(squib, "busy", NULL)) {
			return false;
		}
		sleep_ms(random / 65536 % RANDOM_MS);
		if (!saved_renew(squib, i % 2 == 0 ? "Full" : "Diff", i / 2 % 2 == 0)) {
			return squib_fail(squib, "in generation %u", i);
		}
	}
	return squib_expect(squib, "busy", NULL);
}

static bool run_disks(struct squib *squib)
{
	const struct guest guest = {.vcpus = 2,
				    .mem_mib = 128,
				    .script = "/tests/snapshot.sh disks",
				    .root = machine_root()};

	return machine_configure(squib, &guest) && machine_make_disk(squib, "vdb", 16) &&
	       machine_make_disk(squib, "vdc", 16) &&
	       machine_copy_disk(squib, "disk.mbr", "disk.mbr") &&
	       machine_run(squib, "/bin/dd if=disk.mbr of=vdd bs=1M skip=1") &&
	       put_disk(squib, "vdb", "Sync") && put_disk(squib, "vdc", "Async") &&
	       put_disk(squib, "vdd", "Async") && squib_api_start(squib, 204) &&
	       machine_meet(squib, "working") && renew_amid_load(squib) && machine_go_on(squib) &&
	       squib_expect(squib, "snapshot: done", NULL) && squib_ends(squib, 0) &&
	       check_filesystem(squib, "vdd");
}

/* --- networks --- */

/* TAPs that outlive the monitor: tap0 by its name, tap1 by this descriptor. */
struct taps {
	int tap1;
	pid_t servers[2];
};

static bool put_interfaces(struct squib *squib, const struct taps *taps)
{
	return squib_put(squib, "/network-interfaces/eth0",
			 "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\"}") &&
	       squib_put(squib, "/network-interfaces/eth1",
			 "{\"iface_id\": \"eth1\", \"host_dev_name\": \"fd:%d\"}", taps->tap1) &&
	       squib_put(squib, "/mmds/config",
			 "{\"version\": \"V2\", \"network_interfaces\": [\"eth0\"]}") &&
	       squib_put(squib, "/mmds", "{\"name\": \"first\"}");
}

static bool start_network(struct squib *squib, struct taps *taps)
{
	const struct guest guest = {.vcpus = 2,
				    .mem_mib = 192,
				    .script = "/tests/snapshot.sh network",
				    .root = machine_root()};
	int tap0 = host_net_isolate(squib) ? host_net_tap(squib, "tap0", true) : -1;

	close(tap0);
	taps->tap1 = tap0 < 0 ? -1 : host_net_tap(squib, "tap1", false);
	if (taps->tap1 < 0 || !machine_configure(squib, &guest) || !put_interfaces(squib, taps) ||
	    !host_net_up(squib, "tap0", "10.1.0.1", 1500) ||
	    !host_net_up(squib, "tap1", "10.2.0.1", 1500) || !squib_api_start(squib, 204)) {
		return false;
	}
	taps->servers[0] = machine_spawn(squib, "%s/run iperf3 -s -4", env("LOAD_DIR"));
	taps->servers[1] = machine_spawn(squib, "%s/run iperf3 -s -4 -p 5202", env("LOAD_DIR"));
	return true;
}

/* As if the TAPs were new ones, without the offloads that the ended process has set. */
static bool forget_offloads(struct squib *squib, struct taps *taps)
{
	int tap0 = host_net_tap(squib, "tap0", true);
	int other = dup(taps->tap1);
	bool ok = tap0 >= 0 && host_net_forget_offloads(squib, tap0) &&
		  host_net_forget_offloads(squib, taps->tap1);

	close(tap0);
	/* Another number, too. */
	close(taps->tap1);
	taps->tap1 = other;
	return ok;
}

/* With other metadata, put before the load. */
static bool renew_network(struct squib *squib, struct taps *taps, const char *type,
			  const char *name)
{
	char more[256];

	if (!machine_meet(squib, "streams")) {
		return false;
	}
	/* Any moment will do: streams and pings are under way. */
	sleep_ms((unsigned)now_ms() % RANDOM_MS);
	if (!saved_save(squib, type)) {
		return false;
	}
	squib_stop(squib);
	if (!forget_offloads(squib, taps) || !squib_replace(squib, NULL)) {
		return false;
	}
	snprintf(more, sizeof(more),
		 SAVED_RESUMES SAVED_TRACKS ", \"network_overrides\": [{\"iface_id\": \"eth1\", "
					    "\"host_dev_name\": \"fd:%d\"}]",
		 taps->tap1);
	return squib_put(squib, "/mmds", "{\"name\": \"%s\"}", name) && saved_load(squib, more) &&
	       machine_go_on(squib) && squib_expect(squib, "ok: the network after a load", NULL);
}

static bool run_network(struct squib *squib)
{
	struct taps taps = {.tap1 = -1};
	bool ok = start_network(squib, &taps) && machine_meet(squib, "addresses") &&
		  machine_go_on(squib) && renew_network(squib, &taps, "Full", "second") &&
		  renew_network(squib, &taps, "Diff", "third") &&
		  squib_expect(squib, "snapshot: done", NULL) && squib_ends(squib, 0);

	for (size_t i = 0; i < sizeof(taps.servers) / sizeof(taps.servers[0]); i++) {
		if (taps.servers[i] > 0) {
			kill(taps.servers[i], SIGKILL);
			waitpid(taps.servers[i], NULL, 0);
		}
	}
	if (taps.tap1 >= 0) {
		close(taps.tap1);
	}
	return ok;
}

/* --- virtio sockets --- */

static unsigned count_said(const struct squib *squib, const char *text)
{
	char *said = squib_text(squib, "host");
	unsigned count = 0;

	for (char *at = said; at != NULL && (at = strstr(at, text)) != NULL; at++) {
		count++;
	}
	free(said);
	return count;
}

/* Both of the host's lingering connections go on from here. */
static bool has_gone_on(struct squib *squib)
{
	static const char *const texts[] = {"linger: c goes on", "linger: d goes on"};
	uint64_t until = now_ms() + WAIT_MS;

	for (size_t i = 0; i < 2; i++) {
		unsigned before = count_said(squib, texts[i]);

		while (count_said(squib, texts[i]) == before) {
			if (now_ms() > until) {
				return squib_fail(squib, "no more: \"%s\"", texts[i]);
			}
			sleep_ms(20);
		}
	}
	return true;
}

/* Saves it, and loads it with another socket, where clients are before it runs. */
static bool renew_sockets(struct squib *squib, const char *type, const char *name)
{
	char more[128];

	if (!saved_save(squib, type) || !squib_replace(squib, NULL)) {
		return false;
	}
	snprintf(more, sizeof(more), ", \"vsock_override\": {\"uds_path\": \"%s\"}", name);
	if (!saved_load(squib, more)) {
		return false;
	}
	pid_t server = machine_spawn(squib, "serve unix:%s_7004 100", name);
	pid_t client = machine_spawn(squib, "send uds:%s:7003 2 2 100 once", name);

	return saved_resume(squib) && machine_go_on(squib) &&
	       squib_expect(squib, "ok: old connections ended", NULL) &&
	       squib_expect(squib, "ok: new connections", NULL) &&
	       machine_reap(squib, client, "send 7003") &&
	       machine_reap(squib, server, "serve 7004");
}

static bool run_round(struct squib *squib, const char *type, const char *now, const char *next)
{
	pid_t echo = machine_spawn(squib, "echo unix:%s_7001 3", now);

	if (!machine_meet(squib, "echoing")) {
		return false;
	}
	pid_t first = machine_spawn(squib, "linger uds:%s:7002 c", now);
	pid_t second = machine_spawn(squib, "linger uds:%s:7002 d", now);

	/* This machine goes on, with its connections. */
	return machine_go_on(squib) && has_gone_on(squib) && machine_meet(squib, "before a save") &&
	       saved_save(squib, type) && saved_resume(squib) && has_gone_on(squib) &&
	       machine_go_on(squib) && machine_meet(squib, "gone on") &&
	       renew_sockets(squib, type, next) && machine_reap(squib, first, "linger c") &&
	       machine_reap(squib, second, "linger d") && machine_reap(squib, echo, "echo 7001");
}

static bool run_sockets(struct squib *squib)
{
	const struct guest guest = {.vcpus = 2,
				    .mem_mib = 128,
				    .script = "/tests/snapshot.sh sockets",
				    .root = machine_root()};

	return machine_configure(squib, &guest) &&
	       squib_put(squib, "/vsock", "{\"guest_cid\": 3, \"uds_path\": \"v.sock\"}") &&
	       squib_api_start(squib, 204) && run_round(squib, "Full", "v.sock", "w.sock") &&
	       run_round(squib, "Diff", "w.sock", "x.sock") &&
	       squib_expect(squib, "snapshot: done", NULL) && squib_ends(squib, 0);
}

const struct device_test snapshot_io_tests[] = {
	{"snapshot: disks under fio, generations of Full and Diff", run_disks, 600},
	{"snapshot: networks amid streams and floods, offloads, metadata", run_network, 300},
	{"snapshot: sockets, old connections and new ones, another path", run_sockets, 300},
	{NULL, NULL, 0},
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Saving a machine and loading it, over and over: what the guest says goes on as if nothing was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/devices/host_disk.h"
#include "tests/devices/host_net.h"
#include "tests/devices/machine.h"
#include "tests/devices/saved.h"

enum {
	GENERATIONS = 10,
	COUNTED = 20,	  /* in each */
	SMALL_KIB = 1024, /* a file system that no snapshot fits on */
	CLONES = 2,
};

/* --- a payload that counts --- */

/* Each number stands there once, and in order, wherever a pause has cut the line. */
static bool is_counted(struct squib *squib)
{
	char *all = squib_text(squib, "out");
	unsigned long next = 1;
	bool is_ok = all != NULL;

	for (char *rest = all, *line; is_ok && (line = strsep(&rest, "\n")) != NULL;) {
		char want[64];

		(void)snprintf(want, sizeof(want), "count: %lu", next);
		if (rest == NULL) {
			break; /* the last one may be cut */
		}
		is_ok = strcmp(line, want) == 0 ||
			squib_fail(squib, "a line is \"%s\", not \"%s\"", line, want);
		next++;
	}
	free(all);
	return is_ok && (next > (unsigned long)GENERATIONS * COUNTED ||
			 squib_fail(squib, "only %lu numbers", next));
}

static bool expect_count(struct squib *squib, unsigned count)
{
	bool is_ok = true;

	while (count-- > 0 && is_ok) {
		is_ok = squib_expect(squib, "count: ", NULL);
	}
	return is_ok;
}

static bool run_generations(struct squib *squib)
{
	const struct guest guest = {.vcpus = 1, .mem_mib = 128, .payload = "count"};
	bool is_ok = machine_configure(squib, &guest) && squib_put(squib, "/entropy", "{}") &&
		     squib_api_start(squib, 204);

	for (unsigned i = 0; i < GENERATIONS && is_ok; i++) {
		is_ok = expect_count(squib, COUNTED) &&
			saved_renew(squib, i % 3 == 1 ? "Diff" : "Full", i % 2 != 0);
	}
	return is_ok && expect_count(squib, COUNTED) && is_counted(squib);
}

/* --- a Linux guest: its console, and memory that it checks --- */

/* "tally 1", "tally 2"... up to what "counted" names. */
static bool has_lines(struct squib *squib)
{
	char last[MESSAGE_LEN];

	if (!squib_expect(squib, "counted ", last)) {
		return false;
	}
	unsigned long end = strtoul(last, NULL, 10);
	char *all = squib_text(squib, "out");
	const char *at = all;
	bool is_ok = all != NULL;

	for (unsigned long i = 1; i <= end && is_ok; i++) {
		char want[32];
		int len = snprintf(want, sizeof(want), "tally %lu\r\n", i);
		const char *next = strstr(at, "tally ");

		is_ok = (next != NULL && strncmp(next, want, (size_t)len) == 0) ||
			squib_fail(squib, "where tally %lu is expected, the console has \"%.20s\"",
				   i, next != NULL ? next : "");
		at = is_ok ? next + len : NULL;
	}
	free(all);
	return is_ok;
}

/* Saved again and again amid output: going on after it, loaded, and over the files it came from. */
static bool save_often(struct squib *squib)
{
	return squib_expect(squib, "tally 20\r", NULL) && saved_save(squib, "Full") &&
	       saved_resume(squib) && squib_expect(squib, "tally 40\r", NULL) &&
	       saved_save(squib, "Full") && saved_resume(squib) &&
	       squib_expect(squib, "tally 60\r", NULL) && saved_renew(squib, "Diff", true) &&
	       squib_expect(squib, "tally 80\r", NULL) && saved_save(squib, "Full") &&
	       saved_resume(squib) && squib_expect(squib, "tally 100\r", NULL) &&
	       saved_renew(squib, "Full", false) && squib_expect(squib, "tally 120\r", NULL) &&
	       saved_renew(squib, "Diff", true) && squib_expect(squib, "tally 140\r", NULL) &&
	       machine_go_on(squib) && has_lines(squib);
}

/* One half of a line is typed before, the other one after. */
static bool type_a_line(struct squib *squib)
{
	return machine_meet(squib, "to be typed on") && squib_ask(squib, "abc", "abc") &&
	       saved_renew(squib, "Full", true) && squib_type(squib, "def\n");
}

static bool is_full(struct squib *squib, const char *type)
{
	return squib_api(squib, 400, "PUT", "/snapshot/create",
			 "{\"snapshot_type\": \"%s\", \"snapshot_path\": \"small/state\", "
			 "\"mem_file_path\": \"small/memory\"}",
			 type) &&
	       (strstr(squib->answer, "No space left on device") != NULL ||
		squib_fail(squib, "a full disk is answered %.300s", squib->answer));
}

/* No page is forgotten by a save that fails. */
static bool fill_disk(struct squib *squib)
{
	bool ok = machine_meet(squib, "before the full disk") &&
		  host_mount(squib, "small", SMALL_KIB) &&
		  squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") && is_full(squib, "Diff") &&
		  is_full(squib, "Full") && saved_resume(squib) && machine_go_on(squib) &&
		  machine_meet(squib, "after the full disk") && saved_renew(squib, "Diff", false) &&
		  machine_go_on(squib);

	host_unmount(squib, "small");
	return ok;
}

static bool run_again(struct squib *squib)
{
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = 128,
				    .script = "/tests/snapshot.sh again",
				    .root = machine_root()};

	return host_mounts_isolate(squib) && machine_configure(squib, &guest) &&
	       squib_patch(squib, "/machine-config", "{\"track_dirty_pages\": true}") &&
	       squib_put(squib, "/entropy", "{}") && squib_api_start(squib, 204) &&
	       machine_meet(squib, "counting") && save_often(squib) && type_a_line(squib) &&
	       fill_disk(squib) && squib_expect(squib, "snapshot: done", NULL) &&
	       squib_ends(squib, 0);
}

/* --- two machines from one snapshot --- */

static bool start_to_clone(struct squib *squib)
{
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = 128,
				    .script = "/tests/snapshot.sh clone",
				    .root = machine_root()};

	return host_net_isolate(squib) && machine_configure(squib, &guest) &&
	       machine_make_disk(squib, "vdb", 8) &&
	       squib_put(squib, "/drives/vdb",
			 "{\"drive_id\": \"vdb\", \"is_root_device\": false, \"path_on_host\": "
			 "\"vdb\", \"cache_type\": \"Writeback\"}") &&
	       squib_put(squib, "/network-interfaces/eth0",
			 "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\"}") &&
	       squib_put(squib, "/vsock", "{\"guest_cid\": 3, \"uds_path\": \"v.sock\"}") &&
	       squib_api_start(squib, 204) && squib_expect(squib, "ready: to be cloned", NULL);
}

/* With a disk, a TAP and a socket of its own; `number` is what its guest is told. */
static bool load_clone(struct squib *clone, const struct squib *from, unsigned number)
{
	char address[32];
	char tap[16];

	(void)snprintf(address, sizeof(address), "10.%u.0.1", number);
	(void)snprintf(tap, sizeof(tap), "tap%u", number);
	return machine_run(clone, "/bin/cp %s/vdb disk", from->dir) && squib_serve(clone, NULL) &&
	       squib_put(clone, "/snapshot/load",
			 "{\"snapshot_path\": \"%.300s/state\", \"mem_backend\": "
			 "{\"backend_path\": \"%.300s/memory\", \"backend_type\": \"File\"}, "
			 "\"drive_overrides\": [{\"drive_id\": \"vdb\", \"path_on_host\": "
			 "\"disk\"}], \"network_overrides\": [{\"iface_id\": \"eth0\", "
			 "\"host_dev_name\": \"%s\"}], \"vsock_override\": {\"uds_path\": "
			 "\"own.sock\"}" SAVED_RESUMES "}",
			 from->dir, from->dir, tap) &&
	       host_net_up(clone, tap, address, 1500);
}

static bool let_clone_write(struct squib *clone, unsigned number)
{
	char line[16];
	pid_t server = machine_spawn(clone, "serve unix:own.sock_7000 2");

	(void)snprintf(line, sizeof(line), "%u\n", number);
	return squib_type(clone, line) && machine_meet(clone, "written") &&
	       machine_reap(clone, server, "serve 7000");
}

static bool let_clones_run(struct squib clones[CLONES], const struct squib *from)
{
	for (unsigned i = 0; i < CLONES; i++) {
		if (!load_clone(&clones[i], from, i + 1)) {
			return false;
		}
	}
	for (unsigned i = 0; i < CLONES; i++) {
		if (!let_clone_write(&clones[i], i + 1)) {
			return false;
		}
	}
	for (unsigned i = 0; i < CLONES; i++) {
		if (!machine_go_on(&clones[i]) ||
		    !squib_expect(&clones[i], "snapshot: done", NULL) ||
		    !squib_ends(&clones[i], 0)) {
			return false;
		}
	}
	return true;
}

static bool run_clones(struct squib *squib)
{
	static struct squib clones[CLONES];
	bool ok = start_to_clone(squib) && saved_save(squib, "Full");

	squib_stop(squib);
	for (unsigned i = 0; i < CLONES; i++) {
		ok = squib_init(&clones[i], 1) && ok;
		clones[i].deadline_ms = squib->deadline_ms;
	}
	ok = ok && let_clones_run(clones, squib) &&
	     /* The one that both began with is as it was. */
	     machine_run(squib, "pattern check vdb 0 1024 10");
	for (unsigned i = 0; i < CLONES; i++) {
		if (clones[i].failure[0] != '\0') {
			squib_fail(squib, "clone %u: %.400s", i + 1, clones[i].failure);
			squib_show(&clones[i], "out");
		}
		squib_destroy(&clones[i]);
	}
	return ok;
}

const struct device_test snapshot_tests[] = {
	{"payload snapshot: ten generations of save and load", run_generations, 120},
	{"snapshot: console, own files, a full disk, what was typed, entropy", run_again, 300},
	{"snapshot: two machines from one, each with its own disk", run_clones, 300},
	{NULL, NULL, 0},
};

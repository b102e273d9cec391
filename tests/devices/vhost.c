/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that another process serves, by vhost-user: disks of qemu-storage-daemon. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/devices/machine.h"

enum {
	DISK_MIB = 16
};

/* --- qemu-storage-daemon --- */

/* Waits for a socket in squib's directory that somebody listens to. */
static bool wait_for_socket(struct squib *squib, const char *name)
{
	char path[PATH_LEN];

	squib_path(squib, name, path);
	while (now_ms() < squib->deadline_ms) {
		if (access(path, F_OK) == 0) {
			return true;
		}
		sleep_ms(50);
	}
	return squib_fail(squib, "the back-end makes no socket %s", name);
}

static pid_t start_daemon(struct squib *squib)
{
	char path[PATH_LEN];

	squib_path(squib, "back.sock", path);
	unlink(path);
	pid_t daemon = machine_spawn(
		squib, "/usr/bin/qemu-storage-daemon --blockdev "
		       "driver=file,node-name=disk,filename=vdb,discard=unmap,cache.direct=off "
		       "--export type=vhost-user-blk,id=export,addr.type=unix,addr.path=back.sock,"
		       "node-name=disk,writable=on,num-queues=2");

	return wait_for_socket(squib, "back.sock") ? daemon : -1;
}

static bool end_daemon(pid_t daemon)
{
	return kill(daemon, SIGKILL) == 0 && waitpid(daemon, NULL, 0) == daemon;
}

static bool put_disk(struct squib *squib)
{
	return machine_make_disk(squib, "vdb", DISK_MIB) &&
	       machine_run(squib, "/usr/sbin/mke2fs -q -t ext4 vdb");
}

static bool put_drive(struct squib *squib)
{
	return squib_put(squib, "/drives/vdb",
			 "{\"drive_id\": \"vdb\", \"is_root_device\": false, \"cache_type\": "
			 "\"Writeback\", \"socket\": \"back.sock\", \"num_queues\": 2}");
}

/* [compat] Firecracker's sentence. */
static bool is_not_saved(struct squib *squib)
{
	return squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") &&
	       squib_api(squib, 400, "PUT", "/snapshot/create",
			 "{\"snapshot_path\": \"state\", \"mem_file_path\": \"memory\"}") &&
	       (strstr(squib->answer, "Devices without snapshot support are present: "
				      "vhost-user-block(id: vdb)") != NULL ||
		squib_fail(squib, "the snapshot is refused by: %s", squib->answer)) &&
	       squib_patch(squib, "/vm", "{\"state\": \"Resumed\"}");
}

static bool run_daemon(struct squib *squib)
{
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 128, .script = "/tests/vhost.sh", .root = machine_root()};
	char rest[MESSAGE_LEN];
	pid_t daemon = -1;

	if (!machine_configure(squib, &guest) || !put_disk(squib) ||
	    (daemon = start_daemon(squib)) < 0 || !put_drive(squib) ||
	    !squib_api_start(squib, 204) || !squib_expect(squib, "ok: cache write back", NULL) ||
	    !squib_expect(squib, "ok: loaded", NULL) || !machine_meet(squib, "back-end to end") ||
	    !is_not_saved(squib) || !end_daemon(daemon) ||
	    !squib_expect(squib, "has lost its back-end back.sock, and looks for it", NULL) ||
	    (daemon = start_daemon(squib)) < 0 || !machine_go_on(squib) ||
	    !squib_expect(squib, "has its back-end back.sock again", NULL) ||
	    !squib_expect(squib, "ok: served again", NULL) ||
	    !squib_patch(squib, "/drives/vdb", "{\"drive_id\": \"vdb\"}") ||
	    !machine_meet(squib, "sectors 32768") || !end_daemon(daemon) ||
	    !machine_run(squib, "/usr/bin/truncate -s 20M vdb") ||
	    (daemon = start_daemon(squib)) < 0 || !machine_go_on(squib) ||
	    !squib_expect(squib, "ok: now ", rest) ||
	    (strcmp(rest, "40960") != 0 && !squib_fail(squib, "the guest sees %s sectors", rest)) ||
	    !squib_expect(squib, "ok: unbound and bound", NULL) ||
	    !squib_expect(squib, "vhost: done", NULL) || !squib_ends(squib, 0)) {
		return false;
	}
	return end_daemon(daemon);
}

const struct device_test vhost_tests[] = {
	{"vhost: a disk of qemu-storage-daemon, which ends and comes again", run_daemon, 300},
	{0},
};

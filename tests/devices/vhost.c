/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that another process serves, by vhost-user. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/devices/machine.h"
#include "tests/devices/saved.h"

enum {
	DISK_MIB = 16
};

/* --- qemu-storage-daemon --- */

static pid_t start_daemon(struct squib *squib)
{
	char path[PATH_LEN];

	squib_path(squib, "back.sock", path);
	unlink(path);
	pid_t daemon = machine_spawn(
		squib,
		"%.300s/qemu-storage-daemon --blockdev "
		"driver=file,node-name=disk,filename=vdb,discard=unmap "
		"--export type=vhost-user-blk,id=export,addr.type=unix,addr.path=back.sock,"
		"node-name=disk,writable=on,num-queues=2",
		env("BACKENDS_DIR"));

	return machine_wait_socket(squib, "back.sock", "the back-end") ? daemon : -1;
}

static bool end_daemon(pid_t daemon)
{
	return kill(daemon, SIGKILL) == 0 && waitpid(daemon, NULL, 0) == daemon;
}

static bool put_disk(struct squib *squib)
{
	return machine_make_disk(squib, "vdb", DISK_MIB) &&
	       machine_run(squib, "/usr/sbin/mke2fs -q -F vdb");
}

static bool put_drive(struct squib *squib)
{
	return squib_put(squib, "/drives/vdb",
			 "{\"drive_id\": \"vdb\", \"is_root_device\": false, \"cache_type\": "
			 "\"Writeback\", \"socket\": \"back.sock\", \"num_queues\": 2}");
}

/* The snapshot is refused by this sentence, and the machine goes on. */
static bool is_not_saved(struct squib *squib, const char *why)
{
	return squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") &&
	       squib_api(squib, 400, "PUT", "/snapshot/create",
			 "{\"snapshot_path\": \"state\", \"mem_file_path\": \"memory\"}") &&
	       (strstr(squib->answer, why) != NULL ||
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
	    /* [compat] Firecracker's sentence. */
	    !is_not_saved(squib, "Devices without snapshot support are present: "
				 "vhost-user-block(id: vdb)") ||
	    !end_daemon(daemon) ||
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

/* --- A back-end that keeps account of requests in flight --- */

enum {
	KILLS = 4
};

/* `what` it serves: a disk, or a count. */
static pid_t start_backend(struct squib *squib, const char *what)
{
	char path[PATH_LEN];

	squib_path(squib, "back.sock", path);
	unlink(path);
	pid_t backend = machine_spawn(squib, "backend back.sock %s", what);

	return machine_wait_socket(squib, "back.sock", "the back-end") ? backend : -1;
}

/*
 * Kills it while the guest writes, reads and verifies, and starts it again. The first time it has
 * requests in flight for certain.
 */
static bool kill_often(struct squib *squib, pid_t *backend)
{
	for (unsigned i = 0; i < KILLS; i++) {
		sleep_ms(500 + 130 * i);
		if (kill(*backend, i == 0 ? SIGUSR1 : SIGKILL) < 0 ||
		    waitpid(*backend, NULL, 0) != *backend ||
		    !squib_expect(squib, "has lost its back-end back.sock, and looks for it",
				  NULL) ||
		    (*backend = start_backend(squib, "vdb")) < 0 ||
		    !squib_expect(squib, "has its back-end back.sock again", NULL)) {
			return false;
		}
	}
	return true;
}

/* The next one has found requests that the one before had not answered. */
static bool had_in_flight(struct squib *squib)
{
	char *said = squib_text(squib, "host");
	bool had = false;

	for (char *at = said; at != NULL && (at = strstr(at, "backend: ")) != NULL; at++) {
		had |= at[strlen("backend: ")] >= '1' && at[strlen("backend: ")] <= '9';
	}
	free(said);
	return had || squib_fail(squib, "no back-end was killed with requests in flight");
}

static bool run_kills(struct squib *squib)
{
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 128, .script = "/tests/replay.sh", .root = machine_root()};
	pid_t backend = -1;
	bool ok = machine_configure(squib, &guest) && machine_make_disk(squib, "vdb", DISK_MIB) &&
		  (backend = start_backend(squib, "vdb")) > 0 && put_drive(squib) &&
		  squib_api_start(squib, 204) && machine_meet(squib, "load") &&
		  machine_go_on(squib) && kill_often(squib, &backend) &&
		  machine_meet(squib, "loaded") &&
		  machine_run(squib, "/usr/bin/truncate -s 20M vdb") &&
		  squib_patch(squib, "/drives/vdb", "{\"drive_id\": \"vdb\"}") &&
		  machine_go_on(squib) && squib_expect(squib, "ok: now 40960", NULL) &&
		  squib_expect(squib, "replay: done", NULL) && squib_ends(squib, 0);

	return ok && had_in_flight(squib) && machine_reap(squib, backend, "backend");
}

/* --- virtiofsd --- */

/* Serves a folder of squib's directory by the socket <folder>.sock. */
static pid_t start_fs(struct squib *squib, const char *folder)
{
	char socket[64];
	char path[PATH_LEN];

	squib_path(squib, folder, path);
	pid_t daemon = machine_spawn(squib,
				     "%.200s/virtiofsd -f --socket-path=%s.sock "
				     "-o source=%.200s -o sandbox=chroot",
				     env("BACKENDS_DIR"), folder, path);

	snprintf(socket, sizeof(socket), "%s.sock", folder);
	return machine_wait_socket(squib, socket, "the back-end") ? daemon : -1;
}

static bool put_fs(struct squib *squib, const char *tag)
{
	char path[64];

	snprintf(path, sizeof(path), "/filesystems/%s", tag);
	return squib_put(squib, path, "{\"tag\": \"%s\", \"socket\": \"%s.sock\"}", tag, tag);
}

/* The folder "rootfs" is the tree of the disk that other guests boot from. */
static bool make_folders(struct squib *squib)
{
	return machine_run(squib, "/bin/mkdir rootfs shared") &&
	       machine_run(squib, "/bin/tar -xf %.400s/rootfs.tar -C rootfs", env("DEVICES_DIR")) &&
	       squib_write(squib, "shared/from_host", "host's\n");
}

static bool share(struct squib *squib, pid_t *rootfs, pid_t *shared)
{
	const struct guest guest = {.vcpus = 2,
				    .mem_mib = 128,
				    .script = "/tests/fs.sh",
				    .words = "root=rootfs rootfstype=virtiofs ro"};

	return machine_configure(squib, &guest) && (*rootfs = start_fs(squib, "rootfs")) > 0 &&
	       (*shared = start_fs(squib, "shared")) > 0 && put_fs(squib, "rootfs") &&
	       put_fs(squib, "shared") && squib_api_start(squib, 204) &&
	       squib_expect(squib, "ok: root", NULL) && machine_meet(squib, "written") &&
	       machine_run(squib, "pattern check shared/folder/file 0 8192 5") &&
	       squib_write(squib, "shared/answer", "") && machine_go_on(squib) &&
	       squib_expect(squib, "ok: shared", NULL) &&
	       squib_expect(squib, "ok: unbound and bound", NULL) &&
	       machine_meet(squib, "back-end to end") &&
	       is_not_saved(squib, "present: virtio-fs(id: rootfs),virtio-fs(id: shared). The "
				   "back-end must hand out its state") &&
	       end_daemon(*shared) &&
	       squib_expect(squib, "has lost its back-end shared.sock", NULL) &&
	       machine_go_on(squib) && squib_expect(squib, "ok: the root goes on", NULL) &&
	       squib_expect(squib, "fs: done", NULL) && squib_ends(squib, 0);
}

static bool run_fs(struct squib *squib)
{
	pid_t rootfs = -1;
	pid_t shared = -1;

	if (!make_folders(squib)) {
		return false;
	}
	bool ok = share(squib, &rootfs, &shared);

	squib_stop(squib);
	if (rootfs > 0) {
		(void)end_daemon(rootfs);
	}
	return machine_run(squib, "/bin/rm -rf rootfs shared") && ok;
}

/* --- virtiofsd in Rust, which hands out its state --- */

static pid_t start_rust(struct squib *squib)
{
	char path[PATH_LEN];

	squib_path(squib, "shared.sock", path);
	unlink(path);
	squib_path(squib, "shared", path);
	pid_t daemon = machine_spawn(squib,
				     "%.300s --socket-path=shared.sock --shared-dir=%.200s "
				     "--sandbox=chroot",
				     env("VIRTIOFSD"), path);

	return machine_wait_socket(squib, "shared.sock", "virtiofsd") ? daemon : -1;
}

/* The saved machine goes on for a while, then the loaded one does the same again. */
static bool save_files(struct squib *squib, pid_t *daemon)
{
	return machine_meet(squib, "saved") && saved_save(squib, "Full") && saved_resume(squib) &&
	       machine_go_on(squib) && machine_meet(squib, "loaded") && saved_save(squib, "Full") &&
	       squib_replace(squib, NULL) && machine_reap(squib, *daemon, "virtiofsd") &&
	       (*daemon = start_rust(squib)) > 0 && saved_load(squib, SAVED_RESUMES) &&
	       machine_go_on(squib) && squib_expect(squib, "fs: done", NULL) &&
	       squib_ends(squib, 0);
}

static bool run_rust(struct squib *squib)
{
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 128, .script = "/tests/fs_saved.sh", .root = machine_root()};
	pid_t daemon = -1;
	bool ok = machine_run(squib, "/bin/mkdir shared") && machine_configure(squib, &guest) &&
		  (daemon = start_rust(squib)) > 0 && put_fs(squib, "shared") &&
		  squib_api_start(squib, 204) && save_files(squib, &daemon) &&
		  machine_run(squib, "pattern check shared/folder/moved 0 65536 5");

	squib_stop(squib);
	if (daemon > 0) {
		(void)end_daemon(daemon);
	}
	return machine_run(squib, "/bin/rm -rf shared") && ok;
}

/* --- What a back-end has of a device, saved and loaded --- */

/* What is refused leaves the machine as it was. */
static bool has_full_alone(struct squib *squib)
{
	return squib_api(squib, 400, "PUT", "/snapshot/create",
			 "{\"snapshot_type\": \"Diff\", \"snapshot_path\": \"state\", "
			 "\"mem_file_path\": \"memory\"}") &&
	       (strstr(squib->answer, "only a full snapshot has all") != NULL ||
		squib_fail(squib, "a Diff is refused by: %s", squib->answer));
}

/* From one back-end to the next, amid requests; the saved machine goes on as well. */
static bool renew_count(struct squib *squib, pid_t *backend)
{
	return saved_save(squib, "Full") && has_full_alone(squib) && saved_resume(squib) &&
	       squib_type(squib, "a") && squib_expect(squib, "remote: on", NULL) &&
	       saved_save(squib, "Full") && saved_save(squib, "Full") &&
	       squib_replace(squib, NULL) && machine_reap(squib, *backend, "backend") &&
	       (*backend = start_backend(squib, "count")) > 0 && saved_load(squib, SAVED_RESUMES) &&
	       squib_type(squib, "b") && squib_expect(squib, "remote: on", NULL);
}

static bool run_count(struct squib *squib)
{
	const struct guest guest = {.vcpus = 1, .mem_mib = 64, .payload = "remote"};
	pid_t backend = -1;
	bool ok = machine_configure(squib, &guest) &&
		  (backend = start_backend(squib, "count")) > 0 &&
		  squib_put(squib, "/filesystems/count",
			    "{\"tag\": \"count\", \"socket\": \"back.sock\"}") &&
		  squib_api_start(squib, 204) && squib_expect(squib, "remote: begun", NULL) &&
		  renew_count(squib, &backend) && renew_count(squib, &backend) &&
		  squib_type(squib, "q") && squib_expect(squib, "remote: done", NULL) &&
		  squib_ends(squib, 0);

	return ok && machine_reap(squib, backend, "backend");
}

const struct device_test vhost_tests[] = {
	{"vhost: a disk of qemu-storage-daemon, which ends and comes again", run_daemon, 300},
	{"vhost: a disk whose process is killed amid I/O loses nothing", run_kills, 300},
	{"vhost: file systems of virtiofsd, one to boot from", run_fs, 300},
	{"virtiofsd: open files go with a snapshot", run_rust, 300},
	{"payload remote: what a back-end has goes with a snapshot", run_count, 60},
	{0},
};

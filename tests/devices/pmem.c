/* SPDX-License-Identifier: Apache-2.0 */
/* Persistent memory under Linux: the root, DAX, files that fail, snapshots, plugging. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/devices/host_disk.h"
#include "tests/devices/machine.h"
#include "tests/devices/saved.h"

enum {
	SMALL_KIB = 2048, /* for a file of 8 MiB */
	CUT_KIB = 1024,
};

static bool put(struct squib *squib, const char *id, const char *file, const char *more)
{
	char path[64];

	snprintf(path, sizeof(path), "/pmem/%s", id);
	return squib_put(squib, path, "{\"id\": \"%s\", \"path_on_host\": \"%s\"%s}", id, file,
			 more);
}

static bool has_logged(struct squib *squib, const char *sentence)
{
	size_t len = 0;
	char *log = squib_file(squib, "log", &len);
	bool ok = log != NULL && strstr(log, sentence) != NULL;

	free(log);
	return ok || squib_fail(squib, "the log lacks \"%s\"", sentence);
}

/* All of 8 MiB. That a hole is read may give it pages: on a tmpfs. */
static bool is_zero(struct squib *squib, const char *name)
{
	size_t len = 0;
	char *bytes = squib_file(squib, name, &len);
	bool ok = bytes != NULL && len > 0;

	for (size_t i = 0; ok && i < len; i++) {
		ok = bytes[i] == 0;
	}
	free(bytes);
	return ok;
}

/* What the guest was told is written is in the files, and only there where it may be. */
static bool check_files(struct squib *squib)
{
	return machine_meet(squib, "written") &&
	       machine_run(squib, "pattern check raw 0 8192 62") && machine_go_on(squib) &&
	       machine_meet(squib, "to be saved") &&
	       (is_zero(squib, "read_only") ||
		squib_fail(squib, "a read-only file was written to"));
}

static bool cut(struct squib *squib)
{
	char path[PATH_LEN];

	squib_path(squib, "cut", path);
	return machine_meet(squib, "to be cut") && truncate(path, CUT_KIB << 10) == 0 &&
	       machine_go_on(squib) && squib_expect(squib, "ok: cut", NULL) &&
	       has_logged(squib, "The file of the pmem device cut was cut from 8388608 to 1048576 "
				 "bytes: its guest finds zeroes in place of the rest");
}

static bool fill(struct squib *squib)
{
	return squib_expect(squib, "ok: full", NULL) &&
	       has_logged(squib, "The disk has no room for the holes of the file of the pmem "
				 "device sparse");
}

static bool try_memory(struct squib *squib)
{
	const struct guest guest = {.vcpus = 2,
				    .mem_mib = 128,
				    .script = "/tests/pmem.sh memory",
				    .words = "rootflags=dax"};

	return host_mounts_isolate(squib) && host_mount(squib, "small", SMALL_KIB) &&
	       machine_make_disk(squib, "raw", 8) && machine_make_disk(squib, "read_only", 8) &&
	       machine_make_disk(squib, "cut", 8) && machine_make_disk(squib, "small/sparse", 8) &&
	       machine_make_disk(squib, "disk", 8) &&
	       machine_copy_disk(squib, "rootfs.ext4", "fs") && machine_configure(squib, &guest) &&
	       put(squib, "root", machine_root(), ", \"root_device\": true, \"read_only\": true") &&
	       put(squib, "fs", "fs", "") && put(squib, "raw", "raw", "") &&
	       put(squib, "read_only", "read_only", ", \"read_only\": true") &&
	       put(squib, "cut", "cut", "") && put(squib, "sparse", "small/sparse", "") &&
	       squib_put(squib, "/drives/disk",
			 "{\"drive_id\": \"disk\", \"is_root_device\": false, \"path_on_host\": "
			 "\"disk\"}") &&
	       squib_api_start(squib, 204) && squib_expect(squib, "ok: loads", NULL) &&
	       check_files(squib) && saved_renew(squib, "Full", false) && machine_go_on(squib) &&
	       squib_expect(squib, "ok: loaded", NULL) && cut(squib) && fill(squib) &&
	       squib_expect(squib, "pmem: done", NULL) && squib_ends(squib, 0);
}

static bool run_memory(struct squib *squib)
{
	bool ok = try_memory(squib);

	squib_stop(squib);
	host_unmount(squib, "small");
	return ok;
}

/* --- plugging --- */

static bool unplug(struct squib *squib, const char *body)
{
	return squib_api(squib, 204, "DELETE", "/pmem/hot", "%s", body);
}

static bool try_round(struct squib *squib, unsigned round)
{
	char name[64];

	snprintf(name, sizeof(name), "round %u", round);
	if (!machine_meet(squib, name) || !put(squib, "hot", "fs", "") || !machine_go_on(squib) ||
	    (round == 2 && (!machine_meet(squib, "to be saved") ||
			    !saved_renew(squib, "Full", false) || !machine_go_on(squib)))) {
		return false;
	}
	snprintf(name, sizeof(name), "round %u removed", round);
	return machine_meet(squib, name) && unplug(squib, "") && machine_go_on(squib);
}

static bool run_plug(struct squib *squib)
{
	const struct guest guest = {.vcpus = 2,
				    .mem_mib = 128,
				    .script = "/tests/pmem.sh plug",
				    .root = machine_root()};

	squib->flag = "--enable-pci";
	return machine_configure(squib, &guest) &&
	       squib_patch(squib, "/machine-config", "{\"pci_hotplug_ports\": 4}") &&
	       machine_copy_disk(squib, "rootfs.ext4", "fs") && squib_api_start(squib, 204) &&
	       try_round(squib, 1) && try_round(squib, 2) &&
	       squib_expect(squib, "ok: plugged and unplugged", NULL) &&
	       machine_meet(squib, "a last one") &&
	       put(squib, "hot", "fs", ", \"read_only\": true") && machine_go_on(squib) &&
	       machine_meet(squib, "to be unplugged under load") &&
	       unplug(squib, "{\"force\": true}") && machine_go_on(squib) &&
	       squib_expect(squib, "pmem: done", NULL) && squib_ends(squib, 0);
}

/* --- a payload guest --- */

enum {
	MARKED_LEN = 4 << 20,
};

/* As tests/guests/payload/virtio.h has it. */
#define DISK_MARK UINT64_C(0x7371756200000000)

static bool make_marked(struct squib *squib, const char *path)
{
	uint64_t words[512];
	FILE *file = fopen(path, "w");
	bool ok = file != NULL;

	for (uint64_t at = 0; ok && at < MARKED_LEN; at += sizeof(words)) {
		for (uint64_t i = 0; i < sizeof(words) / 8; i++) {
			words[i] = DISK_MARK + at + i * 8;
		}
		ok = fwrite(words, sizeof(words), 1, file) == 1;
	}
	ok = file != NULL && fclose(file) == 0 && ok;
	return ok || squib_fail(squib, "cannot make %s", path);
}

/* The guest has written a word to the second page, and one to the last. */
static bool check_word(struct squib *squib, const char *path, uint64_t at, uint64_t expected)
{
	uint64_t word = 0;
	FILE *file = fopen(path, "r");
	bool ok = file != NULL && fseek(file, (long)at, SEEK_SET) == 0 &&
		  fread(&word, sizeof(word), 1, file) == 1 && word == expected;

	if (file != NULL) {
		(void)fclose(file);
	}
	return ok || squib_fail(squib, "%s has %#llx at %llu", path, (unsigned long long)word,
				(unsigned long long)at);
}

/* What becomes of all but the first MiB of the file, and what the log says of it. */
struct loss {
	bool (*lose)(struct squib *squib, const char *path);
	const char *sentence;
};

static bool lose_end(struct squib *squib, const char *path)
{
	return truncate(path, CUT_KIB << 10) == 0 || squib_fail(squib, "cannot cut %s", path);
}

/* Holes, and a disk that has no room for them. */
static bool lose_room(struct squib *squib, const char *path)
{
	char ballast[PATH_LEN];
	int fd = open(path, O_RDWR | O_CLOEXEC);
	bool ok = fd >= 0 && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				       CUT_KIB << 10, MARKED_LEN - (CUT_KIB << 10)) == 0;

	if (fd >= 0) {
		close(fd);
	}
	squib_path(squib, "small/ballast", ballast);
	return ok ? host_fill(squib, "small/ballast")
		  : squib_fail(squib, "cannot make a hole in %s", path);
}

static const struct loss cut_off = {lose_end, "was cut from 4194304 to 1048576 bytes"};
static const struct loss no_room = {lose_room, "The disk has no room for the holes of the file"};

static bool try_payload(struct squib *squib, const char *more, const struct loss *loss)
{
	const struct guest guest = {.vcpus = 1, .mem_mib = 64, .payload = "pmem"};
	bool is_written = more[0] == '\0';
	char path[PATH_LEN];

	if (!host_mounts_isolate(squib) || !host_mount(squib, "small", 2 * MARKED_LEN >> 10) ||
	    !machine_configure(squib, &guest)) {
		return false;
	}
	squib_path(squib, "small/marked", path);
	return make_marked(squib, path) && put(squib, "marked", "small/marked", more) &&
	       squib_api_start(squib, 204) && squib_expect(squib, "pmem: 4 MiB ok", NULL) &&
	       check_word(squib, path, 4096, is_written ? UINT64_MAX : DISK_MARK + 4096) &&
	       loss->lose(squib, path) && squib_type(squib, "x") &&
	       squib_expect(squib, "pmem: after the loss ok", NULL) &&
	       has_logged(squib, loss->sentence) && squib_ends(squib, 0);
}

static bool play(struct squib *squib, const char *more, const struct loss *loss)
{
	bool ok = try_payload(squib, more, loss);

	squib_stop(squib);
	host_unmount(squib, "small");
	return ok;
}

#define READ_ONLY ", \"read_only\": true"

static bool run_cut(struct squib *squib)
{
	return play(squib, "", &cut_off);
}

static bool run_cut_private(struct squib *squib)
{
	return play(squib, READ_ONLY, &cut_off);
}

static bool run_full(struct squib *squib)
{
	return play(squib, "", &no_room);
}

static bool run_full_private(struct squib *squib)
{
	return play(squib, READ_ONLY, &no_room);
}

const struct device_test pmem_tests[] = {
	{"payload pmem: its words, and zeroes where the file is cut", run_cut, 60},
	{"payload pmem: the same of a file that is read-only", run_cut_private, 60},
	{"payload pmem: zeroes where a full disk has no room for holes", run_full, 60},
	{"payload pmem: the same of a sparse file that is read-only", run_full_private, 60},
	{"pmem: a root by DAX, loads, a snapshot, files that are read-only, cut, on a full disk",
	 run_memory, 300},
	{"pmem: a device comes and goes behind hot-plug ports", run_plug, 300},
	{NULL, NULL, 0},
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden snapshots: those of every version of the format are kept in tests/golden and load for
 * ever. With $GOLDEN_OUT one is made in place of loading them, of a squib with $GOLDEN_FLAG if
 * there is one.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/devices/machine.h"

enum {
	COUNTED = 20,
	DISK_LEN = 4096,
};

static bool expect_count(struct squib *squib)
{
	bool is_ok = true;

	for (unsigned i = 0; i < COUNTED && is_ok; i++) {
		is_ok = squib_expect(squib, "count: ", NULL);
	}
	return is_ok;
}

/* Copies a file, by names of any directory. */
static bool copy(struct squib *squib, const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	off_t left = lseek(in, 0, SEEK_END);
	bool is_ok = in >= 0 && out >= 0 && lseek(in, 0, SEEK_SET) == 0;

	while (is_ok && left > 0) {
		ssize_t sent = sendfile(out, in, NULL, (size_t)left);

		is_ok = sent > 0;
		left -= sent;
	}
	close(in);
	close(out);
	return is_ok || squib_fail(squib, "cannot copy %s to %s", from, to);
}

static bool make_disk(struct squib *squib)
{
	char path[PATH_LEN];

	squib_path(squib, "disk", path);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	bool is_ok = fd >= 0 && ftruncate(fd, DISK_LEN) == 0;

	close(fd);
	return is_ok || squib_fail(squib, "cannot make the disk");
}

/* --- making one --- */

static bool keep(struct squib *squib, const char *name)
{
	char from[PATH_LEN];
	char to[PATH_LEN];

	squib_path(squib, name, from);
	snprintf(to, sizeof(to), "%.400s/%s", env("GOLDEN_OUT"), name);
	return copy(squib, from, to);
}

static bool make(struct squib *squib)
{
	const struct guest guest = {.vcpus = 2, .mem_mib = 16, .payload = "count"};

	squib->flag = getenv("GOLDEN_FLAG");
	return make_disk(squib) && machine_configure(squib, &guest) &&
	       squib_put(squib, "/drives/disk",
			 "{\"drive_id\": \"disk\", \"is_root_device\": false, \"path_on_host\": "
			 "\"disk\"}") &&
	       squib_put(squib, "/entropy", "{}") &&
	       squib_put(squib, "/balloon",
			 "{\"amount_mib\": 0, \"deflate_on_oom\": true, "
			 "\"stats_polling_interval_s\": 1}") &&
	       squib_api_start(squib, 204) && expect_count(squib) &&
	       squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") &&
	       squib_put(squib, "/snapshot/create",
			 "{\"snapshot_path\": \"state\", \"mem_file_path\": \"memory\"}") &&
	       keep(squib, "state") && keep(squib, "memory");
}

/* --- loading all --- */

/*
 * A CPU other than that of the nested machine may lack features, which are then named, or count
 * time at another frequency.
 */
static bool load(struct squib *squib, const char *dir)
{
	if (!make_disk(squib) || !squib_serve(squib, NULL)) {
		return false;
	}
	if (squib_put(squib, "/snapshot/load",
		      "{\"snapshot_path\": \"%s/state\", \"mem_file_path\": \"%s/memory\", "
		      "\"resume_vm\": true}",
		      dir, dir)) {
		return expect_count(squib);
	}
	bool is_other_cpu = strstr(squib->answer, "This host lacks") != NULL ||
			    strstr(squib->answer, "its KVM can't scale it") != NULL;

	if (is_other_cpu) {
		squib->failure[0] = '\0';
	}
	return is_other_cpu;
}

static bool load_all(struct squib *squib)
{
	DIR *dir = opendir(env("GOLDEN_DIR"));
	unsigned count = 0;
	bool is_ok = dir != NULL;

	for (const struct dirent *entry; is_ok && (entry = readdir(dir)) != NULL;) {
		char path[PATH_LEN];

		if (entry->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%.300s/%.100s", env("GOLDEN_DIR"),
				 entry->d_name);
			is_ok = load(squib, path) ||
				squib_fail(squib, "the golden snapshot %s", entry->d_name);
			squib_stop(squib);
			squib_path(squib, "api.sock", path);
			unlink(path);
			count++;
		}
	}
	if (dir != NULL) {
		closedir(dir);
	}
	return is_ok && (count > 0 || squib_fail(squib, "there is no golden snapshot"));
}

static bool run(struct squib *squib)
{
	return getenv("GOLDEN_OUT") != NULL ? make(squib) : load_all(squib);
}

const struct device_test golden_tests[] = {
	{"golden: snapshots of all versions of the format load", run, 120},
	{NULL, NULL, 0},
};

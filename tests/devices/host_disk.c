/* SPDX-License-Identifier: Apache-2.0 */
/* The host's disks that fail: a file system that is full, a device with bad sectors. */
#include "tests/devices/host_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
	TARGETS_MAX = 3,
	TARGET_LEN = 128, /* a specification and its words, aligned */
	SECTORS_PER_KIB = 2,
};

bool host_mounts_isolate(struct squib *squib)
{
	return (unshare(CLONE_NEWNS) == 0 &&
		mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0) ||
	       squib_fail(squib, "no mounts of our own: %s", strerror(errno));
}

bool host_mount(struct squib *squib, const char *name, unsigned kib)
{
	char path[PATH_LEN];
	char options[32];

	squib_path(squib, name, path);
	snprintf(options, sizeof(options), "size=%uk", kib);
	return (mkdir(path, 0700) == 0 && mount("small", path, "tmpfs", 0, options) == 0) ||
	       squib_fail(squib, "cannot mount %s: %s", name, strerror(errno));
}

void host_unmount(const struct squib *squib, const char *name)
{
	char path[PATH_LEN];

	squib_path(squib, name, path);
	umount2(path, MNT_DETACH);
	rmdir(path);
}

bool host_fill(struct squib *squib, const char *name)
{
	static const char data[4096] = "ballast";
	char path[PATH_LEN];
	ssize_t put = -1;

	squib_path(squib, name, path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	while (fd >= 0 && (put = write(fd, data, sizeof(data))) > 0) {
	}
	int sys = errno;

	if (fd >= 0) {
		close(fd);
	}
	return (put < 0 && sys == ENOSPC) ||
	       squib_fail(squib, "cannot fill %s: %s", name, strerror(sys));
}

/* --- the device mapper --- */

struct dm_request {
	struct dm_ioctl head;
	char targets[TARGETS_MAX][TARGET_LEN];
};

static int dm_call(const struct host_dm *dm, unsigned long call, struct dm_request *request)
{
	int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);

	request->head.version[0] = DM_VERSION_MAJOR;
	request->head.data_size = sizeof(*request);
	request->head.data_start = sizeof(request->head);
	snprintf(request->head.name, sizeof(request->head.name), "%s", dm->name);
	int result = fd >= 0 ? ioctl(fd, call, request) : -1;
	int sys = errno;

	if (fd >= 0) {
		close(fd);
	}
	errno = sys;
	return result;
}

static void add_target(struct dm_request *request, unsigned from_kib, unsigned end_kib,
		       const char *type, const char *words)
{
	char *at = request->targets[request->head.target_count];
	struct dm_target_spec spec = {
		.sector_start = (uint64_t)from_kib * SECTORS_PER_KIB,
		.length = (uint64_t)(end_kib - from_kib) * SECTORS_PER_KIB,
		.next = TARGET_LEN,
	};

	if (from_kib == end_kib) {
		return;
	}
	snprintf(spec.target_type, sizeof(spec.target_type), "%s", type);
	memcpy(at, &spec, sizeof(spec));
	snprintf(at + sizeof(spec), TARGET_LEN - sizeof(spec), "%s", words);
	request->head.target_count++;
}

static void add_good(struct dm_request *request, const struct host_dm *dm, unsigned from_kib,
		     unsigned end_kib, unsigned delay_ms)
{
	struct stat st = {0};
	char words[64];

	fstat(dm->loop, &st);
	snprintf(words, sizeof(words), delay_ms > 0 ? "%u:%u %u %u" : "%u:%u %u", major(st.st_rdev),
		 minor(st.st_rdev), from_kib * SECTORS_PER_KIB, delay_ms);
	add_target(request, from_kib, end_kib, delay_ms > 0 ? "delay" : "linear", words);
}

bool host_dm_change(struct squib *squib, const struct host_dm *dm, const struct bad_range *range)
{
	static struct dm_request load;
	struct dm_request resume = {0};
	unsigned bad_end = range->bad_from + range->bad_kib;

	load = (struct dm_request){0};
	add_good(&load, dm, 0, range->bad_from, range->delay_ms);
	add_target(&load, range->bad_from, bad_end, "error", "");
	add_good(&load, dm, bad_end, range->kib, range->delay_ms);
	/* Resuming changes the tables, and suspends before it if need be. */
	return (dm_call(dm, DM_TABLE_LOAD, &load) == 0 &&
		dm_call(dm, DM_DEV_SUSPEND, &resume) == 0) ||
	       squib_fail(squib, "%s gets no table: %s", dm->name, strerror(errno));
}

static bool open_loop(struct squib *squib, struct host_dm *dm, const char *file)
{
	char path[PATH_LEN];
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number = control >= 0 ? ioctl(control, LOOP_CTL_GET_FREE) : -1;

	squib_path(squib, file, path);
	struct loop_config config = {.fd = (uint32_t)open(path, O_RDWR | O_CLOEXEC),
				     .info.lo_flags = LO_FLAGS_AUTOCLEAR};

	snprintf(path, sizeof(path), "/dev/loop%d", number);
	dm->loop = open(path, O_RDWR | O_CLOEXEC);
	bool ok = dm->loop >= 0 && ioctl(dm->loop, LOOP_CONFIGURE, &config) == 0;
	int sys = errno;

	close((int)config.fd);
	close(control);
	return ok || squib_fail(squib, "no loop device on %s: %s", file, strerror(sys));
}

bool host_dm_init(struct squib *squib, struct host_dm *dm, const char *file,
		  const struct bad_range *range)
{
	struct dm_request request = {0};

	*dm = (struct host_dm){.loop = -1};
	snprintf(dm->name, sizeof(dm->name), "squib%d-%s", (int)getpid(), file);
	if (!open_loop(squib, dm, file)) {
		return false;
	}
	if (dm_call(dm, DM_DEV_CREATE, &request) < 0) {
		return squib_fail(squib, "no device mapper: %s", strerror(errno));
	}
	dm->is_made = true;
	dm->minor = minor((dev_t)request.head.dev);
	return host_dm_change(squib, dm, range);
}

bool host_dm_hold(struct squib *squib, const struct host_dm *dm, bool hold)
{
	struct dm_request request = {.head.flags =
					     hold ? DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG : 0};

	return dm_call(dm, DM_DEV_SUSPEND, &request) == 0 ||
	       squib_fail(squib, "%s can't be held: %s", dm->name, strerror(errno));
}

void host_dm_destroy(struct host_dm *dm)
{
	struct dm_request request = {0};

	if (dm->is_made) {
		(void)dm_call(dm, DM_DEV_REMOVE, &request);
	}
	if (dm->loop >= 0) {
		close(dm->loop);
	}
	*dm = (struct host_dm){.loop = -1};
}

bool host_dms_end(struct squib *squib, struct host_dm *dms, unsigned count)
{
	bool ok = true;

	/* What is held can't be killed. */
	for (unsigned i = 0; i < count; i++) {
		if (dms[i].is_made) {
			ok = host_dm_hold(squib, &dms[i], false) && ok;
		}
	}
	squib_stop(squib);
	for (unsigned i = 0; i < count; i++) {
		host_dm_destroy(&dms[i]);
	}
	return ok;
}

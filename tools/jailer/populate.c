/* SPDX-License-Identifier: Apache-2.0 */
/* Fills the jail's root with directories, devices and facts about the CPU. */
#include "tools/jailer/populate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

/* Numbers of devices [linux admin-guide/devices.txt]. */
enum {
	MISC_MAJOR = 10,
	TUN_MINOR = 200,
	KVM_MINOR = 232,
	MEM_MAJOR = 1,
	URANDOM_MINOR = 9
};

enum {
	CACHE_INDEX_MAX = 7, /* arm64 knows 7 levels, with data and instructions apart at one */
	SYSFS_VALUE_MAX = 4096
};

#define CPU_DIR "sys/devices/system/cpu/cpu0"
#define MIDR_DIR "regs/identification"

bool populate_find_misc(const char *table, const char *name, unsigned *minor)
{
	FILE *in = fopen(table, "re");
	char line[128];
	bool is_found = false;

	if (in == NULL) {
		return false;
	}
	while (!is_found && fgets(line, sizeof(line), in) != NULL) {
		char *end;
		unsigned long number = strtoul(line, &end, 10);

		line[strcspn(line, "\n")] = '\0';
		if (end != line && *end == ' ' && strcmp(end + 1, name) == 0) {
			*minor = (unsigned)number;
			is_found = true;
		}
	}
	(void)!fclose(in);
	return is_found;
}

/* --- Directories and devices --- */

static int make_dir(const struct beneath_dir *root, const char *name, struct beneath_dir *dir,
		    struct error *err)
{
	if (beneath_enter(root, name, dir, err) < 0) {
		return -1;
	}
	return beneath_take(dir, err);
}

/*
 * [compat] The monitor runs without this device. But a file that is there under its name may come
 * from anybody.
 */
static int make_urandom(const struct beneath_dir *dev, struct beneath_owner owner,
			struct error *err)
{
	struct error cause = {0};

	if (beneath_new_device(dev, "urandom", makedev(MEM_MAJOR, URANDOM_MINOR), owner, &cause) ==
	    0) {
		return 0;
	}
	if (cause.sys == EEXIST) {
		*err = cause;
		return -1;
	}
	fprintf(stderr,
		"Warning! Could not create /dev/urandom device inside jailer: %s.\n"
		"MMDS version 2 will not be available to use.\n",
		cause.msg);
	return 0;
}

static void warn_of_nodev(const struct beneath_dir *dev)
{
	struct statvfs fs;

	if (fstatvfs(dev->fd, &fs) == 0 && (fs.f_flag & ST_NODEV) != 0) {
		fputs("Warning! The jail is on a file system that is mounted with nodev: "
		      "the program can't open /dev/kvm there.\n",
		      stderr);
	}
}

static int make_devices(const struct beneath_dir *dev, const struct beneath_dir *net,
			struct beneath_owner owner, int uffd_minor, struct error *err)
{
	if (beneath_new_device(net, "tun", makedev(MISC_MAJOR, TUN_MINOR), owner, err) < 0 ||
	    beneath_new_device(dev, "kvm", makedev(MISC_MAJOR, KVM_MINOR), owner, err) < 0 ||
	    make_urandom(dev, owner, err) < 0) {
		return -1;
	}
	if (uffd_minor < 0) {
		return 0;
	}
	return beneath_new_device(dev, "userfaultfd", makedev(MISC_MAJOR, (unsigned)uffd_minor),
				  owner, err);
}

int populate_dirs(const struct beneath_dir *root, struct beneath_owner owner, int uffd_minor,
		  struct error *err)
{
	AUTO_DIR dev = BENEATH_NONE;
	AUTO_DIR net = BENEATH_NONE;
	AUTO_DIR run = BENEATH_NONE;

	if (make_dir(root, "dev", &dev, err) < 0 || make_dir(&dev, "net", &net, err) < 0 ||
	    make_dir(root, "run", &run, err) < 0) {
		return -1;
	}
	warn_of_nodev(&dev);
	if (make_devices(&dev, &net, owner, uffd_minor, err) < 0) {
		return -1;
	}
	if (beneath_give(&net, owner, err) < 0 || beneath_give(&dev, owner, err) < 0) {
		return -1;
	}
	return beneath_give(&run, owner, err);
}

/* --- CPU --- */

struct cpu_copy {
	const char *cpu;   /* the host's directory */
	const char *below; /* the same directory below it and the jail's */
	const char *const *files;
	size_t file_count;
	struct beneath_owner owner;
};

static int copy_value(const char *source, const struct beneath_dir *dir, const char *name,
		      struct beneath_owner owner, struct error *err)
{
	AUTO_FREE char *text = NULL;
	size_t len;

	if (read_file(source, "The host's file", SYSFS_VALUE_MAX, &text, &len, err) < 0) {
		return -1;
	}
	return beneath_new_file(dir, name, text, owner, err);
}

/* Files that the host lacks are left out. */
static int copy_values(const struct cpu_copy *what, const struct beneath_dir *root,
		       struct error *err)
{
	AUTO_DIR dir = BENEATH_NONE;
	char path[PATH_MAX];

	(void)!snprintf(path, sizeof(path), CPU_DIR "/%s", what->below);
	if (beneath_enter(root, path, &dir, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < what->file_count; i++) {
		(void)!snprintf(path, sizeof(path), "%s/%s/%s", what->cpu, what->below,
				what->files[i]);
		if (access(path, R_OK) == 0 &&
		    copy_value(path, &dir, what->files[i], what->owner, err) < 0) {
			return -1;
		}
	}
	return 0;
}

int populate_cpu(const char *cpu, const struct beneath_dir *root, struct beneath_owner owner,
		 struct error *err)
{
	static const char *const midr_files[] = {"midr_el1"};
	static const char *const cache_files[] = {
		"size", "level", "type", "shared_cpu_map", "coherency_line_size", "number_of_sets",
	};
	struct cpu_copy midr = {
		.cpu = cpu,
		.below = MIDR_DIR,
		.files = midr_files,
		.file_count = ARRAY_COUNT(midr_files),
		.owner = owner,
	};
	char path[PATH_MAX];

	(void)!snprintf(path, sizeof(path), "%s/" MIDR_DIR "/midr_el1", cpu);
	if (access(path, R_OK) < 0) {
		return 0;
	}
	if (copy_values(&midr, root, err) < 0) {
		return -1;
	}
	for (unsigned i = 0; i <= CACHE_INDEX_MAX; i++) {
		char index[32];
		struct cpu_copy cache = {
			.cpu = cpu,
			.below = index,
			.files = cache_files,
			.file_count = ARRAY_COUNT(cache_files),
			.owner = owner,
		};

		(void)!snprintf(index, sizeof(index), "cache/index%u", i);
		(void)!snprintf(path, sizeof(path), "%s/%s", cpu, index);
		if (access(path, F_OK) < 0) {
			break;
		}
		if (copy_values(&cache, root, err) < 0) {
			return -1;
		}
	}
	return 0;
}

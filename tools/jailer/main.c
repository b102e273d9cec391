/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jailer: builds a jail and runs squib in it.
 *
 * Theory of operation. The order of run() is the design. First the network namespace, which
 * changes nothing but this process. Then the jail is claimed, so that one in use stays as it is.
 * Then what needs the host's paths: cgroups, /proc. Then a
 * mount namespace, before the first file is made, since the kernel mounts nothing that was opened
 * outside of it. From there on all that is made lies in the jail's directory, which is taken from
 * whoever had it, filled, made the root, and handed over last. Whatever fails, the process ends,
 * and its namespaces with it: the host keeps no mount.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/jailer/args.h"
#include "tools/jailer/beneath.h"
#include "tools/jailer/cgroup.h"
#include "tools/jailer/chroot.h"
#include "tools/jailer/claim.h"
#include "tools/jailer/exec_file.h"
#include "tools/jailer/launch.h"
#include "tools/jailer/populate.h"
#include "vmm/base/fd.h"
#include "vmm/version.h"

#define CPU_PATH "/sys/devices/system/cpu/cpu0"

struct jail {
	struct jail_args args;
	struct exec_file exec;
	char base[PATH_MAX];
	int uffd_minor;	      /* -1: the host has no such device */
	struct launch launch; /* its times, mask and device */
};

/* Leaves nothing of the caller's but three descriptors, arguments and umask. */
static int sanitize(struct error *err)
{
	/* Arguments of others than root must not reach what follows. */
	if (getauxval(AT_SECURE) != 0 || getuid() != geteuid() || getgid() != getegid()) {
		return error_set(err, ERR_BAD_STATE,
				 "The jailer must not be set-user-ID, set-group-ID, or have file "
				 "capabilities");
	}
	if (close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_UNSHARE) < 0) {
		return error_sys(err, "Failed to sanitize the Jailer process: Failed to call close "
				      "range syscall");
	}
	if (clearenv() != 0) {
		return error_set(err, ERR_HOST,
				 "Failed to sanitize the Jailer process: the environment stays");
	}
	return fd_open_standard(err);
}

static int resolve(struct jail *jail, struct error *err)
{
	struct stat st;

	if (exec_file_resolve(jail->args.exec_file, &jail->exec, err) < 0) {
		return -1;
	}
	if (realpath(jail->args.chroot_base, jail->base) == NULL || stat(jail->base, &st) < 0) {
		return error_sys(err, "Failed to canonicalize path %s", jail->args.chroot_base);
	}
	if (!S_ISDIR(st.st_mode)) {
		return error_set(err, ERR_BAD_REQUEST, "%s is not a directory", jail->base);
	}
	jail->args.cgroup.is_parent_given = jail->args.cgroup.parent != NULL;
	if (!jail->args.cgroup.is_parent_given) {
		jail->args.cgroup.parent = jail->exec.name;
	}
	if (geteuid() != 0) {
		return error_set(err, ERR_BAD_STATE, "The jailer must be started by root");
	}
	return 0;
}

static int join_netns(const char *path, struct error *err)
{
	AUTO_FD fd = -1;

	if (path == NULL) {
		return 0;
	}
	/* Paths like /proc/PID/ns/net and those below /run/netns may be links: they are trusted. */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return error_sys(err, "Failed to open file %s", path);
	}
	if (setns(fd, CLONE_NEWNET) < 0) {
		return error_sys(err, "Failed to join network namespace: netns");
	}
	return 0;
}

/* What lies outside of the jail's directory and can't be reached from inside. */
static int prepare_outside(struct jail *jail, struct error *err)
{
	unsigned minor;

	if (cgroup_setup(&jail->args.cgroup, "/proc/mounts", jail->args.id, getpid(), err) < 0) {
		return -1;
	}
	if (populate_find_misc("/proc/misc", "userfaultfd", &minor)) {
		jail->uffd_minor = (int)minor;
	}
	if (jail->args.is_daemon) {
		jail->launch.dev_null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (jail->launch.dev_null < 0) {
			return error_sys(err, "Failed to open /dev/null");
		}
	}
	return 0;
}

/* Before anything is changed; the lock is held until the program is executed. */
static int claim(const struct jail *jail, struct beneath_dir *dir, struct error *err)
{
	AUTO_DIR base = BENEATH_NONE;
	char name[PATH_MAX];
	char pid_file[NAME_MAX + 1];

	(void)!snprintf(name, sizeof(name), "%s/%s", jail->exec.name, jail->args.id);
	(void)!snprintf(pid_file, sizeof(pid_file), "%s.pid", jail->exec.name);
	return beneath_open(jail->base, &base, err) < 0
		       ? -1
		       : claim_jail(&base, name, pid_file, dir, err);
}

static int open_root(const struct jail *jail, struct beneath_dir *root, struct error *err)
{
	AUTO_DIR base = BENEATH_NONE;
	char below[PATH_MAX];

	(void)!snprintf(below, sizeof(below), "%s/%s/root", jail->exec.name, jail->args.id);
	if (beneath_open(jail->base, &base, err) < 0 ||
	    beneath_enter(&base, below, root, err) < 0) {
		return -1;
	}
	return beneath_take(root, err);
}

static int run(struct jail *jail, struct error *err)
{
	const struct jail_args *args = &jail->args;
	struct beneath_owner owner = {.uid = args->uid, .gid = args->gid};
	AUTO_DIR claimed = BENEATH_NONE;
	AUTO_DIR root = BENEATH_NONE;

	if (join_netns(args->netns, err) < 0 || claim(jail, &claimed, err) < 0 ||
	    prepare_outside(jail, err) < 0 || chroot_isolate(err) < 0 ||
	    open_root(jail, &root, err) < 0 || chroot_mount_root(&root, err) < 0 ||
	    exec_file_install(&jail->exec, &root, owner, args->copies_exec, err) < 0 ||
	    populate_cpu(CPU_PATH, &root, owner, err) < 0 || chroot_pivot(&root, err) < 0 ||
	    populate_dirs(&root, owner, jail->uffd_minor, err) < 0) {
		return -1;
	}
	struct launch launch = jail->launch;

	launch.args = args;
	launch.exec_name = jail->exec.name;
	launch.root = &root;
	return launch_run(&launch, err);
}

int main(int argc, char *argv[])
{
	struct jail jail = {
		.uffd_minor = -1,
		.launch = {.start_us = launch_clock_us(CLOCK_MONOTONIC),
			   .start_cpu_us = launch_clock_us(CLOCK_PROCESS_CPUTIME_ID),
			   .dev_null = -1},
	};
	struct error err = {0};

	if (sanitize(&err) < 0 || jail_args_parse(argc, argv, &jail.args, &err) < 0) {
		goto fail;
	}
	if (jail.args.action == FLAGS_HELP) {
		jail_args_print_help(stdout);
		return EXIT_SUCCESS;
	}
	if (jail.args.action == FLAGS_VERSION) {
		printf("Jailer v%s\n\n", SQUIB_VERSION);
		return EXIT_SUCCESS;
	}
	/* Modes are as written here; the program gets the caller's mask back. */
	jail.launch.mask = umask(0);
	if (resolve(&jail, &err) < 0 || run(&jail, &err) < 0) {
		goto fail;
	}
	return EXIT_SUCCESS;
fail:
	fprintf(stderr, "%s\n", err.msg);
	return EXIT_FAILURE;
}

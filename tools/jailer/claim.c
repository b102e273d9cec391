/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims a jail before anything of it is touched.
 *
 * Theory of operation. A jailer that finds a jail in use must leave everything as it is: owners,
 * modes and program of the root directory, values of cgroups. So this comes first. Two jailers at
 * once are kept apart by a lock on the jail's directory, which root owns and which closes at
 * execve(2). After that, the pid file names the program: it runs in this jail if its root directory
 * is the jail's. The file lies in a directory that the program may have written to; what it says is
 * a hint, and the kernel's answer about that process decides.
 */
#include "tools/jailer/claim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"

enum {
	PID_TEXT_LEN = 24
};

/* The number in the pid file; 0: there is none. */
static int read_pid(int root, const char *pid_file)
{
	char text[PID_TEXT_LEN] = "";
	AUTO_FD fd = beneath_open_file(root, pid_file);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0) {
		return 0;
	}
	return (int)strtol(text, NULL, 10);
}

static int check_unused(const struct beneath_dir *jail, const char *pid_file, struct error *err)
{
	AUTO_FD root = beneath_open_dir(jail->fd, "root");
	struct stat own;
	struct stat other;
	char path[64];

	if (root < 0 || fstat(root, &own) < 0) {
		return 0; /* a new jail */
	}
	int pid = read_pid(root, pid_file);

	(void)!snprintf(path, sizeof(path), "/proc/%d/root/.", pid);
	if (pid <= 0 || stat(path, &other) < 0 || own.st_dev != other.st_dev ||
	    own.st_ino != other.st_ino) {
		return 0;
	}
	return error_set(err, ERR_BAD_STATE,
			 "The jail %s is in use by process %d: choose another --id, or end that "
			 "process first",
			 jail->path, pid);
}

int claim_jail(const struct beneath_dir *base, const char *name, const char *pid_file,
	       struct beneath_dir *jail, struct error *err)
{
	if (beneath_enter(base, name, jail, err) < 0) {
		return -1;
	}
	if (flock(jail->fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK) {
			return error_set(err, ERR_BAD_STATE,
					 "Another jailer is making the jail %s at this moment",
					 jail->path);
		}
		return error_sys(err, "Failed to lock %s", jail->path);
	}
	return check_unused(jail, pid_file, err);
}

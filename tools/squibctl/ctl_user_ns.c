/* SPDX-License-Identifier: Apache-2.0 */
/* [linux user_namespaces(7)] Namespaces of an ordinary user. */
#include "tools/squibctl/ctl_user_ns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/fd.h"

enum {
	LINE_LEN = 32
};

static int write_line(const char *path, const char *line)
{
	AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len = (ssize_t)strlen(line);

	return fd >= 0 && write(fd, line, (size_t)len) == len ? 0 : -1;
}

int ctl_user_ns_enter(void)
{
	char users[LINE_LEN];
	char groups[LINE_LEN];

	snprintf(users, sizeof(users), "0 %u 1", geteuid());
	snprintf(groups, sizeof(groups), "0 %u 1", getegid());
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 ||
			       write_line("/proc/self/setgroups", "deny") < 0 ||
			       write_line("/proc/self/uid_map", users) < 0 ||
			       write_line("/proc/self/gid_map", groups) < 0
		       ? -1
		       : 0;
}

bool ctl_user_ns_is_allowed(void)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		_exit(ctl_user_ns_enter() < 0 ? 1 : 0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	return pid > 0 && status == 0;
}

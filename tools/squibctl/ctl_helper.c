/* SPDX-License-Identifier: Apache-2.0 */
/* Programs beside a machine's squib. */
#include "tools/squibctl/ctl_helper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/squibctl/ctl_clean.h"
#include "tools/squibctl/ctl_session.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/fd.h"

enum {
	LISTENS_MS = 20,     /* between looks for a socket */
	LISTENS_TRIES = 500, /* until it must be there */
	LOG_TAIL = 200,
};

char *ctl_helper_file(const struct machine *machine, const char *name, const char *suffix)
{
	return ctl_text("%s/%s.%s", machine->dir, name, suffix);
}

int ctl_helper_fail(const struct machine *machine, const char *name, const char *what,
		    struct error *err)
{
	AUTO_FREE char *path = ctl_helper_file(machine, name, "log");
	char tail[LOG_TAIL + 1] = "";
	AUTO_FD fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0) {
		off_t from = st.st_size > LOG_TAIL ? st.st_size - LOG_TAIL : 0;

		(void)!pread(fd, tail, LOG_TAIL, from);
	}
	clean_text(tail, strlen(tail), '\0');
	return error_set(err, ERR_HOST, "Cannot %s: %s", what, tail);
}

pid_t ctl_helper_fork(const struct machine *machine, const char *name)
{
	AUTO_FREE char *path = ctl_helper_file(machine, name, "log");
	sigset_t none;
	pid_t pid = fork();

	if (pid != 0) {
		return pid;
	}
	/* What is typed on somebody's terminal is not for it. */
	setsid();
	int fd = path != NULL
			 ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600)
			 : -1;

	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
	}
	if (fd >= 0) {
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	return 0;
}

int ctl_helper_await(const struct machine *machine, const char *name, pid_t pid, const char *what,
		     struct error *err)
{
	AUTO_FREE char *socket = ctl_helper_file(machine, name, "sock");
	AUTO_FD end_fd = pidfd_open(pid, 0);
	struct pollfd end = {.fd = end_fd, .events = POLLIN};

	for (unsigned i = 0; socket != NULL && i < LISTENS_TRIES; i++) {
		if (access(socket, F_OK) == 0) {
			return 0;
		}
		if (poll(&end, 1, LISTENS_MS) != 0) {
			break;
		}
	}
	return ctl_helper_fail(machine, name, what, err);
}

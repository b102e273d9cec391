/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that are remembered. */
#include "tools/squibctl/ctl_process.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/error.h"
#include "vmm/base/fd.h"

enum {
	END_MS = 10 * 1000, /* for a process that was killed */
};

/* [linux proc(5)] Its stat from field 3, the state, on: behind the name in brackets, which may have
 * any bytes. NULL: there is no such process. The caller frees *text. */
static const char *read_stat(pid_t pid, char **text)
{
	struct error ignored = {0};
	char path[64];
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (read_file(path, "stat", 4096, text, &len, &ignored) < 0) {
		return NULL;
	}
	const char *at = strrchr(*text, ')');

	return at != NULL && at[1] != '\0' ? at + 2 : NULL;
}

bool process_is_stopped(pid_t pid)
{
	AUTO_FREE char *text = NULL;
	const char *at = read_stat(pid, &text);

	return at != NULL && *at == 'T';
}

/* Field 22 of its stat. */
uint64_t process_born(pid_t pid)
{
	enum {
		FIELDS_BEFORE = 18 /* between the state and the start */
	};
	AUTO_FREE char *text = NULL;
	const char *at = read_stat(pid, &text);

	if (at == NULL || *at == 'Z' || *at == 'X') {
		return 0;
	}
	for (unsigned i = 0; i <= FIELDS_BEFORE && at != NULL; i++) {
		at = strchr(at + 1, ' ');
	}
	return at != NULL ? strtoull(at, NULL, 10) : 0;
}

pid_t process_peer(int fd)
{
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? peer.pid : 0;
}

/* The descriptor holds on to the process: the look at its beginning is one at the same process. */
int process_open(pid_t pid, uint64_t born)
{
	AUTO_FD fd = pid > 0 ? pidfd_open(pid, 0) : -1;

	return fd >= 0 && born != 0 && process_born(pid) == born ? fd_take(&fd) : -1;
}

void process_end(pid_t pid, uint64_t born)
{
	AUTO_FD fd = process_open(pid, born);
	struct pollfd end = {.fd = fd, .events = POLLIN};

	if (fd >= 0 && pidfd_send_signal(fd, SIGKILL, NULL, 0) == 0) {
		(void)!poll(&end, 1, END_MS);
	}
}

const char *process_own_squib(char path[PATH_MAX])
{
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - sizeof("squib"));

	path[len > 0 ? len : 0] = '\0';
	char *slash = strrchr(path, '/');

	if (slash == NULL) {
		return "squib";
	}
	memcpy(slash + 1, "squib", sizeof("squib"));
	return access(path, X_OK) == 0 ? path : "squib";
}

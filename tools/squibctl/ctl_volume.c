/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of the host that a machine has.
 *
 * Theory of operation. A virtiofsd sees its directory alone: it makes its own namespaces and
 * filters its own system calls. It needs root for that, so an ordinary user's is in a user
 * namespace, where he is root: files are his, and the guest's root is him. "ro" is a mount's, made
 * in a mount namespace before that program is there, since a guest that mounts read-only only
 * promises so. Where the program is missing, or the host forbids such namespaces, the directory is
 * copied.
 */
#include "tools/squibctl/ctl_volume.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/squibctl/ctl_copy.h"
#include "tools/squibctl/ctl_helper.h"
#include "tools/squibctl/ctl_tool.h"
#include "tools/squibctl/ctl_user_ns.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/unix_listen.h"

enum {
	STATUS_EXEC = 127,
	END_MS = 1000, /* for a virtiofsd to end once it has failed */
};

/* --- what was asked for --- */

const char *ctl_volumes_program(void)
{
	static const char *const paths[] = {"/usr/libexec/virtiofsd", "/usr/lib/virtiofsd",
					    "/usr/lib/qemu/virtiofsd"};

	for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
		if (access(paths[i], X_OK) == 0) {
			return paths[i];
		}
	}
	return NULL;
}

static bool can_share(void)
{
	return ctl_volumes_program() != NULL && (geteuid() == 0 || ctl_user_ns_is_allowed());
}

static json_t *read_one(const char *word, unsigned number, struct error *err)
{
	static const char read_only[] = ":ro";
	AUTO_FREE char *host = strdup(word);
	char *guest = host != NULL ? strchr(host, ':') : NULL;
	size_t len = strlen(word);
	bool is_read_only = len > sizeof(read_only) &&
			    strcmp(word + len - sizeof(read_only) + 1, read_only) == 0;
	struct stat st;

	if (is_read_only && guest != NULL) {
		host[len - sizeof(read_only) + 1] = '\0';
	}
	if (guest == NULL || guest == host || guest[1] != '/') {
		(void)error_set(err, ERR_BAD_REQUEST,
				"--volume is HOST:GUEST[:ro], the second a path from the guest's "
				"root directory, not '%s'",
				word);
		return NULL;
	}
	*guest++ = '\0';
	AUTO_FREE char *path = realpath(host, NULL);

	if (path == NULL || stat(path, &st) < 0) {
		(void)error_sys(err, "Cannot find the volume %s", host);
		return NULL;
	}
	if (!S_ISDIR(st.st_mode)) {
		(void)error_set(err, ERR_BAD_REQUEST,
				"The volume %s is no directory: squibctl cp copies a file", host);
		return NULL;
	}
	bool is_shared = can_share();

	if (is_shared && strpbrk(path, ",\\") != NULL) {
		(void)error_set(err, ERR_BAD_REQUEST,
				"The volume %s has a comma or backslash in its path, which "
				"virtiofsd would take for an end of it: give it another name",
				path);
		return NULL;
	}
	if (!is_shared) {
		fprintf(stderr,
			"squibctl: %s is copied into the machine: sharing it needs virtiofsd, and "
			"root or user namespaces\n",
			host);
	}
	AUTO_FREE char *tag = ctl_text("volume%u", number);
	AUTO_FREE char *mount =
		tag != NULL ? ctl_text("%s %s %s", tag, is_read_only ? "ro" : "rw", guest) : NULL;
	json_t *volume =
		json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "tag", tag, "host", path, "guest",
			  guest, "mount", mount, "read_only", is_read_only, "shared", is_shared);

	if (volume == NULL) {
		(void)error_set(err, ERR_BAD_REQUEST, "The volume '%s' is no UTF-8", word);
	}
	return volume;
}

json_t *ctl_volumes_read(const struct ctl_words *words, struct error *err)
{
	json_t *volumes = json_array();

	if (words->count > VOLUMES_MAX) {
		(void)error_set(err, ERR_BAD_REQUEST, "--volume is there more than %d times",
				VOLUMES_MAX);
		json_decref(volumes);
		return NULL;
	}
	for (unsigned i = 0; i < words->count; i++) {
		json_t *volume = read_one(words->items[i], i, err);

		if (volume == NULL) {
			json_decref(volumes);
			return NULL;
		}
		json_array_append_new(volumes, volume);
	}
	return volumes;
}

/* --- who needs to know --- */

static const json_t *volumes_of(const struct machine *machine)
{
	return json_object_get(machine->record, "volumes");
}

static const char *text_of(const json_t *volume, const char *key)
{
	const char *text = json_string_value(json_object_get(volume, key));

	return text != NULL ? text : "";
}

static bool is_shared(const json_t *volume)
{
	return json_is_true(json_object_get(volume, "shared"));
}

bool ctl_volumes_are_shared(const json_t *volumes)
{
	const json_t *volume;
	size_t i;

	json_array_foreach(volumes, i, volume)
	{
		if (is_shared(volume)) {
			return true;
		}
	}
	return false;
}

json_t *ctl_volumes_config(const struct machine *machine)
{
	json_t *list = json_array();
	const json_t *volume;
	size_t i;

	json_array_foreach(volumes_of(machine), i, volume)
	{
		AUTO_FREE char *socket = ctl_helper_file(machine, text_of(volume, "tag"), "sock");

		if (is_shared(volume)) {
			json_array_append_new(list,
					      json_pack("{s:s, s:s}", "tag", text_of(volume, "tag"),
							"socket", socket));
		}
	}
	return list;
}

void ctl_volumes_request(const struct machine *machine, struct run_request *request)
{
	const json_t *volume;
	size_t i;

	json_array_foreach(volumes_of(machine), i, volume)
	{
		if (is_shared(volume) && request->mount_count < RUN_MOUNTS_MAX) {
			request->mounts[request->mount_count++] = text_of(volume, "mount");
		}
	}
}

/* --- sharing --- */

static int fail(const struct machine *machine, const json_t *volume, const char *verb,
		struct error *err)
{
	AUTO_FREE char *what = ctl_text("%s the volume %s", verb, text_of(volume, "host"));

	return ctl_helper_fail(machine, text_of(volume, "tag"), what != NULL ? what : verb, err);
}

/*
 * With what is mounted below it, which a user namespace does not let go of. Nobody who has this
 * directory open by another way sees the mount.
 */
static int make_read_only(const char *host)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

	return unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
			       mount(host, host, NULL, MS_BIND | MS_REC, NULL) < 0 ||
			       mount_setattr(AT_FDCWD, host, AT_RECURSIVE, &attr, sizeof(attr)) < 0
		       ? -1
		       : 0;
}

/* It gets a socket that listens: to make one it would need /var/run, which is root's. */
static _Noreturn void be_virtiofsd(const json_t *volume, int listener)
{
	const char *program = ctl_volumes_program();
	const char *host = text_of(volume, "host");
	AUTO_FREE char *at = ctl_text("--fd=%d", listener);
	AUTO_FREE char *source = ctl_text("source=%s", host);

	fcntl(listener, F_SETFD, 0);
	fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) & ~O_NONBLOCK);
	if (geteuid() != 0 && ctl_user_ns_enter() < 0) {
		dprintf(STDERR_FILENO, "making a user namespace: %s", strerror(errno));
	} else if (json_is_true(json_object_get(volume, "read_only")) && make_read_only(host) < 0) {
		dprintf(STDERR_FILENO, "making it read-only: %s", strerror(errno));
	} else if (program != NULL && at != NULL && source != NULL) {
		execl(program, program, "-f", at, "-o", source, "-o", "cache=auto", (char *)NULL);
		dprintf(STDERR_FILENO, "%s: %s", program, strerror(errno));
	}
	_exit(STATUS_EXEC);
}

static int share(const struct machine *machine, const json_t *volume, pid_t *pid, struct error *err)
{
	AUTO_FREE char *socket = ctl_helper_file(machine, text_of(volume, "tag"), "sock");
	AUTO_FD listener = -1;

	if (socket == NULL || unix_listen(socket, true, &listener) != UNIX_LISTENS) {
		return error_sys(err, "Cannot make a socket for the volume %s",
				 text_of(volume, "host"));
	}
	*pid = ctl_helper_fork(machine, text_of(volume, "tag"));
	if (*pid == 0) {
		be_virtiofsd(volume, listener);
	}
	return *pid > 0 ? 0 : error_sys(err, "Cannot make a process");
}

int ctl_volumes_share(const struct machine *machine, pid_t pids[VOLUMES_MAX + 1], struct error *err)
{
	const json_t *volume;
	unsigned count = 0;
	size_t i;

	json_array_foreach(volumes_of(machine), i, volume)
	{
		if (is_shared(volume) && count < VOLUMES_MAX) {
			if (share(machine, volume, &pids[count], err) < 0) {
				return -1;
			}
			pids[++count] = 0;
		}
	}
	return 0;
}

/* Where a connection has ended a process may be about to. */
static bool has_failed(pid_t pid)
{
	AUTO_FD fd = pidfd_open(pid, 0);
	struct pollfd slot = {.fd = fd, .events = POLLIN};
	siginfo_t end = {0};

	(void)!poll(&slot, 1, END_MS);
	return waitid(P_PID, (id_t)pid, &end, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       end.si_pid == pid && (end.si_code != CLD_EXITED || end.si_status != 0);
}

bool ctl_volumes_have_failed(const struct machine *machine, const pid_t pids[VOLUMES_MAX + 1],
			     struct error *err)
{
	const json_t *volume;
	unsigned count = 0;
	size_t i;

	json_array_foreach(volumes_of(machine), i, volume)
	{
		if (!is_shared(volume) || count == VOLUMES_MAX || pids[count] == 0) {
			continue;
		}
		if (has_failed(pids[count++])) {
			(void)fail(machine, volume, "share", err);
			return true;
		}
	}
	return false;
}

/* --- copying --- */

/* In a child, whose standard input becomes another one. */
static _Noreturn void be_copier(const struct machine *machine, const json_t *volume)
{
	/* Its content, into a directory that is made for it. */
	AUTO_FREE char *from = ctl_text("%s/.", text_of(volume, "host"));
	struct error err = {0};

	if (from == NULL || ctl_copy_in(machine, from, text_of(volume, "guest"), &err) < 0) {
		dprintf(STDERR_FILENO, "%s", err.msg);
		_exit(1);
	}
	_exit(0);
}

int ctl_volumes_copy(const struct machine *machine, struct error *err)
{
	const json_t *volume;
	size_t i;

	json_array_foreach(volumes_of(machine), i, volume)
	{
		int status = 0;

		if (is_shared(volume)) {
			continue;
		}
		pid_t pid = ctl_helper_fork(machine, text_of(volume, "tag"));

		if (pid == 0) {
			be_copier(machine, volume);
		}
		while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
		}
		if (pid < 0 || status != 0) {
			return fail(machine, volume, "copy", err);
		}
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Confines threads by Landlock [linux userspace-api/landlock].
 *
 * Theory of operation. Landlock confines a thread and those that it makes later, checks names only
 * when they are looked up, and never takes a restriction back. Before the start, a client may name
 * any file, and a failed start must leave it free to name others. So each thread confines itself
 * when it needs the least: the API's thread before it serves, a vCPU's before its first instruction
 * of the guest, the VMM's as the last step of a start, when every file that the configuration names
 * is open. Two of them need nothing by name. The VMM's opens another file for a drive when a client
 * asks for it; its rule set allows that and no more.
 *
 * How much can be denied depends on the kernel; what a kernel does not know is left out, and
 * docs/sandbox.md says so. Connecting to sockets in the file system is one of these: the guest's
 * vsock connections do it, under names that the configuration begins.
 */
#include "vmm/confine/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/fd.h"

/* What linux/landlock.h of Linux 6.1 lacks; it ends with version 2 of the interface. */
enum {
	ASK_ABI = 1 << 0,    /* LANDLOCK_CREATE_RULESET_VERSION */
	ASK_ERRATA = 1 << 1, /* LANDLOCK_CREATE_RULESET_ERRATA */

	FS_UP_TO_ABI_1 = LANDLOCK_ACCESS_FS_REFER - 1,
	FS_TRUNCATE = 1 << 14,	/* since 3 */
	FS_IOCTL_DEV = 1 << 15, /* since 5 */

	NET_BIND_TCP = 1 << 0, /* since 4 */
	NET_CONNECT_TCP = 1 << 1,

	SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0, /* since 6 */
	SCOPE_SIGNAL = 1 << 1,

	/* Erratum 2 [linux security/landlock/errata/abi-6.h]: mended where its bit is set. */
	SIGNALS_AMONG_THREADS = 1 << 1,
};

/* struct landlock_ruleset_attr as of version 6; older kernels take it while what they lack is 0. */
struct ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};

static long create_ruleset(const struct ruleset_attr *attr, size_t len, unsigned flags)
{
	return syscall(SYS_landlock_create_ruleset, attr, len, flags);
}

int landlock_kernel_abi(void)
{
	long abi = create_ruleset(NULL, 0, ASK_ABI);

	return abi > 0 ? (int)abi : 0;
}

/* All that this kernel can deny. */
static struct ruleset_attr everything(int abi)
{
	struct ruleset_attr attr = {.handled_access_fs = FS_UP_TO_ABI_1};
	long errata = create_ruleset(NULL, 0, ASK_ERRATA);

	if (abi >= 2) {
		attr.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
	}
	if (abi >= 3) {
		attr.handled_access_fs |= FS_TRUNCATE;
	}
	if (abi >= 4) {
		attr.handled_access_net = NET_BIND_TCP | NET_CONNECT_TCP;
	}
	if (abi >= 5) {
		attr.handled_access_fs |= FS_IOCTL_DEV;
	}
	if (abi >= 6) {
		attr.scoped = SCOPE_ABSTRACT_UNIX_SOCKET;
		/* Without the erratum, vCPUs could no longer be kicked. */
		if (errata > 0 && (errata & SIGNALS_AMONG_THREADS) != 0) {
			attr.scoped |= SCOPE_SIGNAL;
		}
	}
	return attr;
}

static int new_ruleset(int abi, int *fd, struct error *err)
{
	struct ruleset_attr attr = everything(abi);
	long ruleset = create_ruleset(&attr, sizeof(attr), 0);

	if (ruleset < 0) {
		return error_sys(err, "Cannot make a rule set for --landlock");
	}
	*fd = (int)ruleset; /* close-on-exec by itself */
	return 0;
}

int landlock_init(struct landlock *landlock, struct error *err)
{
	int abi = landlock_kernel_abi();

	if (abi == 0) {
		/* ENOSYS: not built in. EOPNOTSUPP: not in the kernel's `lsm=`. */
		return error_sys(err,
				 "--landlock needs a kernel with Landlock: Linux 5.13 or newer, "
				 "with `landlock` among the security modules that it enables "
				 "(lsm=)");
	}
	if (new_ruleset(abi, &landlock->nothing, err) < 0) {
		return -1;
	}
	landlock->abi = abi;
	return 0;
}

void landlock_destroy(struct landlock *landlock)
{
	if (landlock->abi != 0) {
		fd_close(&landlock->nothing);
	}
	*landlock = (struct landlock){0};
}

static int restrict_self(int ruleset, struct error *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_landlock_restrict_self, ruleset, 0) < 0) {
		return error_sys(err, "Cannot confine a thread by Landlock");
	}
	return 0;
}

int landlock_confine(const struct landlock *landlock, int rules, struct error *err)
{
	if (!landlock_is_on(landlock)) {
		return 0;
	}
	return restrict_self(rules >= 0 ? rules : landlock->nothing, err);
}

/* --- Files that may be opened again --- */

static int allow(int ruleset, int below, uint64_t access)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = below};

	return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

/* The root directory would be the whole host, so a drive in it has only its own file. */
static int allow_directory(int ruleset, const char *file, uint64_t access)
{
	const char *slash = strrchr(file, '/');
	AUTO_FREE char *path = strndup(file, slash != NULL ? (size_t)(slash - file) + 1 : 0);
	struct stat root;
	struct stat st;

	if (path == NULL) {
		return -1;
	}
	AUTO_FD dir = open(*path != '\0' ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0 || fstat(dir, &st) < 0 || stat("/", &root) < 0) {
		return -1;
	}
	if (st.st_dev == root.st_dev && st.st_ino == root.st_ino) {
		return 0;
	}
	return allow(ruleset, dir, access);
}

int landlock_rules_new(const struct landlock *landlock, int *rules, struct error *err)
{
	*rules = -1;
	return landlock_is_on(landlock) ? new_ruleset(landlock->abi, rules, err) : 0;
}

int landlock_allow(const struct landlock *landlock, int rules, const struct landlock_file *file,
		   struct error *err)
{
	uint64_t access = LANDLOCK_ACCESS_FS_READ_FILE;
	struct stat st;

	if (!landlock_is_on(landlock)) {
		return 0;
	}
	if (!file->is_read_only) {
		/* What may be overwritten may be cut: a snapshot's files are given their length. */
		access |= LANDLOCK_ACCESS_FS_WRITE_FILE;
		access |= landlock->abi >= 3 ? FS_TRUNCATE : 0;
	}
	if (fstat(file->fd, &st) < 0) {
		return error_sys(err, "Cannot allow %s for --landlock", file->path);
	}
	bool is_device = S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode);
	uint64_t own = access | (is_device && landlock->abi >= 5 ? FS_IOCTL_DEV : 0);

	/* EBADFD: a file without a name, e.g. of memfd_create, which nobody can open again. */
	if (allow(rules, file->fd, own) < 0 && errno != EBADFD) {
		return error_sys(err, "Cannot allow %s for --landlock", file->path);
	}
	/* The files beside a device are devices of others. */
	if (!is_device && allow_directory(rules, file->path, access) < 0) {
		return error_sys(err, "Cannot allow the directory of %s for --landlock",
				 file->path);
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds out what holds this process in.
 *
 * Theory of operation. One function per matter, each adding a row or some. System calls are asked
 * first, since a jail has no /proc; what only /proc knows is unknown there. A row decides where its
 * being open alone would let a broken monitor reach the host or other tenants: the user, the
 * capabilities, the root directory, descriptors, system calls. The others bound what is left, and
 * which of them are wanted is the platform's choice. docs/sandbox.md shows the output.
 */
#include "vmm/confine/sandbox.h"

#include <assert.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/confine/landlock.h"

enum {
	CAPABILITIES_MAX = 64,
	CGROUP_FILE_MAX = 1 << 16,
	DESCRIPTORS_MAX = 1 << 16, /* that are looked for */
	NOFILE_BOUND = 4096,	   /* twice what the jailer sets: enough for every machine */
};

/* --- Rows --- */

/* Adds to the row's value. Names come from outside: what is not printable becomes '?'. */
PRINTF(2, 3) static void tell(struct sandbox_row *row, const char *fmt, ...)
{
	size_t len = strlen(row->value);
	va_list args;

	va_start(args, fmt);
	(void)!vsnprintf(row->value + len, sizeof(row->value) - len, fmt, args);
	va_end(args);
	for (char *c = row->value + len; *c != '\0'; c++) {
		if (*c < ' ' || *c > '~') {
			*c = '?';
		}
	}
}

static struct sandbox_row *add(struct sandbox *sandbox, const char *what, const char *why)
{
	assert(sandbox->count < SANDBOX_ROWS_MAX);
	struct sandbox_row *row = &sandbox->rows[sandbox->count++];

	*row = (struct sandbox_row){.what = what, .why = why, .verdict = SANDBOX_UNKNOWN};
	return row;
}

static struct sandbox_row *add_deciding(struct sandbox *sandbox, const char *what, const char *why)
{
	struct sandbox_row *row = add(sandbox, what, why);

	row->decides = true;
	return row;
}

static void judge(struct sandbox_row *row, bool is_ok)
{
	row->verdict = is_ok ? SANDBOX_OK : SANDBOX_OPEN;
}

/* --- Namespaces and the root directory --- */

/* The numbers of the first namespaces are fixed [linux nsfs.h], but for these before Linux 6.18. */
static const struct {
	const char *file;
	const char *what;
	const char *why;
	ino_t first;
	bool is_fixed;
} namespaces[] = {
	{"mnt", "mount namespace", "mounts of the host are seen and kept busy", 0xeffffff8, false},
	{"pid", "pid namespace", "processes of the host can be named", 0xeffffffc, true},
	{"net", "network namespace", "the host's interfaces and abstract sockets are in reach",
	 0xeffffff9, false},
	{"user", "user namespace", "identities count on the whole host", 0xeffffffd, true},
	{"ipc", "ipc namespace", "shared memory and queues of the host are in reach", 0xefffffff,
	 true},
	{"uts", "uts namespace", "the host's name is shown", 0xeffffffe, true},
	{"cgroup", "cgroup namespace", "the host's groups are shown", 0xeffffffb, true},
};

static bool stat_namespace(const char *process, const char *file, struct stat *st)
{
	char path[64];

	(void)!snprintf(path, sizeof(path), "/proc/%s/ns/%s", process, file);
	return stat(path, st) == 0;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static void check_namespace(struct sandbox_row *row, size_t kind)
{
	const char *file = namespaces[kind].file;
	ino_t first = namespaces[kind].first;
	struct stat own;
	struct stat init;

	if (!stat_namespace("self", file, &own)) {
		/* The only namespace of which a system call tells something. */
		if (strcmp(file, "pid") == 0 && getpid() == 1) {
			judge(row, true);
			tell(row, "own: squib is process 1");
		} else {
			tell(row, "/proc does not tell");
		}
	} else if (getpid() != 1 && stat_namespace("1", file, &init)) {
		judge(row, !is_same_file(&own, &init));
		tell(row, "%s", row->verdict == SANDBOX_OK ? "own" : "that of process 1");
	} else if (namespaces[kind].is_fixed || own.st_ino == first) {
		judge(row, own.st_ino != first);
		tell(row, "%s", row->verdict == SANDBOX_OK ? "own" : "the host's");
	} else {
		tell(row, "/proc/1 does not tell");
	}
}

static void check_namespaces(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	(void)plan;
	for (size_t i = 0; i < ARRAY_COUNT(namespaces); i++) {
		check_namespace(add(sandbox, namespaces[i].what, namespaces[i].why), i);
	}
}

/* Which of the directories that every system has can be found; the number of them. */
static unsigned find_system(struct sandbox_row *row)
{
	static const char *const names[] = {"/bin", "/etc", "/home", "/proc", "/root", "/usr"};
	unsigned found = 0;

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		if (faccessat(AT_FDCWD, names[i], F_OK, AT_EACCESS) == 0) {
			tell(row, "%s%s", found++ == 0 ? "has " : " ", names[i]);
		}
	}
	if (found == 0) {
		tell(row, "has nothing of a system");
	}
	return found;
}

static void check_root(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	struct sandbox_row *row =
		add_deciding(sandbox, "root directory", "files below it can be opened by name");
	bool has_system = find_system(row) > 0;
	struct stat own;
	struct stat init;

	judge(row, !has_system);
	if (getpid() != 1 && stat("/proc/1/root/.", &init) == 0 && stat("/", &own) == 0) {
		bool is_shared = is_same_file(&own, &init);

		judge(row, !is_shared);
		tell(row, "; %s process 1", is_shared ? "that of" : "another than that of");
	}
	if (row->verdict == SANDBOX_OPEN && plan->landlock && landlock_kernel_abi() > 0) {
		judge(row, true);
		tell(row, "; --landlock closes it at the start");
	}
}

/* --- User and capabilities --- */

static void check_ids(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	struct sandbox_row *user = add_deciding(sandbox, "user", "root owns the host's files");
	struct sandbox_row *group = add_deciding(sandbox, "group", "root's files are open to it");
	uid_t uids[3];
	gid_t gids[3];

	(void)plan;
	if (getresuid(&uids[0], &uids[1], &uids[2]) == 0) {
		judge(user, uids[0] != 0 && uids[1] != 0 && uids[2] != 0);
		tell(user, "%u, effective %u, saved %u", uids[0], uids[1], uids[2]);
	}
	if (getresgid(&gids[0], &gids[1], &gids[2]) == 0) {
		judge(group, gids[0] != 0 && gids[1] != 0 && gids[2] != 0);
		tell(group, "%u, effective %u, saved %u", gids[0], gids[1], gids[2]);
	}
}

static void check_groups(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	struct sandbox_row *row = add(sandbox, "other groups", "what they may open, squib may");
	static gid_t groups[1 << 16]; /* NGROUPS_MAX of Linux */
	int count = getgroups(ARRAY_COUNT(groups), groups);
	int others = 0;

	(void)plan;
	for (int i = 0; i < count; i++) {
		if (groups[i] != getegid()) {
			tell(row, "%s%u", others++ == 0 ? "" : " ", groups[i]);
		}
	}
	if (count >= 0) {
		judge(row, others == 0);
		tell(row, "%s", others == 0 ? "none" : "");
	}
}

/* By number [linux capability.h]. */
static const char *const capability_names[] = {
	"chown",
	"dac_override",
	"dac_read_search",
	"fowner",
	"fsetid",
	"kill",
	"setgid",
	"setuid",
	"setpcap",
	"linux_immutable",
	"net_bind_service",
	"net_broadcast",
	"net_admin",
	"net_raw",
	"ipc_lock",
	"ipc_owner",
	"sys_module",
	"sys_rawio",
	"sys_chroot",
	"sys_ptrace",
	"sys_pacct",
	"sys_admin",
	"sys_boot",
	"sys_nice",
	"sys_resource",
	"sys_time",
	"sys_tty_config",
	"mknod",
	"lease",
	"audit_write",
	"audit_control",
	"setfcap",
	"mac_override",
	"mac_admin",
	"syslog",
	"wake_alarm",
	"block_suspend",
	"audit_read",
	"perfmon",
	"bpf",
	"checkpoint_restore",
};

/* A prctl that tells of one capability answers 1, 0, or -1 beyond the last that the kernel has. */
static uint64_t ask_bounding(uint64_t *all)
{
	uint64_t set = 0;

	*all = 0;
	for (unsigned i = 0; i < CAPABILITIES_MAX; i++) {
		int answer = prctl(PR_CAPBSET_READ, (unsigned long)i, 0, 0, 0);

		*all |= (uint64_t)(answer >= 0) << i;
		set |= (uint64_t)(answer == 1) << i;
	}
	return set;
}

static uint64_t ask_ambient(void)
{
	uint64_t set = 0;

	for (unsigned i = 0; i < CAPABILITIES_MAX; i++) {
		int answer = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, (unsigned long)i, 0, 0);

		set |= (uint64_t)(answer == 1) << i;
	}
	return set;
}

static void tell_names(struct sandbox_row *row, uint64_t set)
{
	const char *space = "";

	for (unsigned i = 0; i < CAPABILITIES_MAX; i++) {
		if ((set & 1ull << i) == 0) {
			continue;
		}
		if (i < ARRAY_COUNT(capability_names)) {
			tell(row, "%scap_%s", space, capability_names[i]);
		} else {
			tell(row, "%s%u", space, i);
		}
		space = " ";
	}
}

/* The shorter of what is there and what is not. */
static void tell_capabilities(struct sandbox_row *row, uint64_t set, uint64_t all)
{
	uint64_t others = all & ~set;

	judge(row, set == 0);
	if (set == 0) {
		tell(row, "none");
	} else if (others == 0) {
		tell(row, "all %d", __builtin_popcountll(set));
	} else if (__builtin_popcountll(others) < __builtin_popcountll(set)) {
		tell(row, "all but ");
		tell_names(row, others);
	} else {
		tell_names(row, set);
	}
}

static void check_capabilities(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
	struct sandbox_row *effective =
		add_deciding(sandbox, "effective capabilities", "each is a part of root's power");
	struct sandbox_row *permitted =
		add_deciding(sandbox, "permitted capabilities", "they can be made effective");
	struct sandbox_row *inheritable =
		add(sandbox, "inheritable capabilities", "they pass through an exec");
	struct sandbox_row *ambient =
		add_deciding(sandbox, "ambient capabilities", "they pass through every exec");
	struct sandbox_row *bounding =
		add(sandbox, "bounding capabilities", "an exec could gain them, had it the means");

	(void)plan;
	uint64_t all;

	uint64_t bound = ask_bounding(&all);

	tell_capabilities(bounding, bound, all);
	tell_capabilities(ambient, ask_ambient(), all);
	if (syscall(SYS_capget, &header, data) == 0) {
		tell_capabilities(effective, (uint64_t)data[1].effective << 32 | data[0].effective,
				  all);
		tell_capabilities(permitted, (uint64_t)data[1].permitted << 32 | data[0].permitted,
				  all);
		tell_capabilities(inheritable,
				  (uint64_t)data[1].inheritable << 32 | data[0].inheritable, all);
	}
}

/* --- System calls --- */

static bool has_filters(const struct sandbox_plan *plan)
{
	return plan->filters != NULL && plan->filters->programs[FILTER_VMM].filter != NULL;
}

static void check_privileges(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	struct sandbox_row *row = add_deciding(sandbox, "no new privileges",
					       "an exec of a set-uid file gains its user");
	bool is_set = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;

	judge(row, is_set || has_filters(plan) || plan->landlock);
	tell(row, "%s",
	     is_set			  ? "set"
	     : row->verdict == SANDBOX_OK ? "not set yet; squib sets it"
					  : "not set");
}

static void check_seccomp(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	static const char *const whats[FILTER_THREADS] = {
		[FILTER_VMM] = "seccomp filter vmm",
		[FILTER_API] = "seccomp filter api",
		[FILTER_VCPU] = "seccomp filter vcpu",
		[FILTER_FORK] = "seccomp filter fork",
		[FILTER_DEBUG] = "seccomp filter debug",
		[FILTER_VHOST] = "seccomp filter vhost",
		[FILTER_VHOST_VCPU] = "seccomp filter vhost_vcpu",
		[FILTER_NO_PCI] = "seccomp filter no_pci",
	};
	static const char *const without[FILTER_THREADS] = {
		[FILTER_FORK] = "no machine can be forked",
		[FILTER_DEBUG] = "no machine can be debugged",
		[FILTER_VHOST] = "no interface can have `vhost`",
		[FILTER_VHOST_VCPU] = "no interface can have `vhost`",
		[FILTER_NO_PCI] = "a machine without PCI has what plugging in needs",
	};
	struct sandbox_row *mode = add(sandbox, "seccomp at the start",
				       "the loading of the kernel runs before squib's filters");
	int is_filtered = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);

	if (is_filtered >= 0) {
		judge(mode, is_filtered != 0);
		tell(mode, "%s", is_filtered != 0 ? "a filter of whoever started squib" : "none");
	}
	for (int i = 0; i < FILTER_THREADS; i++) {
		struct sandbox_row *row = add_deciding(
			sandbox, whats[i], "each system call is a way into the host's kernel");

		judge(row, has_filters(plan));
		if (row->verdict == SANDBOX_OPEN) {
			tell(row, "none (--no-seccomp)");
			continue;
		}
		if (plan->filters->programs[i].len == 0) {
			tell(row, "none, so %s; ", without[i]);
		} else {
			tell(row, "%u instructions, ", plan->filters->programs[i].len);
		}
		tell(row, "%s%s", plan->filters_path != NULL ? "from " : "built in",
		     plan->filters_path != NULL ? plan->filters_path : "");
	}
}

static void check_landlock(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	struct sandbox_row *row =
		add(sandbox, "Landlock", "without a jail, it is what keeps files out of reach");
	int abi = landlock_kernel_abi();

	row->decides = plan->landlock;
	judge(row, abi > 0 && plan->landlock);
	if (abi == 0) {
		row->verdict = plan->landlock ? SANDBOX_MISSING : SANDBOX_OPEN;
		tell(row, "not in this kernel");
	} else {
		tell(row, "version %d, %s", abi,
		     plan->landlock ? "squib applies it" : "not asked for (--landlock)");
	}
}

/* --- What it holds and may use up --- */

static void check_limits(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	static const struct {
		const char *what;
		const char *why;
		int resource;
		rlim_t bound;
	} limits[] = {
		{"limit of descriptors", "how much of the kernel's memory it can hold",
		 RLIMIT_NOFILE, NOFILE_BOUND},
		{"limit of file size", "how far it can fill a disk", RLIMIT_FSIZE,
		 RLIM_INFINITY - 1},
		{"limit of address space", "how much memory it can ask for", RLIMIT_AS,
		 RLIM_INFINITY - 1},
		{"limit of core files", "one would hold what devices have in hand", RLIMIT_CORE, 0},
	};

	(void)plan;
	for (size_t i = 0; i < ARRAY_COUNT(limits); i++) {
		struct sandbox_row *row = add(sandbox, limits[i].what, limits[i].why);
		struct rlimit limit;

		if (getrlimit((__rlimit_resource_t)limits[i].resource, &limit) < 0) {
			continue;
		}
		/* The soft limit is the process's to raise. */
		judge(row, limit.rlim_max <= limits[i].bound);
		if (limit.rlim_max == RLIM_INFINITY) {
			tell(row, "none");
		} else {
			tell(row, "%llu", (unsigned long long)limit.rlim_max);
		}
	}
}

/* A line: "4:memory:/path", "1:name=systemd:/path" (limits nothing), "0::/path" of version 2. */
static bool tell_cgroup(struct sandbox_row *row, const char *line)
{
	const char *controllers = strchr(line, ':');
	const char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

	if (path == NULL || strncmp(controllers, ":name=", 6) == 0 || strcmp(path, ":/") == 0) {
		return false;
	}
	int len = (int)(path - controllers) - 1;

	tell(row, "%s%.*s %s", row->value[0] != '\0' ? ", " : "", len > 0 ? len : 2,
	     len > 0 ? controllers + 1 : "v2", path + 1);
	return true;
}

static void check_cgroups(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	struct sandbox_row *row = add(sandbox, "control groups", "they bound memory and CPU time");
	AUTO_FREE char *text = NULL;
	struct error ignored = {0};
	struct stat own;
	bool is_ok = false;
	size_t len;

	(void)plan;
	if (read_file("/proc/self/cgroup", "", CGROUP_FILE_MAX, &text, &len, &ignored) < 0) {
		tell(row, "/proc does not tell");
		return;
	}
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest)) {
		is_ok |= tell_cgroup(row, line);
	}
	if (is_ok) {
		judge(row, true);
	} else if (stat_namespace("self", "cgroup", &own) && own.st_ino == 0xeffffffb) {
		judge(row, false);
		tell(row, "the root of each");
	} else {
		tell(row, "the root of a cgroup namespace");
	}
}

static void check_descriptors(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	struct sandbox_row *row =
		add_deciding(sandbox, "open descriptors", "they lead out of every jail");
	struct rlimit limit = {.rlim_cur = DESCRIPTORS_MAX};
	unsigned count = 0;

	(void)plan;
	(void)!getrlimit(RLIMIT_NOFILE, &limit);
	for (int fd = STDERR_FILENO + 1; (rlim_t)fd < limit.rlim_cur && fd < DESCRIPTORS_MAX;
	     fd++) {
		if (fcntl(fd, F_GETFD) >= 0) {
			tell(row, "%s%d", count++ == 0 ? "" : " ", fd);
		}
	}
	judge(row, count == 0);
	tell(row, "%s", count == 0 ? "0 to 2 only" : " besides 0 to 2");
}

static void check_memory(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	struct sandbox_row *variables =
		add(sandbox, "environment", "secrets in it are in the process's memory");
	struct sandbox_row *dumpable =
		add(sandbox, "dumpable", "processes of the same user can read the guest's memory");
	int is_dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
	unsigned count = 0;

	(void)plan;
	while (environ != NULL && environ[count] != NULL) {
		count++;
	}
	judge(variables, count == 0);
	tell(variables, "%u variables", count);
	if (is_dumpable >= 0) {
		judge(dumpable, is_dumpable != 1);
		tell(dumpable, "%s", is_dumpable == 1 ? "yes" : "no");
	}
}

static void check_devices(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	static const struct {
		const char *path;
		const char *why;
		bool is_needed;
	} devices[] = {
		{"/dev/kvm", "without it no microVM starts", true},
		{"/dev/net/tun", "only network interfaces need it", false},
	};

	(void)plan;
	for (size_t i = 0; i < ARRAY_COUNT(devices); i++) {
		struct sandbox_row *row = add(sandbox, devices[i].path, devices[i].why);
		const char *path = devices[i].path;
		bool is_there = faccessat(AT_FDCWD, path, F_OK, AT_EACCESS) == 0;
		bool is_usable = faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) == 0;

		row->decides = devices[i].is_needed;
		row->verdict = is_usable || !row->decides ? SANDBOX_OK : SANDBOX_MISSING;
		tell(row, "%s",
		     is_usable	? "accessible"
		     : is_there ? "there, but not accessible"
				: "not there");
	}
}

void sandbox_collect(const struct sandbox_plan *plan, struct sandbox *sandbox)
{
	static void (*const checks[])(const struct sandbox_plan *plan, struct sandbox *sandbox) = {
		/*
		 * This function opens nothing, but it must run before others open files, or it
		 * would list those.
		 */
		check_descriptors,  check_root,	      check_ids,     check_groups,
		check_capabilities, check_privileges, check_seccomp, check_landlock,
		check_namespaces,   check_limits,     check_cgroups, check_memory,
		check_devices,
	};

	sandbox->count = 0;
	for (size_t i = 0; i < ARRAY_COUNT(checks); i++) {
		checks[i](plan, sandbox);
	}
}

bool sandbox_is_closed(const struct sandbox *sandbox)
{
	for (size_t i = 0; i < sandbox->count; i++) {
		const struct sandbox_row *row = &sandbox->rows[i];

		if (row->decides &&
		    (row->verdict == SANDBOX_OPEN || row->verdict == SANDBOX_MISSING)) {
			return false;
		}
	}
	return true;
}

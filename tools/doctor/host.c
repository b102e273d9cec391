/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel beside KVM, programs and files. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tools/doctor/checks.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_pager.h"
#include "vmm/confine/landlock.h"

enum {
	WORDS_MAX = 4096,
};

/* --- files and programs --- */

/* The first number of a file; -1: it is not there. */
static long read_number(const char *path)
{
	AUTO_FREE char *text = NULL;
	struct error ignored = {0};
	size_t len;

	return read_file(path, "A number", WORDS_MAX, &text, &len, &ignored) == 0
		       ? strtol(text, NULL, 10)
		       : -1;
}

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* As a shell finds it, in the directories of the administrator too: squibctl looks there as well.
 */
static bool find_program(const char *name, char path[PATH_MAX])
{
	const char *own = getenv("PATH");
	AUTO_FREE char *dirs = NULL;
	char *rest;

	if (strchr(name, '/') != NULL) {
		(void)!snprintf(path, PATH_MAX, "%s", name);
		return is_program(path);
	}
	if (asprintf(&dirs, "%s:/usr/sbin:/sbin:/usr/libexec", own != NULL ? own : "") < 0) {
		dirs = NULL;
		return false;
	}
	for (char *dir = strtok_r(dirs, ":", &rest); dir != NULL;
	     dir = strtok_r(NULL, ":", &rest)) {
		(void)!snprintf(path, PATH_MAX, "%s/%s", dir, name);
		if (is_program(path)) {
			return true;
		}
	}
	return false;
}

/* In the words of the package manager that is there. */
static void cure_by_package(const char *package, struct finding *finding)
{
	static const struct {
		const char *program;
		const char *words;
	} managers[] = {
		{"apt-get", "sudo apt-get install"},
		{"dnf", "sudo dnf install"},
		{"zypper", "sudo zypper install"},
		{"pacman", "sudo pacman -S"},
		{"apk", "sudo apk add"},
	};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_COUNT(managers); i++) {
		if (find_program(managers[i].program, path)) {
			finding_cure(finding, "%s %s", managers[i].words, package);
			return;
		}
	}
	finding_cure(finding, "install the package %s", package);
}

void check_program(struct finding *finding)
{
	char path[PATH_MAX];

	if (find_program(finding->check->what, path)) {
		finding_set(finding, DOCTOR_OK, "%.500s", path);
		return;
	}
	finding_set(finding, DOCTOR_MISSING, "no such program");
	cure_by_package(finding->check->package, finding);
}

void check_virtiofsd(struct finding *finding)
{
	if (finding->plan->virtiofsd == NULL) {
		finding_set(finding, DOCTOR_MISSING, "none is found");
		cure_by_package("virtiofsd # of Debian 12: qemu-system-common", finding);
	} else if (!finding->plan->has_user_namespaces) {
		finding_set(finding, DOCTOR_MISSING,
			    "%.500s, but this user can have no user namespaces",
			    finding->plan->virtiofsd);
		finding_cure(finding, "sudo sysctl user.max_user_namespaces=10000; where there is "
				      "kernel.unprivileged_userns_clone or "
				      "kernel.apparmor_restrict_unprivileged_userns, see those");
	} else {
		finding_set(finding, DOCTOR_OK, "%.500s", finding->plan->virtiofsd);
	}
}

void check_squib(struct finding *finding)
{
	char path[PATH_MAX];

	if (find_program(finding->plan->squib, path)) {
		finding_set(finding, DOCTOR_OK, "%.500s", path);
		return;
	}
	finding_set(finding, DOCTOR_MISSING, "neither beside squibctl nor in PATH");
	cure_by_package("squib", finding);
}

void check_kernel(struct finding *finding)
{
	const char *path = finding->plan->kernel;
	struct error err = {0};
	AUTO_FD fd = -1;

	if (path != NULL && fd_open_file(path, "The kernel", &fd, NULL, &err) == 0) {
		finding_set(finding, DOCTOR_OK, "%.500s", path);
		return;
	}
	finding_set(finding, DOCTOR_MISSING, "%.500s", path != NULL ? err.msg : "none is found");
	finding_cure(finding, "name one by --kernel or SQUIB_KERNEL, or put it at "
			      "~/.local/share/squib/vmlinux; docs/guest-kernels.md has more");
}

/* --- the kernel --- */

void check_filters(struct finding *finding)
{
	unsigned action = SECCOMP_RET_KILL_PROCESS;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0) {
		finding_set(finding, DOCTOR_OK, "the kernel has them");
		return;
	}
	finding_set(finding, DOCTOR_MISSING, "the kernel has none: %s", strerror(errno));
	finding_cure(finding, "boot a kernel with CONFIG_SECCOMP_FILTER");
}

void check_landlock(struct finding *finding)
{
	int abi = landlock_kernel_abi();

	if (abi > 0) {
		finding_set(finding, DOCTOR_OK, "version %d", abi);
		return;
	}
	finding_set(finding, DOCTOR_MISSING, "the kernel lacks it, or has it off");
	finding_cure(finding,
		     "boot with lsm=landlock,... (/sys/kernel/security/lsm has the others)");
}

static bool has_net_admin(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capget, &header, data) == 0 &&
	       (data[0].effective & 1U << CAP_NET_ADMIN) != 0;
}

void check_tun(struct finding *finding)
{
	const char *user = getenv("USER");
	AUTO_FD fd = open(finding->check->what, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		bool is_closed = errno == EACCES || errno == EPERM;

		finding_set(finding, DOCTOR_MISSING, "can't be opened: %s", strerror(errno));
		finding_cure(finding, "sudo %s",
			     is_closed ? "chmod 666 /dev/net/tun" : "modprobe tun");
		return;
	}
	finding_set(finding, DOCTOR_OK, "%s",
		    has_net_admin() ? "this user can make TAPs"
				    : "this user can use TAPs of its own");
	if (!has_net_admin()) {
		finding_cure(finding, "to make one: sudo ip tuntap add tap0 mode tap user %s",
			     user != NULL ? user : "USER");
	}
}

void check_vhost_net(struct finding *finding)
{
	const char *user = getenv("USER");
	AUTO_FD fd = open(finding->check->what, O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		finding_set(finding, DOCTOR_OK, "can be opened");
		return;
	}
	bool is_closed = errno == EACCES || errno == EPERM;

	finding_set(finding, DOCTOR_MISSING, "can't be opened: %s", strerror(errno));
	if (is_closed) {
		finding_cure(finding, "sudo modprobe vhost_net; sudo setfacl -m u:%s:rw %s",
			     user != NULL ? user : "USER", finding->check->what);
	} else {
		finding_cure(finding, "sudo modprobe vhost_net");
	}
}

void check_uring(struct finding *finding)
{
	struct io_uring ring;
	struct io_uring_params params = {.flags = IORING_SETUP_R_DISABLED};
	int rc = io_uring_queue_init_params(2, &ring, &params);

	if (rc == 0) {
		io_uring_queue_exit(&ring);
		finding_set(finding, DOCTOR_OK, "this user can have rings");
		return;
	}
	finding_set(finding, DOCTOR_MISSING, "this user can't have rings: %s", strerror(-rc));
	if (read_number("/proc/sys/kernel/io_uring_disabled") > 0) {
		finding_cure(finding, "sudo sysctl kernel.io_uring_disabled=0");
	} else if (rc == -ENOSYS || rc == -EINVAL) {
		finding_cure(finding, "boot Linux 5.10 or newer, with CONFIG_IO_URING");
	} else {
		finding_cure(finding, "let the container's system call filter pass io_uring");
	}
}

void check_userfaultfd(struct finding *finding)
{
	struct error err = {0};
	AUTO_FD fd = -1;

	if (gmem_pager_new_uffd(&fd, &err) == 0) {
		finding_set(finding, DOCTOR_OK, "this user can have it");
		return;
	}
	finding_set(finding, DOCTOR_MISSING, "%s", err.msg);
	finding_cure(finding, err.sys == ENOSYS ? "boot a kernel with CONFIG_USERFAULTFD"
						: "sudo sysctl vm.unprivileged_userfaultfd=1");
}

void check_huge_pages(struct finding *finding)
{
	long free_count = read_number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");

	if (free_count > 0) {
		finding_set(finding, DOCTOR_OK, "%ld of 2 MiB are free", free_count);
		return;
	}
	finding_set(finding, DOCTOR_MISSING, "%s",
		    free_count == 0 ? "none of 2 MiB is free" : "the kernel has none of 2 MiB");
	finding_cure(finding, free_count == 0 ? "sudo sysctl vm.nr_hugepages=512 (1 GiB)"
					      : "boot a kernel with CONFIG_HUGETLBFS");
}

void check_cgroups(struct finding *finding)
{
	AUTO_FREE char *text = NULL;
	struct error err = {0};
	struct statfs fs;
	size_t len;

	if (statfs("/sys/fs/cgroup", &fs) < 0 ||
	    (fs.f_type != CGROUP2_SUPER_MAGIC && fs.f_type != TMPFS_MAGIC)) {
		finding_set(finding, DOCTOR_MISSING, "/sys/fs/cgroup has none");
		finding_cure(finding, "sudo mount -t cgroup2 none /sys/fs/cgroup");
		return;
	}
	if (fs.f_type == TMPFS_MAGIC) {
		finding_set(finding, DOCTOR_OK, "version 1, a directory per controller");
		return;
	}
	if (read_file("/sys/fs/cgroup/cgroup.controllers", "Controllers", WORDS_MAX, &text, &len,
		      &err) < 0) {
		finding_set(finding, DOCTOR_UNKNOWN, "%s", err.msg);
		return;
	}
	text[strcspn(text, "\n")] = '\0';
	if (text[0] == '\0') {
		finding_set(finding, DOCTOR_MISSING, "version 2, without controllers");
		finding_cure(finding, "boot with cgroup_no_v1=all, so that version 2 has them");
		return;
	}
	finding_set(finding, DOCTOR_OK, "version 2 (jailer --cgroup-version 2): %.500s", text);
}

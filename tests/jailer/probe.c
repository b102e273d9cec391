/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that the jailer's tests jail: reports what it sees, as `name=value` lines in /report
 * and on standard output.
 *
 * Jailed with the argument `wait` it goes on until /stop is there, half a minute at most. Outside,
 * `probe socket PATH` makes a socket for the tests to plant, and `probe as UID PROGRAM ARG...` runs
 * a program as somebody else, for which small systems lack a tool. `probe swap ROOT FILE DIR` makes
 * links to the host's file and directory ("": none) in a jail's root, over and over, until it is
 * killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/attr.h"
#include "vmm/base/bytes.h"

extern char **environ;

enum {
	FD_COUNT = 256,
	CAP_COUNT = 64,
	WAIT_ROUNDS = 1500,
	WAIT_US = 20000
};

static int make_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	return fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0;
}

static int run_as(uid_t uid, char *argv[])
{
	if (setgroups(0, NULL) == 0 && setresgid(uid, uid, uid) == 0 &&
	    setresuid(uid, uid, uid) == 0) {
		execv(argv[0], argv);
	}
	perror(argv[0]);
	return EXIT_FAILURE;
}

/* Whatever of this fails, the jailer was in between. */
static NORETURN void swap(const char *root, const char *file, const char *dir)
{
	static const char *const dirs[] = {"dev", "dev/net", "run", "sys"};
	static const char *const files[] = {"jailer_probe", "jailer_probe.pid", "dev/kvm",
					    "dev/net/tun", "dev/urandom"};
	int fd = open(root, O_RDONLY | O_DIRECTORY);

	for (;;) {
		for (size_t i = 0; dir[0] != '\0' && i < ARRAY_COUNT(dirs); i++) {
			(void)!renameat(fd, dirs[i], fd, "aside");
			(void)!symlinkat(dir, fd, dirs[i]);
			(void)!unlinkat(fd, dirs[i], 0);
			(void)!mkdirat(fd, dirs[i], 0777);
			(void)!unlinkat(fd, "aside", AT_REMOVEDIR);
		}
		/* What the jailer has just made is another name of the host's file now. */
		for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
			if (unlinkat(fd, files[i], 0) == 0) {
				(void)!linkat(AT_FDCWD, file, fd, files[i], 0);
			}
		}
	}
}

static const char *outcome(int status)
{
	return status < 0 ? strerrorname_np(errno) : "ok";
}

static void report_process(FILE *out, int argc, char *argv[])
{
	gid_t groups[32];
	struct rlimit files;
	struct rlimit size;
	char cwd[64] = "";
	unsigned env_count = 0;
	mode_t mask = umask(0);

	umask(mask);
	for (char **next = environ; *next != NULL; next++) {
		env_count++;
	}
	fputs("args=", out);
	for (int i = 0; i < argc; i++) {
		fprintf(out, "%s%s", i > 0 ? " " : "", argv[i]);
	}
	fprintf(out, "\nenv=%u\npid=%d\nppid=%d\nleads_session=%d\n", env_count, getpid(),
		getppid(), getsid(0) == getpid());
	fprintf(out, "uid=%u\ngid=%u\ngroups=%d\numask=%o\n", getuid(), getgid(),
		getgroups(ARRAY_COUNT(groups), groups), mask);
	fprintf(out, "cwd=%s\n", getcwd(cwd, sizeof(cwd)) != NULL ? cwd : "?");
	getrlimit(RLIMIT_NOFILE, &files);
	getrlimit(RLIMIT_FSIZE, &size);
	fprintf(out, "no_file=%llu %llu\nfsize=%lld %lld\n", (unsigned long long)files.rlim_cur,
		(unsigned long long)files.rlim_max, (long long)size.rlim_cur,
		(long long)size.rlim_max);
}

/* Whether others may trust the file with our pid: we have its directory, but not the file. */
static void report_pid_file(FILE *out, const char *own_path)
{
	char path[256];

	(void)!snprintf(path, sizeof(path), "%s.pid", own_path);
	fprintf(out, "write_pid_file=%s\n", outcome(open(path, O_WRONLY | O_CLOEXEC)));
	fprintf(out, "move_pid_file=%s\n", outcome(rename(path, "/moved")));
	fprintf(out, "remove_pid_file=%s\n", outcome(unlink(path)));
}

static void report_files(FILE *out)
{
	static const char *const devices[] = {"kvm", "net/tun", "urandom"};
	struct stat root;
	struct stat above;
	struct stat null;

	fputs("fds=", out);
	for (int fd = 0; fd < FD_COUNT; fd++) {
		if (fd != fileno(out) && fcntl(fd, F_GETFD) >= 0) {
			fprintf(out, "%d ", fd);
		}
	}
	fputc('\n', out);
	fprintf(out, "stdin_is_null=%d\n",
		fstat(STDIN_FILENO, &null) == 0 && S_ISCHR(null.st_mode) && null.st_rdev == 0x103);
	for (size_t i = 0; i < ARRAY_COUNT(devices); i++) {
		char path[32];

		(void)!snprintf(path, sizeof(path), "/dev/%s", devices[i]);
		fprintf(out, "%s=%s\n", path, outcome(open(path, O_RDWR | O_CLOEXEC)));
	}
	fprintf(out, "above_is_root=%d\n",
		stat("/", &root) == 0 && stat("/..", &above) == 0 && root.st_ino == above.st_ino &&
			root.st_dev == above.st_dev);
	fprintf(out, "old_root=%s\n", outcome(access("/old_root", F_OK)));
}

static void report_powers(FILE *out, const char *self)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	unsigned bounding = 0;
	unsigned any = 0;

	syscall(SYS_capget, &header, data);
	for (unsigned i = 0; i < ARRAY_COUNT(data); i++) {
		any |= data[i].effective | data[i].permitted | data[i].inheritable;
	}
	for (unsigned long cap = 0; cap < CAP_COUNT; cap++) {
		bounding += prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1;
	}
	fprintf(out, "caps=%x\nbounding=%u\nno_new_privs=%d\nsecurebits=%x\n", any, bounding,
		prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
	fprintf(out, "mount=%s\n", outcome(mount("none", "/run", "tmpfs", 0, NULL)));
	fprintf(out, "mknod=%s\n", outcome(mknod("/null", S_IFCHR | 0600, 0x103)));
	fprintf(out, "chroot=%s\n", outcome(chroot("/run")));
	fprintf(out, "setgroups=%s\n", outcome(setgroups(0, NULL)));
	fprintf(out, "write_self=%s\n", outcome(open(self, O_WRONLY | O_CLOEXEC)));
}

int main(int argc, char *argv[])
{
	if (argc == 3 && strcmp(argv[1], "socket") == 0) {
		return make_socket(argv[2]);
	}
	if (argc > 3 && strcmp(argv[1], "as") == 0) {
		return run_as((uid_t)atoi(argv[2]), argv + 3);
	}
	if (argc == 5 && strcmp(argv[1], "swap") == 0) {
		swap(argv[2], argv[3], argv[4]);
	}
	FILE *out = fopen("/report.part", "we");

	if (out == NULL) {
		perror("probe: /report.part");
		return EXIT_FAILURE;
	}
	report_process(out, argc, argv);
	report_pid_file(out, argv[0]);
	report_files(out);
	report_powers(out, argv[0]);
	(void)!fclose(out);
	(void)!rename("/report.part", "/report");
	puts("probe: done");
	fflush(stdout);
	if (strcmp(argv[argc - 1], "wait") == 0) {
		for (unsigned i = 0; i < WAIT_ROUNDS && access("/stop", F_OK) < 0; i++) {
			usleep(WAIT_US);
		}
	}
	return EXIT_SUCCESS;
}

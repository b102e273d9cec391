/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts the jailed program.
 *
 * Theory of operation. Without flags the jailer becomes the program, pid and all. A daemon is its
 * grandchild, no session leader, so it can't get a terminal. In a new PID namespace it is a child,
 * since a process can't change its own; where the jailer leads its session, that child leads
 * another, or it would get SIGHUP when the jailer ends.
 *
 * With children, the process that the user called waits for the end of file on a pipe whose
 * write end closes at execve(2), and so knows that the program runs; a sentence from the pipe is
 * an error. The new namespace's child in turn waits until its pid is in the file.
 *
 * The file with the pid is made while the root is still taken; the root's owner gets it right
 * before the program starts.
 */
#include "tools/jailer/launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/jailer/caps.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"

enum {
	NUMBER_LEN = 24,
	OWN_ARGS_MAX = 10,     /* of the program, beside the user's */
	FIFO_SEARCH_MAX = 1000 /* names in a jail that others may have filled */
};

/* What each process of the chain knows in addition to the job. */
struct chain {
	const struct launch *launch;
	int report[2];	      /* pipe for an error's sentence; -1: there is one process only */
	uint64_t cpu_used_us; /* by the processes before this one */
};

uint64_t launch_clock_us(clockid_t clock)
{
	return clock_host.now_ns(clock) / NS_PER_US;
}

/* --- The program --- */

static int set_limit(int resource, const char *name, uint64_t value, struct error *err)
{
	struct rlimit limit = {.rlim_cur = value, .rlim_max = value};

	if (setrlimit((__rlimit_resource_t)resource, &limit) < 0) {
		return error_sys(err, "Failed to set limit for resource: %s", name);
	}
	return 0;
}

static int set_limits(const struct jail_args *args, struct error *err)
{
	if (args->has_fsize && set_limit(RLIMIT_FSIZE, "size of file", args->fsize, err) < 0) {
		return -1;
	}
	return set_limit(RLIMIT_NOFILE, "number of file descriptors", args->no_file, err);
}

static int execute(const struct chain *chain, struct error *err)
{
	const struct launch *launch = chain->launch;
	const struct jail_args *args = launch->args;
	char path[NAME_MAX + 2];
	char start[NUMBER_LEN];
	char start_cpu[NUMBER_LEN];
	char parent_cpu[NUMBER_LEN];
	char *const environment[] = {NULL};
	uint64_t cpu_us = launch_clock_us(CLOCK_PROCESS_CPUTIME_ID);
	AUTO_FREE const char **argv =
		calloc(args->extra_count + OWN_ARGS_MAX, sizeof(const char *));

	if (argv == NULL) {
		return error_sys(err, "No memory for the arguments");
	}
	(void)!snprintf(path, sizeof(path), "/%s", launch->exec_name);
	(void)!snprintf(start, sizeof(start), "%llu", (unsigned long long)launch->start_us);
	(void)!snprintf(start_cpu, sizeof(start_cpu), "%llu", (unsigned long long)cpu_us);
	(void)!snprintf(parent_cpu, sizeof(parent_cpu), "%llu",
			(unsigned long long)(chain->cpu_used_us + cpu_us - launch->start_cpu_us));
	const char *const own[] = {path,      "--id",
				   args->id,  "--start-time-us",
				   start,     "--start-time-cpu-us",
				   start_cpu, "--parent-cpu-time-us",
				   parent_cpu};

	memcpy(argv, own, sizeof(own));
	memcpy(argv + ARRAY_COUNT(own), args->extra, args->extra_count * sizeof(argv[0]));
	umask(launch->mask);
	execve(path, (char *const *)argv, environment);
	return error_sys(err, "Failed to exec into Firecracker");
}

/*
 * Kata Containers makes FIFOs for logs and metrics with mode 0, which user 0 opens upstream by its
 * capabilities. Here the user, who has none by now, permits itself what an owner may. Where that
 * fails, the program says what it can't open.
 */
static void permit_fifos(uid_t user)
{
	DIR *root = opendir("/");
	struct dirent *entry = root != NULL ? readdir(root) : NULL;
	struct stat file;

	for (int i = 0; entry != NULL && i < FIFO_SEARCH_MAX; i++, entry = readdir(root)) {
		bool is_shut =
			fstatat(dirfd(root), entry->d_name, &file, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISFIFO(file.st_mode) && file.st_uid == user &&
			(file.st_mode & ACCESSPERMS) == 0;

		if (is_shut && fchmodat(dirfd(root), entry->d_name, S_IRUSR | S_IWUSR, 0) < 0) {
			break;
		}
	}
	if (root != NULL) {
		(void)closedir(root);
	}
}

/* Sets limits, drops privileges and executes the program: in the last process of the chain. */
static int become(const struct chain *chain, struct error *err)
{
	const struct launch *launch = chain->launch;
	struct beneath_owner owner = {.uid = launch->args->uid, .gid = launch->args->gid};

	if (launch->dev_null >= 0 && (dup2(launch->dev_null, STDIN_FILENO) < 0 ||
				      dup2(launch->dev_null, STDOUT_FILENO) < 0 ||
				      dup2(launch->dev_null, STDERR_FILENO) < 0)) {
		return error_sys(err, "Failed to duplicate fd");
	}
	if (set_limits(launch->args, err) < 0 || caps_drop(owner, err) < 0) {
		return -1;
	}
	permit_fifos(owner.uid);
	return execute(chain, err);
}

/* --- Its pid --- */

static int write_pid(const struct launch *launch, pid_t pid, struct error *err)
{
	struct beneath_owner owner = {.uid = launch->args->uid, .gid = launch->args->gid};
	char name[NAME_MAX + 1];
	char text[NUMBER_LEN];

	(void)!snprintf(text, sizeof(text), "%d", pid);
	if (snprintf(name, sizeof(name), "%s.pid", launch->exec_name) >= (int)sizeof(name)) {
		return error_set(err, ERR_TOO_LARGE, "The program's name is too long");
	}
	/*
	 * The owner of the file is root, and it is a mount, so the program can neither write to it
	 * nor put another in its place: it can't make others signal a foreign process.
	 */
	if (beneath_new_file(launch->root, name, text, (struct beneath_owner){0}, err) < 0 ||
	    beneath_pin_file(launch->root, name, err) < 0) {
		return -1;
	}
	return beneath_give(launch->root, owner, err);
}

/* --- Processes --- */

/* Ends a process that is not the one which the user called. */
static NORETURN void leave(const struct chain *chain, const struct error *err)
{
	if (err->kind != ERR_NONE) {
		(void)!write(chain->report[1], err->msg, strlen(err->msg));
	}
	_exit(err->kind != ERR_NONE);
}

/* The process that the user called: ends as the start ended. */
static int wait_start(struct chain *chain, struct error *err)
{
	char text[ERROR_MSG_LEN];
	size_t len = 0;
	ssize_t got;

	fd_close(&chain->report[1]);
	do {
		got = read(chain->report[0], text + len, sizeof(text) - 1 - len);
		len += got > 0 ? (size_t)got : 0;
	} while (got > 0 || (got < 0 && errno == EINTR));
	if (len == 0) {
		_exit(EXIT_SUCCESS);
	}
	text[len] = '\0';
	return error_set(err, ERR_HOST, "%s", text);
}

static int run_in_pid_ns(struct chain *chain, struct error *err)
{
	bool leads_session = getsid(0) == getpid();
	int written[2] = {-1, -1};

	if (pipe2(written, O_CLOEXEC) < 0 || unshare(CLONE_NEWPID) < 0) {
		return error_sys(err, "Failed cloning into a new child process");
	}
	uint64_t cpu_us = launch_clock_us(CLOCK_PROCESS_CPUTIME_ID);
	pid_t pid = fork();

	if (pid < 0) {
		return error_sys(err, "Failed cloning into a new child process");
	}
	if (pid == 0) {
		char go;

		fd_close(&written[1]);
		chain->cpu_used_us += cpu_us;
		if (read(written[0], &go, sizeof(go)) != sizeof(go)) {
			_exit(EXIT_FAILURE);
		}
		if (leads_session && setsid() < 0) {
			(void)error_sys(err, "Failed to daemonize: setsid");
			leave(chain, err);
		}
		(void)!become(chain, err);
		leave(chain, err);
	}
	/* If this fails, the child reads the end of the file, and ends. */
	if (write_pid(chain->launch, pid, err) < 0) {
		return -1;
	}
	if (write(written[1], "", 1) != 1) {
		return error_sys(err, "Failed cloning into a new child process");
	}
	return 0;
}

/* In the process that is not to be told from the jailer by its pid, or of the daemon's parent. */
static int start(struct chain *chain, struct error *err)
{
	if (chain->launch->args->has_pid_ns) {
		return run_in_pid_ns(chain, err);
	}
	if (write_pid(chain->launch, getpid(), err) < 0) {
		return -1;
	}
	return become(chain, err);
}

static NORETURN void run_daemon(struct chain *chain, struct error *err)
{
	pid_t pid;

	if (setsid() < 0) {
		(void)error_sys(err, "Failed to daemonize: setsid");
		leave(chain, err);
	}
	chain->cpu_used_us += launch_clock_us(CLOCK_PROCESS_CPUTIME_ID);
	pid = fork();
	if (pid < 0) {
		(void)error_sys(err, "Failed to daemonize");
	} else if (pid == 0) {
		(void)!start(chain, err);
	}
	leave(chain, err);
}

int launch_run(const struct launch *launch, struct error *err)
{
	struct chain chain = {.launch = launch, .report = {-1, -1}};
	const struct jail_args *args = launch->args;

	if ((args->is_daemon || args->has_pid_ns) && pipe2(chain.report, O_CLOEXEC) < 0) {
		return error_sys(err, "Failed to daemonize");
	}
	if (args->is_daemon) {
		uint64_t cpu_us = launch_clock_us(CLOCK_PROCESS_CPUTIME_ID);
		pid_t pid = fork();

		if (pid < 0) {
			return error_sys(err, "Failed to daemonize");
		}
		if (pid == 0) {
			chain.cpu_used_us = cpu_us;
			run_daemon(&chain, err);
		}
	} else if (start(&chain, err) < 0) {
		return -1;
	}
	return wait_start(&chain, err);
}

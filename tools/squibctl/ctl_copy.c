/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files between this host and a machine.
 *
 * Theory of operation. A copy is a command of the guest's first process, whose input or output is a
 * tar archive. On this side a child makes or takes that archive through a pipe, unless it is our
 * own standard input or output. Each side does in its files what its own code lets it: the guest
 * has nothing to say about where on the host a file goes.
 */
#include "tools/squibctl/ctl_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/guest_init/tar.h"
#include "tools/squibctl/ctl_clean.h"
#include "tools/squibctl/ctl_request.h"
#include "tools/squibctl/ctl_session.h"
#include "vmm/base/fd.h"

struct copy {
	const char *from;
	const char *to;
	const char *dir; /* of the guest, made if it is not there, that its path begins at; "": / */
	bool is_in;	 /* into the machine */
};

/* In a child: the host's side. Returns its exit status. */
static int work(const struct copy *copy, int fd)
{
	static struct tar_fault fault;
	bool is_done =
		copy->is_in ? tar_pack(fd, copy->from, &fault) : tar_unpack(fd, copy->to, &fault);

	if (!is_done) {
		ctl_complain(fault.text);
	} else if (fault.left_out > 0) {
		fprintf(stderr, "squibctl: left out %u devices, sockets or the like\n",
			fault.left_out);
	}
	return is_done ? 0 : 1;
}

/* Starts the child; its archive is our standard input, or output. Returns its pid. */
static pid_t start_worker(const struct copy *copy, struct error *err)
{
	int ends[2];
	unsigned ours = copy->is_in ? 0 : 1;

	if (pipe2(ends, O_CLOEXEC) < 0) {
		return (pid_t)error_sys(err, "Cannot make a pipe");
	}
	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0) {
		close(ends[ours]);
		/* Once the other side has gone there is nothing left to do. */
		signal(SIGPIPE, SIG_DFL);
		_exit(work(copy, ends[1 - ours]));
	}
	close(ends[1 - ours]);
	if (pid < 0 || dup2(ends[ours], copy->is_in ? STDIN_FILENO : STDOUT_FILENO) < 0) {
		close(ends[ours]);
		return (pid_t)error_sys(err, "Cannot make a process");
	}
	close(ends[ours]);
	return pid;
}

static bool end_worker(pid_t pid)
{
	int status = 0;

	/* Whoever waits for an archive, or for its taker, sees that we are done. */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The guest's side. Returns what session_run does. */
static int converse(const struct machine *machine, const struct copy *copy, struct error *err)
{
	static struct frames frames;
	static struct run_request request;
	const struct session_options options = {.has_input = copy->is_in, .is_plain = true};
	AUTO_FD fd = -1;

	if (session_reach(machine, &fd, err) < 0) {
		return -1;
	}
	request = (struct run_request){
		.flags = copy->is_in ? RUN_UNPACK | RUN_STDIN : RUN_PACK,
		.host = "",
		.user = "",
		.dir = copy->dir,
		.word_count = 1,
		.words = {copy->is_in ? copy->to : copy->from},
	};
	memset(&frames, 0, sizeof(frames));
	frames.fd = fd;
	return session_put_request(&frames, &request, err) < 0
		       ? -1
		       : session_run(&frames, &options, err);
}

/* The archive's other end is ours: closed, so that the worker comes to its end. */
static void close_archive(const struct copy *copy)
{
	int ours = copy->is_in ? STDIN_FILENO : STDOUT_FILENO;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)!dup2(null, ours);
	fd_close(&null);
}

static int run(const struct machine *machine, const struct copy *copy, struct error *err)
{
	bool is_ours = strcmp(copy->is_in ? copy->from : copy->to, "-") == 0;
	struct stat st;

	/* One sentence, where each side would have one. */
	if (copy->is_in && !is_ours && lstat(copy->from, &st) < 0) {
		return error_sys(err, "Cannot find %s", copy->from);
	}
	pid_t pid = is_ours ? 0 : start_worker(copy, err);

	if (pid < 0) {
		return -1;
	}
	int status = converse(machine, copy, err);
	bool is_done = true;

	if (!is_ours) {
		if (status != 0) {
			/* That its archive is cut off is nothing new. */
			kill(pid, SIGTERM);
		}
		close_archive(copy);
		is_done = end_worker(pid);
	}
	if (status != 0 && err->msg[0] == '\0') {
		return error_set(err, ERR_GUEST, "The guest's side of the copy has failed");
	}
	if (status == 0 && !is_done) {
		return error_set(err, ERR_HOST, "This host's side of the copy has failed");
	}
	return status == 0 ? 0 : -1;
}

int ctl_copy_in(const struct machine *machine, const char *from, const char *to, struct error *err)
{
	const struct copy copy = {.from = from, .to = ".", .dir = to, .is_in = true};

	return run(machine, &copy, err);
}

/* --- the command --- */

/* The path behind "NAME:", whose length is *name_len; NULL: it is a path of this host. */
static const char *guest_path(const char *word, size_t *name_len)
{
	*name_len = strcspn(word, ":/");
	return word[*name_len] == ':' && *name_len > 0 ? word + *name_len + 1 : NULL;
}

int ctl_copy(const struct ctl_args *args)
{
	struct machine machine = {0};
	struct error err = {0};
	size_t from_len;
	size_t to_len;
	const char *from = guest_path(args->operands[0], &from_len);
	const char *to = guest_path(args->operands[1], &to_len);
	char name[MACHINE_NAME_MAX + 2];

	if ((from != NULL) == (to != NULL)) {
		return ctl_fail(CTL_EXIT_USAGE, "One of the two is in a machine: NAME:PATH", NULL);
	}
	if (to == NULL && strcmp(args->operands[1], "-") == 0 && isatty(STDOUT_FILENO) == 1) {
		return ctl_fail(CTL_EXIT_USAGE, "An archive is nothing for a terminal",
				"direct it into a file, or a program");
	}
	const struct copy copy = {
		.from = from != NULL ? from : args->operands[0],
		.to = to != NULL ? to : args->operands[1],
		.dir = "",
		.is_in = to != NULL,
	};

	snprintf(name, sizeof(name), "%.*s", (int)(from != NULL ? from_len : to_len),
		 args->operands[from != NULL ? 0 : 1]);
	int status = -1;

	if (ctl_machine_open(name, &machine, &err) == 0 &&
	    ctl_machine_check_runs(&machine, &err) == 0) {
		status = run(&machine, &copy, &err);
	}
	ctl_machine_close(&machine);
	return status == 0 ? CTL_EXIT_OK : (int)ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
}

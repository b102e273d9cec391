/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a command: its user, its directory, its terminal or pipes. */
#include "tools/guest_init/guest_init.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "tools/guest_init/tar.h"
#include "tools/guest_init/user.h"

enum {
	TEXT_MAX = 1 << 20, /* bytes of /etc/passwd and /etc/group */
	ENDS = 2,
};

/* The three descriptors of the command, and our ends of them. */
struct channels {
	int theirs[3];
	int ours[3];
	bool is_of_session; /* this process leads the session whose terminal they are */
};

static void set_nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void close_all(int fds[3])
{
	for (unsigned i = 0; i < 3; i++) {
		if (fds[i] > STDERR_FILENO) {
			close(fds[i]);
		}
		fds[i] = -1;
	}
}

static bool open_pipes(struct channels *channels, bool has_input)
{
	int ends[ENDS];

	for (unsigned i = 0; i < 3; i++) {
		unsigned ours = i == 0 ? 1 : 0;

		if (i == 0 && !has_input) {
			channels->theirs[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
			continue;
		}
		if (pipe2(ends, O_CLOEXEC) < 0) {
			return false;
		}
		channels->ours[i] = ends[ours];
		channels->theirs[i] = ends[1 - ours];
		set_nonblocking(channels->ours[i]);
	}
	return true;
}

void guest_resize(int terminal, uint32_t rows, uint32_t columns)
{
	struct winsize size = {.ws_row = (uint16_t)rows, .ws_col = (uint16_t)columns};

	ioctl(terminal, TIOCSWINSZ, &size);
}

static bool open_terminal(struct channels *channels, const struct run_request *request)
{
	int zero = 0;
	int number;
	char path[32];
	int terminal = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

	if (terminal < 0 || ioctl(terminal, TIOCSPTLCK, &zero) < 0 ||
	    ioctl(terminal, TIOCGPTN, &number) < 0) {
		return false;
	}
	snprintf(path, sizeof(path), "/dev/pts/%d", number);
	int slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (slave < 0) {
		return false;
	}
	guest_resize(terminal, request->rows, request->columns);
	for (unsigned i = 0; i < 3; i++) {
		channels->theirs[i] = slave;
	}
	/* Both ways through two descriptors, so that each is closed alone. */
	channels->ours[0] = fcntl(terminal, F_DUPFD_CLOEXEC, 3);
	channels->ours[1] = terminal;
	return channels->ours[0] >= 0;
}

static bool has_variable(const struct run_request *request, const char *name)
{
	size_t len = strlen(name);

	for (unsigned i = 0; i < request->env_count; i++) {
		if (strncmp(request->env[i], name, len) == 0 && request->env[i][len] == '=') {
			return true;
		}
	}
	return false;
}

/* Adds NAME=VALUE where the request has not that name. */
static void add_variable(struct run_request *request, const char *name, const char *value)
{
	char *text;

	if (request->env_count < RUN_WORDS_MAX && !has_variable(request, name) &&
	    asprintf(&text, "%s=%s", name, value) >= 0) {
		request->env[request->env_count++] = text;
		request->env[request->env_count] = NULL;
	}
}

static char *read_text(const char *path)
{
	char *text = calloc(1, TEXT_MAX + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t len = 0;
	ssize_t got = 1;

	while (text != NULL && fd >= 0 && got > 0 && len < TEXT_MAX) {
		got = read(fd, text + len, TEXT_MAX - len);
		len += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	return text;
}

static bool find_user(const struct run_request *request, struct user *user)
{
	char *passwd = read_text("/etc/passwd");
	char *group = read_text("/etc/group");

	return passwd != NULL && group != NULL && user_find(passwd, group, request->user, user);
}

/* Of the terminal at input; who is not in its foreground may not say so, but for this. */
static bool take_foreground(void)
{
	signal(SIGTTOU, SIG_IGN);
	bool is_taken = setpgid(0, 0) == 0 && tcsetpgrp(0, getpid()) == 0;

	signal(SIGTTOU, SIG_DFL);
	return is_taken;
}

static bool lead_session(const struct run_request *request)
{
	setsid();
	return (request->flags & RUN_TTY) == 0 || ioctl(0, TIOCSCTTY, 0) == 0;
}

/* In the process of the command. Returns what failed, with errno. */
static const char *become(const struct run_request *request, const struct user *user,
			  const struct channels *channels)
{
	const char *dir = request->dir[0] != '\0' ? request->dir : "/";
	sigset_t none;

	for (int i = 0; i < 3; i++) {
		if (dup2(channels->theirs[i], i) < 0) {
			return "Cannot set up input and output of";
		}
	}
	if (channels->is_of_session ? !take_foreground() : !lead_session(request)) {
		return "Cannot give a terminal to";
	}
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if ((request->flags & RUN_TTY) != 0) {
		(void)!fchown(0, user->uid, (gid_t)-1);
	}
	if (setgroups(user->group_count, user->groups) < 0 || setgid(user->gid) < 0 ||
	    setuid(user->uid) < 0) {
		return "Cannot become the user of";
	}
	if (chdir(dir) < 0) {
		return "Cannot enter the working directory of";
	}
	return NULL;
}

/* Returns what failed, with errno, if it returns. */
static const char *execute(const struct run_request *request)
{
	environ = (char **)request->env;
	execvp(request->words[0], (char *const *)request->words);
	return "Cannot execute";
}

/* What needs no program of the image's. Returns its exit status. */
static int copy(const struct run_request *request)
{
	static struct tar_fault fault;
	bool is_done = (request->flags & RUN_PACK) != 0
			       ? tar_pack(STDOUT_FILENO, request->words[0], &fault)
			       : tar_unpack(STDIN_FILENO, request->words[0], &fault);

	if (!is_done) {
		dprintf(STDERR_FILENO, "In the guest: %s\n", fault.text);
	} else if (fault.left_out > 0) {
		dprintf(STDERR_FILENO, "Left out: %u devices, sockets or the like\n",
			fault.left_out);
	}
	return is_done ? 0 : 1;
}

static bool spawn(const struct run_request *request, const struct user *user,
		  const struct channels *channels, struct guest_command *command)
{
	struct {
		const char *fault_of; /* a constant of this program: the child has the same */
		int fault;
	} word = {0};
	int report[ENDS];

	if (pipe2(report, O_CLOEXEC) < 0) {
		return false;
	}
	command->pid = fork();
	if (command->pid == 0) {
		word.fault_of = become(request, user, channels);
		if (word.fault_of == NULL && (request->flags & (RUN_PACK | RUN_UNPACK)) != 0) {
			/* As by an execution. */
			close_range(STDERR_FILENO + 1, ~0U, 0);
			_exit(copy(request));
		}
		if (word.fault_of == NULL) {
			word.fault_of = execute(request);
		}
		word.fault = errno;
		(void)!write(report[1], &word, sizeof(word));
		_exit(127);
	}
	close(report[1]);
	/* The pipe is closed by a program that was executed. */
	if (command->pid > 0 && read(report[0], &word, sizeof(word)) == sizeof(word)) {
		command->fault_of = word.fault_of;
		command->fault = word.fault;
	}
	close(report[0]);
	return command->pid > 0 && command->fault_of == NULL;
}

static void complete(struct run_request *request, const struct user *user)
{
	add_variable(request, "PATH",
		     "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	add_variable(request, "HOME", user->home);
	if (request->host[0] != '\0') {
		add_variable(request, "HOSTNAME", request->host);
	}
	if ((request->flags & RUN_TTY) != 0) {
		add_variable(request, "TERM", "xterm");
	}
}

bool guest_start(struct run_request *request, struct guest_command *command)
{
	return guest_start_at(request, -1, command);
}

bool guest_start_at(struct run_request *request, int terminal, struct guest_command *command)
{
	struct channels channels = {.theirs = {-1, -1, -1}, .ours = {-1, -1, -1}};
	bool is_tty = (request->flags & RUN_TTY) != 0;
	struct user user;

	*command = (struct guest_command){.in = -1, .out = -1, .err = -1};
	if (!find_user(request, &user)) {
		command->fault_of = "The image has no user or group";
		return false;
	}
	guest_make_path(request->dir);
	complete(request, &user);
	channels.is_of_session = terminal >= 0;
	for (unsigned i = 0; terminal >= 0 && i < 3; i++) {
		channels.theirs[i] = terminal;
	}
	if (terminal < 0 && !(is_tty ? open_terminal(&channels, request)
				     : open_pipes(&channels, (request->flags & RUN_STDIN) != 0))) {
		command->fault_of = is_tty ? "Cannot open a terminal for" : "Cannot open pipes for";
		command->fault = errno;
	} else if (!spawn(request, &user, &channels, command) && command->fault_of == NULL) {
		command->fault_of = "Cannot make a process for";
		command->fault = errno;
	}
	close_all(channels.theirs);
	command->in = channels.ours[0];
	command->out = channels.ours[1];
	command->err = channels.ours[2];
	return command->fault_of == NULL;
}

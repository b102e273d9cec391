/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine without squibctl beside it: the command is in the initrd, its terminal is the console.
 *
 * Theory of operation. The first process waits for the command's end, reaps what has lost its
 * parent meanwhile, and ends the machine. Ctrl-Alt-Del, which the kernel makes a SIGINT, is passed
 * on as SIGTERM: so a host can ask the command to end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tools/guest_init/guest_init.h"

enum {
	NAME_LEN = 64
};

static volatile pid_t command_pid;

static void on_ctrl_alt_del(int number)
{
	(void)number;
	if (command_pid > 0) {
		kill(command_pid, SIGTERM);
	}
}

/* The last one that the kernel has, by its own name: /dev/console can't be a session's terminal. */
static int open_console(void)
{
	char names[NAME_LEN] = "";
	char path[NAME_LEN + 8];
	int fd = open("/sys/class/tty/console/active", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, names, sizeof(names) - 1) : 0;

	close(fd);
	names[len > 0 ? len : 0] = '\0';
	names[strcspn(names, "\n")] = '\0';
	const char *space = strrchr(names, ' ');

	snprintf(path, sizeof(path), "/dev/%s", space != NULL ? space + 1 : names);
	return open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static void read_request(int fd, struct run_request *request)
{
	static uint8_t bytes[FRAME_MAX];
	size_t len = 0;
	ssize_t got = 1;

	while (got > 0 && len < sizeof(bytes)) {
		got = read(fd, bytes + len, sizeof(bytes) - len);
		len += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	if (!run_request_read(bytes, len, request)) {
		guest_die("The initrd has no command in", "/request", 0);
	}
}

/* Until the command has ended; the exit status as a shell has it. */
static int wait_for_command(void)
{
	int status = 0;
	pid_t pid;

	do {
		pid = wait(&status);
	} while (pid != command_pid && (pid > 0 || errno == EINTR));
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void guest_run_alone(int fd)
{
	static struct run_request request;
	const struct sigaction action = {.sa_handler = on_ctrl_alt_del};
	struct guest_command command;
	char status[16];

	read_request(fd, &request);
	(void)!sethostname(request.host, strlen(request.host));
	reboot(RB_DISABLE_CAD);
	sigaction(SIGINT, &action, NULL);
	int console = open_console();

	/* When a session's leader ends, the kernel throws away what its terminal has not sent. */
	setsid();
	if (console < 0 || ioctl(console, TIOCSCTTY, 1) < 0) {
		guest_die("Cannot open", "the console", errno);
	}
	if (!guest_start_at(&request, dup(console), &command)) {
		guest_die(command.fault_of, command.fault == 0 ? request.user : request.words[0],
			  command.fault);
	}
	command_pid = command.pid;
	snprintf(status, sizeof(status), "%d", wait_for_command());
	(void)!tcdrain(console);
	guest_die("the command has ended with", status, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs monitors in turn, each with a guest that measures its devices, and notes the results.
 *
 * usage: devices [-k] [-p PID] [-t TAP -u UNIX_PATH] [-n ROUNDS]
 *                -- NAME COMMAND... [-- NAME COMMAND...]
 *
 * Output: a line per row and round, "NAME ROW COUNT NANOSECONDS VCPU_NS OTHER_NS EXITS INTERRUPTS",
 * separated by tabs: what the guest's clock said the row took, what the monitor's vCPU threads and
 * its other threads spent meanwhile, and what KVM counted. Of a figure that the guest knows itself
 * it is in place of the nanoseconds, with a count of 1. The guest's program is tests/bench/guest/.
 *
 * With -p the time of another process, which serves the guest too, is added to OTHER_NS.
 * With -k a monitor is killed when its guest says that it is done: for guests that can't end it.
 * With -t and -u there is a peer for the guest's sockets. UNIX_PATH is where the monitor listens
 * for the host's connections to its virtio sockets; it is removed before each run.
 */
#include "tests/bench/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/commands.h"
#include "tests/bench/guest/operations.h"

enum {
	OUTPUT_MAX = 1 << 16,
	TIMEOUT_S = 60,
};

struct run {
	const struct command *command;
	const char *unix_path;
	pid_t pid;
	int out;
	bool is_done;
	bool is_killed; /* when it is done */
	pid_t helper;	/* 0: none */
	struct cpu_time begin;
	struct kvm_counts begin_counts;
	size_t len;
	size_t at; /* of the first byte that was not looked at */
	char output[OUTPUT_MAX];
};

void die(const char *format, ...)
{
	int sys = errno;
	va_list args;

	va_start(args, format);
	fprintf(stderr, "devices: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, " (%s)\n", strerror(sys));
	va_end(args);
	exit(EXIT_FAILURE);
}

static void start(struct run *run)
{
	int out[2];

	if (run->unix_path != NULL) {
		(void)unlink(run->unix_path);
	}
	if (pipe2(out, O_CLOEXEC) < 0) {
		die("pipe");
	}
	fflush(stdout);
	run->pid = fork();
	if (run->pid < 0) {
		die("fork");
	}
	if (run->pid == 0) {
		dup2(open("/dev/null", O_RDWR | O_CLOEXEC), STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		dup2(out[1], STDERR_FILENO);
		execv(run->command->args[0], run->command->args);
		die("%s", run->command->args[0]);
	}
	close(out[1]);
	run->out = out[0];
}

static struct cpu_time time_of(const struct run *run)
{
	struct cpu_time time = cpu_time_of(run->pid);

	if (run->helper != 0) {
		time.others += cpu_time_of(run->helper).others;
	}
	return time;
}

static void take_line(struct run *run, const char *line)
{
	const char *word = strstr(line, "bench: ");

	if (word == NULL) {
		return;
	}
	word += strlen("bench: ");
	if (strncmp(word, "begin ", 6) == 0) {
		fprintf(stderr, "%s: %s\n", run->command->name, word + 6);
		run->begin = time_of(run);
		run->begin_counts = kvm_counts();
	} else if (strncmp(word, "end ", 4) == 0) {
		struct kvm_counts counts = kvm_counts();
		struct cpu_time end = time_of(run);

		printf("%s\t%s\t%llu\t%llu\t%llu\t%llu\n", run->command->name, word + 4,
		       (unsigned long long)(end.vcpus - run->begin.vcpus),
		       (unsigned long long)(end.others - run->begin.others),
		       (unsigned long long)(counts.exits - run->begin_counts.exits),
		       (unsigned long long)(counts.interrupts - run->begin_counts.interrupts));
	} else if (strncmp(word, "value ", 6) == 0) {
		printf("%s\t%s\t0\t0\t0\t0\n", run->command->name, word + 6);
	} else if (strcmp(word, "done") == 0) {
		run->is_done = true;
		if (run->is_killed) {
			kill(run->pid, SIGKILL);
		}
	} else if (strncmp(word, "failed", 6) == 0) {
		kill(run->pid, SIGKILL);
	}
}

static void take_lines(struct run *run)
{
	char *end;

	while ((end = strchr(run->output + run->at, '\n')) != NULL) {
		*end = '\0';
		end[end > run->output && end[-1] == '\r' ? -1 : 0] = '\0';
		take_line(run, run->output + run->at);
		run->at = (size_t)(end - run->output) + 1;
	}
}

/* Reads until the end of the output. */
static void watch(struct run *run)
{
	struct pollfd poll_out = {.fd = run->out, .events = POLLIN};

	while (poll(&poll_out, 1, TIMEOUT_S * 1000) == 1) {
		size_t room = OUTPUT_MAX - 1 - run->len;
		ssize_t got = read(run->out, run->output + run->len, room);

		if (got <= 0) {
			return;
		}
		run->len += (size_t)got;
		run->output[run->len] = '\0';
		take_lines(run);
	}
	fprintf(stderr, "devices: %s did not end within %d s\n", run->command->name, TIMEOUT_S);
	kill(run->pid, SIGKILL);
}

static void measure(struct run *run)
{
	int status = 0;

	run->len = 0;
	run->at = 0;
	run->is_done = false;
	start(run);
	watch(run);
	waitpid(run->pid, &status, 0);
	close(run->out);
	if (!run->is_done) {
		fprintf(stderr, "devices: %s ended with status %#x and said:\n", run->command->name,
			status);
		for (size_t i = 0; i < run->len; i++) {
			fputc(run->output[i] == '\0' ? '\n' : run->output[i], stderr);
		}
		exit(EXIT_FAILURE);
	}
}

int main(int argc, char **argv)
{
	static struct run run;
	struct command commands[COMMANDS_MAX];
	unsigned rounds = 1;
	const char *tap = NULL;
	int option;

	while ((option = getopt(argc, argv, "+kn:p:t:u:")) != -1) {
		switch (option) {
		case 'k':
			run.is_killed = true;
			break;
		case 'n':
			rounds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'p':
			run.helper = (pid_t)strtol(optarg, NULL, 10);
			break;
		case 't':
			tap = optarg;
			break;
		case 'u':
			run.unix_path = optarg;
			break;
		default:
			return EXIT_FAILURE;
		}
	}
	unsigned count = parse_commands(argc, argv, commands);
	pid_t peer = -1;

	if (count == 0 || (tap == NULL) != (run.unix_path == NULL)) {
		fprintf(stderr, "usage: see the head of tests/bench/devices.c\n");
		return EXIT_FAILURE;
	}
	if (tap != NULL) {
		char path[96];

		snprintf(path, sizeof(path), "%s_%d", run.unix_path, OPS_PORT);
		peer = peer_start(tap, path);
	}
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < count; i++) {
			run.command = &commands[i];
			measure(&run);
		}
	}
	if (peer > 0) {
		kill(peer, SIGKILL);
	}
	return EXIT_SUCCESS;
}

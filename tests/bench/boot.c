/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs commands in turn and notes when each got where.
 *
 * usage: boot [-n RUNS] [-w WARM_UP] [-u TEXT] [-m GUEST_MIB] -- NAME COMMAND... [-- NAME
 * COMMAND...]
 *
 *   -n   runs of each command that are noted (default 1), alternating
 *   -w   runs before these that are not (default 0)
 *   -u   note when the command prints TEXT, as the mark "seen"
 *   -m   when it has printed TEXT, note how much memory it has, less a guest's GUEST_MIB, and kill
 * it
 *
 * Output: a line per mark, "NAME RUN MARK NANOSECONDS" or "NAME RUN MARK KIBIBYTES", separated by
 * tabs. The marks are those of a "timeline (us): main 12, ..." line that the command prints,
 * "seen", and "exit" when its process is gone; all count from just before exec, which replaces the
 * word
 * @exec_us@ among the arguments in microseconds of CLOCK_MONOTONIC.
 *
 * Theory of operation. The command's output is a pipe that nothing else waits on, so the time at
 * which poll returns is the time at which the words were written, but for one wake-up, which is the
 * same for every command. Memory is that of all mappings but the one that is as large as the
 * guest's RAM, or larger.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/commands.h"

enum {
	ARGS_MAX = 64,
	OUTPUT_MAX = 1 << 16,
	TIMEOUT_S = 120,
};

struct options {
	unsigned runs;
	unsigned warm_up;
	const char *until;
	unsigned long guest_mib; /* 0: memory isn't asked for */
	struct command commands[COMMANDS_MAX];
	unsigned count;
};

struct run {
	const struct options *options;
	const struct command *command;
	int number; /* negative: warming up */
	pid_t pid;
	int out;
	uint64_t *exec_ns; /* shared with the child */
	uint64_t seen_ns;
	char output[OUTPUT_MAX];
	size_t len;
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "boot: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void note(const struct run *run, const char *mark, uint64_t value)
{
	if (run->number >= 0) {
		printf("%s\t%d\t%s\t%llu\n", run->command->name, run->number, mark,
		       (unsigned long long)value);
	}
}

__attribute__((noreturn)) static void exec_child(struct run *run, int out)
{
	char exec_us[24];
	char *args[ARGS_MAX];
	size_t count = 0;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	for (; run->command->args[count] != NULL && count < ARGS_MAX - 1; count++) {
		bool is_time = strcmp(run->command->args[count], "@exec_us@") == 0;

		args[count] = is_time ? exec_us : run->command->args[count];
	}
	args[count] = NULL;
	*run->exec_ns = now_ns();
	snprintf(exec_us, sizeof(exec_us), "%llu", (unsigned long long)*run->exec_ns / 1000);
	execv(args[0], args);
	die(args[0]);
}

static void start(struct run *run)
{
	int out[2];

	if (pipe2(out, O_CLOEXEC) < 0) {
		die("pipe");
	}
	fflush(stdout);
	run->pid = fork();
	if (run->pid < 0) {
		die("fork");
	}
	if (run->pid == 0) {
		exec_child(run, out[1]);
	}
	close(out[1]);
	run->out = out[0];
}

/* Adds up "Name: N kB" of every mapping smaller than the guest's RAM. */
static void note_memory(const struct run *run)
{
	static const char *const fields[] = {"Rss", "Pss", "Private_Clean", "Private_Dirty"};
	uint64_t sums[4] = {0};
	uint64_t guest_len = (uint64_t)run->options->guest_mib << 20;
	char path[64];
	char line[512];
	unsigned long begin = 0;
	unsigned long end = 0;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)run->pid);
	FILE *file = fopen(path, "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		char name[32];
		unsigned long kib;

		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2 || end - begin >= guest_len ||
		    sscanf(line, "%31[A-Za-z_]: %lu kB", name, &kib) != 2) {
			continue;
		}
		for (size_t i = 0; i < 4; i++) {
			sums[i] += strcmp(name, fields[i]) == 0 ? kib : 0;
		}
	}
	if (file == NULL) {
		die(path);
	}
	fclose(file);
	note(run, "rss_kib", sums[0]);
	note(run, "pss_kib", sums[1]);
	note(run, "private_kib", sums[2] + sums[3]);
	kill(run->pid, SIGKILL);
}

/* Reads until the end of the output; what is beyond the buffer is lost. */
static void watch(struct run *run)
{
	const char *until = run->options->until;
	struct pollfd poll_out = {.fd = run->out, .events = POLLIN};

	while (poll(&poll_out, 1, TIMEOUT_S * 1000) == 1) {
		size_t room = OUTPUT_MAX - 1 - run->len;
		ssize_t got = read(run->out, run->output + run->len, room);
		uint64_t at = now_ns();

		if (got <= 0) {
			return;
		}
		run->len += (size_t)got;
		run->output[run->len] = '\0';
		if (until != NULL && run->seen_ns == 0 && strstr(run->output, until) != NULL) {
			run->seen_ns = at;
			if (run->options->guest_mib != 0) {
				note_memory(run);
			}
		}
	}
	fprintf(stderr, "boot: %s did not end within %d s\n", run->command->name, TIMEOUT_S);
	kill(run->pid, SIGKILL);
}

static void note_timeline(const struct run *run)
{
	static const char head[] = "timeline (us): ";
	const char *at = strstr(run->output, head);
	char mark[32];
	unsigned long long us;
	int used;

	for (at = at == NULL ? "" : at + strlen(head);
	     sscanf(at, "%31[a-z] %llu%n", mark, &us, &used) == 2; at += used) {
		note(run, mark, us * 1000);
		if (strncmp(at + used, ", ", 2) != 0) {
			break;
		}
		used += 2;
	}
}

static bool measure(struct run *run)
{
	int status = 0;
	bool is_killed = run->options->guest_mib != 0;

	run->len = 0;
	run->output[0] = '\0';
	run->seen_ns = 0;
	start(run);
	watch(run);
	waitpid(run->pid, &status, 0);
	uint64_t exit_ns = now_ns();

	close(run->out);
	if ((status != 0 && !is_killed) || (run->options->until != NULL && run->seen_ns == 0)) {
		fprintf(stderr, "boot: %s ended with status %#x and said:\n%s\n",
			run->command->name, status, run->output);
		return false;
	}
	if (is_killed) {
		return true;
	}
	note_timeline(run);
	if (run->seen_ns != 0) {
		note(run, "seen", run->seen_ns - *run->exec_ns);
	}
	note(run, "exit", exit_ns - *run->exec_ns);
	return true;
}

static bool parse(int argc, char **argv, struct options *options)
{
	int option;

	while ((option = getopt(argc, argv, "+n:w:u:m:")) != -1) {
		switch (option) {
		case 'n':
			options->runs = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'w':
			options->warm_up = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'u':
			options->until = optarg;
			break;
		case 'm':
			options->guest_mib = strtoul(optarg, NULL, 10);
			break;
		default:
			return false;
		}
	}
	options->count = parse_commands(argc, argv, options->commands);
	return options->count > 0;
}

int main(int argc, char **argv)
{
	static struct options options = {.runs = 1};
	static struct run run = {.options = &options};

	if (!parse(argc, argv, &options)) {
		fprintf(stderr, "usage: see the head of tests/bench/boot.c\n");
		return EXIT_FAILURE;
	}
	run.exec_ns = mmap(NULL, sizeof(*run.exec_ns), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run.exec_ns == MAP_FAILED) {
		die("mmap");
	}
	for (run.number = -(int)options.warm_up; run.number < (int)options.runs; run.number++) {
		for (unsigned i = 0; i < options.count; i++) {
			run.command = &options.commands[i];
			if (!measure(&run)) {
				return EXIT_FAILURE;
			}
		}
	}
	return EXIT_SUCCESS;
}

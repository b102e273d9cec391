/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/signals.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/signals.h"

enum {
	NO_RIGHT = 99
};

static void no_core(void)
{
	const struct rlimit none = {0};

	setrlimit(RLIMIT_CORE, &none);
}

Test(signals, each_ends_the_process_in_its_known_way, .timeout = 20)
{
	static const struct {
		int signo;
		int exit_code; /* -1: killed by the signal itself */
		const char *sentence;
	} cases[] = {
		{SIGSYS, 2, "Shutting down VM after intercepting signal 31, code -6"},
		{SIGBUS, 149, "Shutting down VM after intercepting signal 7, code -6"},
		{SIGSEGV, 150, "Shutting down VM after intercepting signal 11, code -6"},
		{SIGXFSZ, 151, "Shutting down VM after intercepting signal 25, code -6"},
		{SIGXCPU, 154, "Shutting down VM after intercepting signal 24, code -6"},
		{SIGHUP, 156, "Shutting down VM after intercepting signal 1, code -6"},
		{SIGILL, 157, "Shutting down VM after intercepting signal 4, code -6"},
		{SIGTERM, -1, ""},
		{SIGINT, -1, ""},
		{SIGQUIT, -1, ""},
		{SIGABRT, -1, ""},
	};

	no_core();
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int log = capture_log(LOG_INFO);
		pid_t child = fork();
		int status = 0;

		if (child == 0) {
			struct error err = {0};

			if (signals_setup(&err) == 0) {
				raise(cases[i].signo);
			}
			_exit(0);
		}
		waitpid(child, &status, 0);
		if (cases[i].exit_code >= 0) {
			cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == cases[i].exit_code,
				  "signal %d: %#x", cases[i].signo, status);
			cr_expect(strstr(captured(log), "ERROR") != NULL);
		} else {
			cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == cases[i].signo,
				  "signal %d: %#x", cases[i].signo, status);
		}
		cr_expect(strstr(captured(log), cases[i].sentence) != NULL, "%s", captured(log));
		close(log);
	}
}

/* A first process of a PID namespace that signals itself; its exit status, or NO_RIGHT. */
static int die_as_init(int signo)
{
	int status = -1;
	pid_t parent = fork();

	if (parent == 0) {
		struct error err = {0};

		/* The next child is the first one in there. */
		if (unshare(CLONE_NEWPID) < 0) {
			_exit(NO_RIGHT);
		}
		pid_t child = fork();

		if (child == 0) {
			if (signals_setup(&err) == 0) {
				raise(signo);
			}
			_exit(0);
		}
		waitpid(child, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 0);
	}
	waitpid(parent, &status, 0);
	return WEXITSTATUS(status);
}

/* The kernel spares such a process the default action of signals from its own namespace. */
Test(signals, the_first_process_of_a_pid_namespace_ends_too, .timeout = 20)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGABRT};

	no_core();
	capture_log(LOG_INFO);
	for (size_t i = 0; i < ARRAY_COUNT(signals); i++) {
		int status = die_as_init(signals[i]);

		if (status == NO_RIGHT) {
			cr_skip_test("no right to make a PID namespace");
		}
		cr_expect(status == 128 + signals[i], "signal %d: %d", signals[i], status);
	}
}

Test(signals, a_real_fault_and_a_real_abort_end_the_same_way, .timeout = 20)
{
	void *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	no_core();
	capture_log(LOG_INFO);
	for (int is_abort = 0; is_abort < 2; is_abort++) {
		pid_t child = fork();
		int status = 0;

		if (child == 0) {
			struct error err = {0};

			if (signals_setup(&err) == 0) {
				if (is_abort) {
					abort();
				}
				(void)*(volatile char *)nowhere;
			}
			_exit(0);
		}
		waitpid(child, &status, 0);
		cr_expect(is_abort ? WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT
				   : WIFEXITED(status) && WEXITSTATUS(status) == 150,
			  "%#x", status);
	}
}

Test(signals, nothing_interrupts_last_words)
{
	struct error err = {0};
	struct sigaction action;

	cr_assert(signals_setup(&err) == 0, "%s", err.msg);
	for (int signo = 1; signo < SIGRTMAX; signo++) {
		cr_assert(sigaction(SIGTERM, NULL, &action) == 0);
		/* Two can't be blocked, and two are the C library's own. */
		if ((signo < 32 || signo > 33) && signo != SIGKILL && signo != SIGSTOP) {
			cr_expect(sigismember(&action.sa_mask, signo) == 1, "signal %d", signo);
		}
	}
}

Test(signals, a_broken_pipe_is_logged_and_survived, .timeout = 10)
{
	int log = capture_log(LOG_INFO);
	struct error err = {0};
	int ends[2];

	cr_assert(signals_setup(&err) == 0, "%s", err.msg);
	cr_assert(pipe(ends) == 0);
	close(ends[0]);
	for (int i = 0; i < 100; i++) {
		cr_assert(write(ends[1], "x", 1) == -1 && errno == EPIPE);
	}
	cr_assert(count_of(captured(log), "Received signal 13") == 10, "%s", captured(log));
}

Test(signals, a_handler_keeps_errno)
{
	struct error err = {0};

	capture_log(LOG_INFO);
	cr_assert(log_configure(&(struct log_config){.path = "/dev/full", .level = LOG_INFO},
				&err) == 0);
	cr_assert(signals_setup(&err) == 0, "%s", err.msg);
	errno = EXDEV;
	raise(SIGPIPE);
	cr_assert(errno == EXDEV);
}

Test(signals, usr1_is_a_request_on_a_descriptor, .timeout = 10)
{
	struct error err = {0};
	struct signalfd_siginfo info;
	int fd = -1;

	cr_assert(signals_setup(&err) == 0 && signals_open_requests(&fd, &err) == 0, "%s", err.msg);
	cr_assert(read(fd, &info, sizeof(info)) == -1 && errno == EAGAIN);
	kill(getpid(), SIGUSR1);
	cr_assert(read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info));
	cr_assert(info.ssi_signo == SIGUSR1);
	close(fd);
}

/* --- The last line of metrics --- */

static struct telemetry telemetry;

/* In a child: two lines of metrics' worth, then a signal; returns the lines. */
static const char *die_of(int signo, void (*die)(int signo))
{
	int sink = memfd_create("metrics", MFD_CLOEXEC);
	char path[64];
	pid_t child = fork();

	snprintf(path, sizeof(path), "/proc/self/fd/%d", sink);
	if (child == 0) {
		struct error err = {0};

		telemetry_init(&telemetry, NULL, 0);
		if (signals_setup(&err) < 0 ||
		    metrics_configure(&telemetry.metrics, &(struct metrics_config){.path = path},
				      &err) < 0) {
			_exit(99);
		}
		signals_set_telemetry(&telemetry);
		metric_add(&telemetry.api.put.drive_count, 2);
		if (telemetry_flush(&telemetry, &err) < 0) {
			_exit(98);
		}
		metric_add(&telemetry.api.put.drive_count, 5);
		die(signo);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	const char *text = captured(sink);

	close(sink);
	return text;
}

static void raise_it(int signo)
{
	raise(signo);
}

Test(signals, fatal_ones_are_counted_and_write_a_last_line, .timeout = 20)
{
	static const struct {
		int signo;
		const char *counted;
	} cases[] = {
		/* Sent by somebody: no filter denied anything. */
		{SIGSYS, "\"seccomp\":{\"num_faults\":0}"},
		{SIGABRT, "\"vmm\":{\"panic_count\":1}"},
		{SIGBUS, "\"signals\":{\"sigbus\":1,"},
		{SIGSEGV, "\"sigsegv\":1,"},
		{SIGXFSZ, "\"sigxfsz\":1,"},
		{SIGXCPU, "\"sigxcpu\":1,"},
		{SIGHUP, "\"sighup\":1,"},
		{SIGILL, "\"sigill\":1}"},
		{SIGTERM, "\"sigpipe\":0,"},
	};

	no_core();
	capture_log(LOG_INFO);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const char *text = die_of(cases[i].signo, raise_it);
		const char *last = strchr(text, '\n');

		cr_assert(last != NULL && count_of(text, "\n") == 2, "%s", text);
		cr_expect(strstr(last, cases[i].counted) != NULL, "signal %d: %s", cases[i].signo,
			  last);
		cr_expect(strstr(last, "\"drive_count\":5,") != NULL, "%s", last);
		/* Nothing else was. */
		cr_expect(count_of(strstr(last, "\"seccomp\""), ":1") ==
				  (cases[i].signo == SIGTERM || cases[i].signo == SIGSYS ? 0u : 1u),
			  "signal %d: %s", cases[i].signo, last);
	}
}

static void break_a_pipe_then_hang_up(int signo)
{
	int ends[2];

	if (pipe(ends) == 0) {
		close(ends[0]);
		for (int i = 0; i < 3; i++) {
			(void)!write(ends[1], "x", 1);
		}
	}
	raise(signo);
}

Test(signals, a_broken_pipe_is_counted, .timeout = 10)
{
	capture_log(LOG_INFO);
	const char *text = die_of(SIGHUP, break_a_pipe_then_hang_up);

	cr_assert(count_of(text, "\n") == 2 && strstr(text, "\"sigpipe\":3,\"sighup\":1") != NULL,
		  "%s", text);
}

/* As a thread that is about to end its line. */
static void *end_line(void *arg)
{
	struct metrics *metrics = arg;

	usleep(20000);
	metrics->is_locked = false;
	return NULL;
}

static void die_amid_a_line(int signo)
{
	pthread_t thread;

	telemetry.metrics.is_locked = true;
	pthread_create(&thread, NULL, end_line, &telemetry.metrics);
	pthread_detach(thread);
	raise(signo);
}

Test(signals, the_last_line_waits_for_the_one_under_way, .timeout = 20)
{
	no_core();
	capture_log(LOG_INFO);
	const char *text = die_of(SIGSEGV, die_amid_a_line);

	cr_assert(count_of(text, "\n") == 2 && strstr(text, "\"sigsegv\":1") != NULL, "%s", text);
}

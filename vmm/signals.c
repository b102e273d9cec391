/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fatal signals.
 *
 * Theory of operation. Signals that orchestrators know by exit code [compat] are logged and end the
 * process with that code. Those by which a user or supervisor ends it keep their own meaning: the
 * handler gives the terminal back and raises the signal again with the default action, so that the
 * waiting parent sees the true cause. The first process of a PID namespace is spared by default
 * actions, so there the process exits with 128 + signal, as a shell would say it. All of them are
 * counted, and the last line of metrics is written. A fault inside a handler kills, as its signal
 * is blocked there. Several threads may meet their end at once, e.g. by the same gap in their
 * filter: the first has the last words, the others wait for the process to end.
 */
#include "vmm/signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "seccomp/filter.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"
#include "vmm/machine/console.h"
#include "vmm/base/exitcode.h"

/* Signal handlers have no argument, so these have to be file-scope. */
static struct telemetry *_Atomic counted_in;
static bool is_init; /* of a PID namespace; set before there are handlers */
static pid_t owner;  /* of the metrics: an image that is forked from it has none; set likewise */

enum {
	NO_COUNTER = 0,
	DENIED_BY_FILTER = 1, /* SYS_SECCOMP of <linux/signal.h>, which <signal.h> excludes */
};

#define COUNTER(member) offsetof(struct telemetry, member)

/* Exit code 0: as if squib had not handled it. */
static const struct fatal_signal {
	int signo;
	int exit_code;
	size_t counter; /* in struct telemetry */
} fatal_signals[] = {
	{SIGSYS, EXIT_CODE_BAD_SYSCALL, COUNTER(seccomp.num_faults)},
	{SIGBUS, EXIT_CODE_SIGBUS, COUNTER(signals.sigbus)},
	{SIGSEGV, EXIT_CODE_SIGSEGV, COUNTER(signals.sigsegv)},
	{SIGXFSZ, EXIT_CODE_SIGXFSZ, COUNTER(signals.sigxfsz)},
	{SIGXCPU, EXIT_CODE_SIGXCPU, COUNTER(signals.sigxcpu)},
	{SIGHUP, EXIT_CODE_SIGHUP, COUNTER(signals.sighup)},
	{SIGILL, EXIT_CODE_SIGILL, COUNTER(signals.sigill)},
	{SIGTERM, 0, NO_COUNTER},
	{SIGINT, 0, NO_COUNTER},
	{SIGQUIT, 0, NO_COUNTER},
	{SIGABRT, 0, COUNTER(vmm.panic_count)},
};

/* SIGSYS that somebody sent: no system call was denied [compat]. */
static const struct fatal_signal stray_sigsys = {SIGSYS, EXIT_CODE_INTERNAL, NO_COUNTER};

/* Somebody is writing last words. */
static atomic_flag is_ending = ATOMIC_FLAG_INIT;

static const struct fatal_signal *find(int signo)
{
	size_t i = 0;

	while (fatal_signals[i].signo != signo) {
		i++;
	}
	return &fatal_signals[i];
}

void signals_set_telemetry(struct telemetry *telemetry)
{
	atomic_store(&counted_in, telemetry);
}

static void write_last_metrics(const struct fatal_signal *fatal)
{
	struct telemetry *telemetry = atomic_load(&counted_in);
	struct error err = {0};

	if (telemetry == NULL || getpid() != owner) {
		return;
	}
	if (fatal->counter != NO_COUNTER) {
		metric_add((struct metric *)((char *)telemetry + fatal->counter), 1);
	}
	if (telemetry_flush(telemetry, &err) < 0) {
		log_error("%s", err.msg);
	}
}

static void on_fatal(int signo, siginfo_t *info, void *context)
{
	const struct fatal_signal *fatal = find(signo);

	(void)context;
	if (signo == SIGSYS && info->si_code != DENIED_BY_FILTER) {
		fatal = &stray_sigsys;
	}
	/* No system call is sure to be allowed here, so the wait is a busy one, of microseconds. */
	while (fatal->exit_code != 0 && atomic_flag_test_and_set(&is_ending)) {
	}
	console_restore_terminal();
	log_enter_handler();
	if (signo == SIGSYS && info->si_code == DENIED_BY_FILTER) {
		log_error("Shutting down VM after intercepting a bad syscall (%d).",
			  info->si_syscall);
		log_error(
			"The seccomp filter of this thread does not allow %s; see docs/seccomp.md.",
			filter_syscall_name(info->si_syscall));
	} else if (fatal->exit_code != 0) {
		log_error("Shutting down VM after intercepting signal %d, code %d", signo,
			  info->si_code);
	}
	write_last_metrics(fatal);
	if (fatal->exit_code != 0) {
		_exit(fatal->exit_code);
	}
	if (is_init) {
		_exit(EXIT_CODE_SIGNAL + signo);
	}
	/* Delivered on return, with the default action that SA_RESETHAND brought back. */
	raise(signo);
}

static void on_sigpipe(int signo, siginfo_t *info, void *context)
{
	struct telemetry *telemetry = atomic_load(&counted_in);

	(void)context;
	if (telemetry != NULL) {
		metric_add(&telemetry->signals.sigpipe, 1);
	}
	log_enter_handler();
	log_guest_warn("Received signal %d, code %d", signo, info->si_code);
	log_leave_handler();
}

static int install(int signo, void (*handler)(int, siginfo_t *, void *), int flags,
		   struct error *err)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	/* Nothing else may interrupt last words. */
	sigfillset(&action.sa_mask);
	if (sigaction(signo, &action, NULL) < 0) {
		return error_sys(err, "Cannot handle signal %d", signo);
	}
	return 0;
}

static void request_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGUSR1);
}

int signals_setup(struct error *err)
{
	sigset_t requests;

	owner = getpid();
	is_init = owner == 1;
	for (size_t i = 0; i < ARRAY_COUNT(fatal_signals); i++) {
		/* Raised again, those without an exit code of ours must find the default. */
		int flags = fatal_signals[i].exit_code != 0 ? 0 : (int)SA_RESETHAND;

		if (install(fatal_signals[i].signo, on_fatal, flags, err) < 0) {
			return -1;
		}
	}
	if (install(SIGPIPE, on_sigpipe, 0, err) < 0) {
		return -1;
	}
	request_set(&requests);
	if (sigprocmask(SIG_BLOCK, &requests, NULL) < 0) {
		return error_sys(err, "Cannot block SIGUSR1");
	}
	return 0;
}

int signals_open_requests(int *fd, struct error *err)
{
	sigset_t requests;

	request_set(&requests);
	*fd = signalfd(-1, &requests, SFD_CLOEXEC | SFD_NONBLOCK);
	if (*fd < 0) {
		return error_sys(err, "Cannot create a signalfd");
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for squib in a test, and writes down which system calls its filters let through.
 *
 * Theory of operation. The filters of $TRACE_FILTERS are the real ones, except that what they allow
 * stops in the tracer (SECCOMP_RET_TRACE), with the thread's number as data: see make_filters. The
 * process that the test started becomes squib itself, so that its pid, its signals and its exit
 * status are what the test expects; the tracer is its child. Each call is written to
 * $TRACE_SAMPLES once, with its arguments, as it first happens.
 *
 * What squib does seldom is provoked: with $TRACE_FAULT, see there.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "seccomp/filter.h"

enum {
	SEEN_BITS = 18,
	SEEN_MAX = 1 << SEEN_BITS,
	THREADS = FILTER_THREADS, /* kinds of them: vmm, api, vcpu, fork, debug */
	FEIGNED,		  /* the trace's data of a call whose answer is changed */
	FIRST_WORDS = 24,
	/* KVM_GET_SUPPORTED_CPUID, which headers of aarch64 lack, and its struct. */
	GET_SUPPORTED_CPUID = 0xc008ae05,
	CPUID_HEAD = 8,
	CPUID_ENTRY = 40,
	CPUID_ECX = 20,
	CPUID_SHSTK = 1 << 7, /* of leaf 7 */
	STOPS_MAX = 64,
};

/* What was written, by a hash of it. */
static uint64_t seen[SEEN_MAX];
static size_t seen_count;

/* The first thread of each kind that made a call; the kind's number is the trace's data, from 1. */
static pid_t first_of[THREADS + 1];

/*
 * $TRACE_FAULT: what is to happen.
 *
 *   signal:SIGNO:KIND:LINE  when the VMM thread is about to write this line of metrics (from 1),
 *                           hence has them locked, the thread of this kind gets the signal; the
 *                           VMM goes on when that thread waits for the lock, or has ended
 *   pause                   the VMM is disturbed while it waits for a vCPU that is kept from
 *                           parking until then
 *   vdso                    squib finds no vDSO, as if the host's clock had none
 *   norun                   KVM_RUN does nothing, with an exit that nobody knows
 *   nomem                   KVM_RUN fails for lack of memory; the vCPU is disturbed while it waits
 *   oldkvm                  KVM has none of the calls that came in place of others
 *   shstk                   KVM tells that guests may have shadow stacks
 */
static struct {
	int signo;
	unsigned kind;
	unsigned line;
	unsigned lines; /* seen up to now */
	bool is_pause;
	bool is_nomem;
	bool is_vdso;
	bool is_norun;
	bool is_oldkvm;
	bool is_shstk;
	pid_t asking;	/* a thread that KVM is telling the guest's CPUID */
	uint64_t cpuid; /* and where to */
	pid_t held;	/* a thread that is kept stopped */
	int held_signo;
	pid_t waiting; /* for a pause: the VMM, until there is a vCPU that is held */
} fault;

static void die(const char *what)
{
	fprintf(stderr, "tracer: %s: %s\n", what, strerror(errno));
	_exit(126);
}

static const char *need_env(const char *name)
{
	const char *value = getenv(name);

	if (value == NULL) {
		fprintf(stderr, "tracer: %s is not set\n", name);
		_exit(126);
	}
	return value;
}

static uint64_t hash(const struct __ptrace_syscall_info *info)
{
	uint64_t value = info->seccomp.nr * 4 + info->seccomp.ret_data;

	for (int i = 0; i < 6; i++) {
		value = (value ^ info->seccomp.args[i]) * UINT64_C(0x9e3779b97f4a7c15);
		value ^= value >> 29;
	}
	return value | 1;
}

static bool is_new(uint64_t key)
{
	size_t i = key >> (64 - SEEN_BITS);

	while (seen[i] != 0 && seen[i] != key) {
		i = (i + 1) % SEEN_MAX;
	}
	if (seen[i] == key || seen_count == SEEN_MAX / 2) {
		return false;
	}
	seen[i] = key;
	seen_count++;
	return true;
}

/*
 * Whether a call names the process that its filter has: that of the thread, but for the thread of a
 * child that has inherited the filter of the process that was forked.
 */
static bool is_of_self(pid_t process, pid_t thread, const struct __ptrace_syscall_info *info)
{
	char path[64];

	if (info->seccomp.nr != SYS_tgkill) {
		return false;
	}
	if (info->seccomp.args[0] == (uint64_t)process ||
	    info->seccomp.ret_data == FILTER_FORK + 1) {
		return info->seccomp.args[0] == (uint64_t)process;
	}
	snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)info->seccomp.args[0], (int)thread);
	return access(path, F_OK) == 0;
}

static void record(pid_t process, pid_t thread, int out, const struct __ptrace_syscall_info *info)
{
	const uint64_t *args = (const uint64_t *)info->seccomp.args;
	/* The id of the process is told as filters have it before they are installed. */
	bool names_self = is_of_self(process, thread, info);
	char line[200];

	if (!is_new(hash(info))) {
		return;
	}
	int len = snprintf(line, sizeof(line), "%u %llu %llx %llx %llx %llx %llx %llx\n",
			   info->seccomp.ret_data, (unsigned long long)info->seccomp.nr,
			   names_self ? FILTER_SELF : (unsigned long long)args[0],
			   (unsigned long long)args[1], (unsigned long long)args[2],
			   (unsigned long long)args[3], (unsigned long long)args[4],
			   (unsigned long long)args[5]);

	/* One write a line: several tracers append to one file. */
	if (write(out, line, (size_t)len) != len) {
		die("the samples cannot be written");
	}
}

/* --- provoked faults --- */

static bool is_metrics_line(pid_t thread, const struct __ptrace_syscall_info *info)
{
	static const char begin[] = "{\"utc_timestamp_ms\":";
	char text[FIRST_WORDS] = "";

	if (info->seccomp.nr != SYS_write) {
		return false;
	}
	for (size_t i = 0; i < sizeof(text); i += sizeof(long)) {
		errno = 0;
		long word = ptrace(PTRACE_PEEKDATA, thread, info->seccomp.args[1] + i, NULL);

		if (errno != 0) {
			return false;
		}
		memcpy(text + i, &word, sizeof(word));
	}
	return memcmp(text, begin, sizeof(begin) - 1) == 0;
}

/*
 * The thread, which enters a call that sleeps, is to go on with restart_syscall: with a signal
 * pending it wakes at once.
 */
static void disturb(pid_t process, pid_t thread)
{
	syscall(SYS_tgkill, process, thread, SIGWINCH);
	ptrace(PTRACE_CONT, thread, NULL, NULL);
}

static void release(void)
{
	ptrace(PTRACE_CONT, fault.held, NULL, (long)fault.held_signo);
	fault.held = 0;
}

/* Of x86_64: as if this KVM had shadow stacks. */
static void give_shadow_stacks(pid_t thread)
{
	uint32_t count = (uint32_t)ptrace(PTRACE_PEEKDATA, thread, fault.cpuid, NULL);

	for (uint32_t i = 0; i < count; i++) {
		uint64_t entry = fault.cpuid + CPUID_HEAD + (uint64_t)i * CPUID_ENTRY;
		uint64_t at = entry + CPUID_ECX;

		/* The leaf and its index. */
		if (ptrace(PTRACE_PEEKDATA, thread, entry, NULL) == 7) {
			long word = ptrace(PTRACE_PEEKDATA, thread, at, NULL);

			ptrace(PTRACE_POKEDATA, thread, at, word | CPUID_SHSTK);
		}
	}
	fault.asking = 0;
}

/* true: the thread is not to be continued as usual. */
static bool provoke(pid_t process, pid_t thread, const struct __ptrace_syscall_info *info)
{
	unsigned kind = info->seccomp.ret_data;

	if (fault.is_pause && kind == 1 && info->seccomp.nr == SYS_futex &&
	    info->seccomp.args[1] == FUTEX_WAIT_BITSET_PRIVATE) {
		/* Of its kick and its wait either may be seen first. */
		fault.waiting = thread;
		if (fault.held != 0) {
			disturb(process, thread);
		}
		return true;
	}
	if (fault.is_nomem && kind == 3 && info->seccomp.nr == SYS_clock_nanosleep) {
		disturb(process, thread);
		return true;
	}
	if (fault.held != 0 && ((fault.is_pause && info->seccomp.nr == SYS_restart_syscall) ||
				(fault.signo != 0 && info->seccomp.nr == SYS_clock_nanosleep))) {
		release();
	}
	if (fault.signo == 0 || kind != 1 || !is_metrics_line(thread, info) ||
	    ++fault.lines != fault.line) {
		return false;
	}
	fault.held = fault.kind == 1 ? 0 : thread;
	fault.held_signo = 0;
	/* A vCPU's thread may not have come to run yet: then its first call sees to it. */
	if (first_of[fault.kind] != 0) {
		syscall(SYS_tgkill, process, first_of[fault.kind], fault.signo);
	}
	return fault.held != 0;
}

/* The same for a signal. */
static bool provoke_by_signal(pid_t process, pid_t thread, int *signo)
{
	if (fault.is_pause && *signo == SIGRTMIN && fault.held == 0 && thread != first_of[1]) {
		fault.held = thread;
		fault.held_signo = *signo;
		if (fault.waiting != 0) {
			disturb(process, fault.waiting);
		}
		return true;
	}
	if (*signo == SIGWINCH) {
		*signo = 0;
	}
	/* Which is survived: nobody will wait for the lock. */
	if (*signo == SIGPIPE && fault.held != 0) {
		release();
	}
	return false;
}

static void read_fault(void)
{
	const char *text = getenv("TRACE_FAULT");

	if (text == NULL) {
		return;
	}
	fault.is_pause = strcmp(text, "pause") == 0;
	fault.is_nomem = strcmp(text, "nomem") == 0;
	fault.is_vdso = strcmp(text, "vdso") == 0;
	fault.is_norun = strcmp(text, "norun") == 0;
	fault.is_oldkvm = strcmp(text, "oldkvm") == 0;
	fault.is_shstk = strcmp(text, "shstk") == 0;
	if (!fault.is_pause && !fault.is_nomem && !fault.is_vdso && !fault.is_norun &&
	    !fault.is_oldkvm && !fault.is_shstk &&
	    (sscanf(text, "signal:%d:%u:%u", &fault.signo, &fault.kind, &fault.line) != 3 ||
	     fault.kind > THREADS)) {
		fprintf(stderr, "tracer: TRACE_FAULT=%s?\n", text);
		_exit(126);
	}
}

/* A filter before all others, of which the strictest decides. */
static void install(struct sock_filter *code, size_t count)
{
	struct sock_fprog program = {.len = (unsigned short)count, .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
		die("no filter");
	}
}

/* KVM_RUN returns this error, or 0. */
static void answer_runs(unsigned sys)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_RUN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | sys),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	install(code, sizeof(code) / sizeof(code[0]));
}

/* The tracer changes what KVM_GET_SUPPORTED_CPUID tells. */
static void watch_cpuid(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, GET_SUPPORTED_CPUID, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | FEIGNED),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	install(code, sizeof(code) / sizeof(code[0]));
}

/* KVM_CHECK_EXTENSION tells of none. */
static void hide_new_calls(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 6),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_CHECK_EXTENSION, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_CAP_SREGS2, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_CAP_XSAVE2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	install(code, sizeof(code) / sizeof(code[0]));
}

/* Where the program's stack began: the 28th field, of which the second may hold anything. */
static unsigned long stack_start(pid_t process)
{
	char path[64];
	char text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)process);
	FILE *file = fopen(path, "re");

	if (file == NULL || fgets(text, sizeof(text), file) == NULL) {
		die(path);
	}
	fclose(file);
	const char *at = strrchr(text, ')');

	for (int field = 2; field < 28 && at != NULL; field++) {
		at = strchr(at + 1, ' ');
	}
	if (at == NULL) {
		die(path);
	}
	return strtoul(at, NULL, 10);
}

/*
 * At the start of a program: the C library finds the vDSO in the auxiliary vector, which lies
 * behind the environment, that behind the arguments [elf(5)].
 */
static void hide_vdso(pid_t process)
{
	unsigned long at = stack_start(process);

	for (int lists = 0; lists < 2; at += sizeof(long)) {
		/* The first word counts the arguments: it is not 0. */
		lists += ptrace(PTRACE_PEEKDATA, process, at, NULL) == 0;
	}
	for (long type = -1; type != AT_NULL; at += 2 * sizeof(long)) {
		type = ptrace(PTRACE_PEEKDATA, process, at, NULL);
		if (type == AT_SYSINFO_EHDR) {
			ptrace(PTRACE_POKEDATA, process, at, (long)AT_IGNORE);
		}
	}
}

/* --- the tracer --- */

static bool on_call(pid_t process, pid_t thread, int out)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) <= 0 ||
	    info.op != PTRACE_SYSCALL_INFO_SECCOMP || info.seccomp.ret_data > FEIGNED) {
		return false;
	}
	if (info.seccomp.ret_data == FEIGNED) {
		fault.asking = thread;
		fault.cpuid = info.seccomp.args[2];
		ptrace(PTRACE_SYSCALL, thread, NULL, NULL);
		return true;
	}
	record(process, thread, out, &info);
	if (first_of[info.seccomp.ret_data] == 0) {
		first_of[info.seccomp.ret_data] = thread;
		if (fault.signo != 0 && fault.held != 0 && info.seccomp.ret_data == fault.kind) {
			syscall(SYS_tgkill, process, thread, fault.signo);
		}
	}
	return provoke(process, thread, &info);
}

static void on_stop(pid_t process, pid_t thread, int status, int out)
{
	int signo = WSTOPSIG(status);
	int event = status >> 16;

	if (event == PTRACE_EVENT_SECCOMP && on_call(process, thread, out)) {
		return;
	}
	if (event == PTRACE_EVENT_EXEC && fault.is_vdso) {
		hide_vdso(process);
	}
	if (event == 0 && signo == SIGTRAP && thread == fault.asking) {
		give_shadow_stacks(thread);
		signo = 0;
	}
	if (event == PTRACE_EVENT_STOP && signo != SIGTRAP) {
		/* Stopped as by a shell: until SIGCONT. */
		ptrace(PTRACE_LISTEN, thread, NULL, NULL);
		return;
	}
	if (event != 0) {
		signo = 0;
	} else if (provoke_by_signal(process, thread, &signo)) {
		return;
	}
	ptrace(PTRACE_CONT, thread, NULL, (long)signo);
}

/*
 * waitpid prefers young threads. So all that have stopped are collected before any goes on, or
 * vCPUs that stop again and again would keep the others from being seen.
 */
static void trace(pid_t process, int out)
{
	struct {
		pid_t thread;
		int status;
	} stops[STOPS_MAX];
	int count;

	do {
		count = 0;
		for (pid_t thread = 1; thread > 0 && count < STOPS_MAX;) {
			int *status = &stops[count].status;

			thread = waitpid(-1, status, __WALL | (count > 0 ? WNOHANG : 0));
			if (thread > 0) {
				stops[count++].thread = thread;
			}
		}
		for (int i = 0; i < count; i++) {
			if (WIFSTOPPED(stops[i].status)) {
				on_stop(process, stops[i].thread, stops[i].status, out);
			}
		}
	} while (count > 0);
}

/* Attaches to its parent, and tells it by the pipe. */
static void be_tracer(pid_t process, int ready, int out)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		dup2(null, fd);
	}
	/* What the test waits for the end of must not stay open here. */
	for (int fd = STDERR_FILENO + 1; fd < 1024; fd++) {
		if (fd != ready && fd != out) {
			close(fd);
		}
	}
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	if (ptrace(PTRACE_SEIZE, process, NULL,
		   PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
			   PTRACE_O_TRACEEXEC) < 0) {
		_exit(126);
	}
	(void)!write(ready, "", 1);
	close(ready);
	trace(process, out);
	_exit(0);
}

static bool has_own_filters(char **argv)
{
	for (char **arg = argv; *arg != NULL; arg++) {
		if (strcmp(*arg, "--no-seccomp") == 0 || strcmp(*arg, "--seccomp-filter") == 0) {
			return true;
		}
	}
	return false;
}

static void start_tracer(void)
{
	int out = open(need_env("TRACE_SAMPLES"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	pid_t process = getpid();
	int ready[2];
	char byte;

	if (out < 0) {
		die(getenv("TRACE_SAMPLES"));
	}
	if (pipe2(ready, O_CLOEXEC) < 0) {
		die("no pipe");
	}
	/* Where only ancestors may trace. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	if (fork() == 0) {
		be_tracer(process, ready[1], out);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1) {
		die("the tracer cannot attach");
	}
	close(ready[0]);
	close(out);
}

int main(int argc, char **argv)
{
	const char *squib = need_env("TRACE_SQUIB");
	const char **args = calloc((size_t)argc + 3, sizeof(*args));

	if (args == NULL) {
		die("no memory");
	}
	memcpy(args, argv, (size_t)argc * sizeof(*args));
	if (!has_own_filters(argv)) {
		args[argc++] = "--seccomp-filter";
		args[argc] = need_env("TRACE_FILTERS");
		read_fault();
		start_tracer();
		if (fault.is_nomem || fault.is_norun) {
			answer_runs(fault.is_nomem ? ENOMEM : 0);
		}
		if (fault.is_oldkvm) {
			hide_new_calls();
		}
		if (fault.is_shstk) {
			watch_cpuid();
		}
	}
	execv(squib, (char *const *)args);
	die(squib);
}

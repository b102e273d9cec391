/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What squib seldom does, on purpose: last words of each thread, a heap that is used up, KVM
 * without memory, clients too many. A workload of run_all beside the guests; $SQUIB is the tracer,
 * which has its orders in TRACE_FAULT.
 *
 * Each time a payload guest idles, standard input is a terminal and standard output a socket, so
 * that there is a terminal to give back and a flag to restore.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/api_client.h"
#include "tests/lib/testbed.h"

enum {
	PATIENCE_MS = 20000,
	CLIENTS = 64, /* more than the API takes */
	DISK_LEN = 1 << 20,
	PATHS_LEN = 1600,
};

struct run {
	pid_t pid;
	int master; /* of the terminal */
	int out;
	int api;
	char answer[1 << 15];
	const char *failure;
};

static bool fail(struct run *run, const char *why)
{
	run->failure = run->failure != NULL ? run->failure : why;
	return false;
}

static bool request(struct run *run, const char *method, const char *path, const char *body)
{
	return api_ask(run->api, method, path, body, run->answer, sizeof(run->answer),
		       PATIENCE_MS) != 0 ||
	       fail(run, path);
}

static bool write_file(const char *name, const char *text, off_t len)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) &&
		  (len == 0 || ftruncate(fd, len) == 0);

	close(fd);
	return ok;
}

static bool write_files(void)
{
	char kernel[PATH_LEN];
	char config[2048];

	payload_path("idle", kernel);
	snprintf(config, sizeof(config),
		 "{\"boot-source\": {\"kernel_image_path\": \"%s\"}, \"drives\": [{\"drive_id\": "
		 "\"disk\", \"is_root_device\": false, \"path_on_host\": \"disk\", "
		 "\"is_read_only\": true}], \"metrics\": {\"metrics_path\": \"metrics\"}}",
		 kernel);
	return write_file("vm.json", config, 0) && write_file("disk", "", DISK_LEN) &&
	       write_file("metrics", "", 0) && write_file("log", "", 0);
}

static void become_squib(int in, int out)
{
	const char *const argv[] = {env("SQUIB"), "--api-sock", "api.sock", "--config-file",
				    "vm.json",	  "--log-path", "log",	    NULL};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	signal(SIGPIPE, SIG_DFL);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

static bool start(struct run *run)
{
	int out[2];
	int slave;

	run->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (run->master < 0 || grantpt(run->master) < 0 || unlockpt(run->master) < 0 ||
	    (slave = open(ptsname(run->master), O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out) < 0) {
		return fail(run, "no terminal or socket");
	}
	run->out = out[0];
	unlink("api.sock");
	run->pid = fork();
	if (run->pid == 0) {
		become_squib(slave, out[1]);
	}
	close(slave);
	close(out[1]);
	run->api = api_connect("api.sock", PATIENCE_MS);
	if (run->api < 0) {
		return fail(run, "no API");
	}
	/* Started, with the first line of metrics written, when the state is told as such. */
	for (uint64_t until = now_ms() + PATIENCE_MS; now_ms() < until; sleep_ms(5)) {
		if (!request(run, "GET", "/", NULL)) {
			return false;
		}
		if (strstr(run->answer, "\"Running\"") != NULL) {
			return true;
		}
	}
	return fail(run, "the guest does not run");
}

static bool ends(struct run *run, int wanted)
{
	int status;

	for (uint64_t until = now_ms() + PATIENCE_MS; now_ms() < until; sleep_ms(2)) {
		if (waitpid(run->pid, &status, WNOHANG) == run->pid) {
			run->pid = 0;
			static char why[64];

			snprintf(why, sizeof(why), "exit status %d in place of %d", exit_of(status),
				 wanted);
			return exit_of(status) == wanted || fail(run, why);
		}
	}
	return fail(run, "no end");
}

static void clean(struct run *run)
{
	if (run->pid > 0) {
		kill(run->pid, SIGKILL);
		waitpid(run->pid, NULL, 0);
	}
	close(run->api);
	close(run->master);
	close(run->out);
}

/* --- what is done --- */

#define FLUSH "PUT", "/actions", "{\"action_type\": \"FlushMetrics\"}"

/* A signal for the thread of a kind while metrics are written: with the tracer. */
static bool signal_thread(struct run *run, int signo, unsigned kind)
{
	static const struct {
		int signo;
		int exit;
	} exits[] = {{SIGSEGV, 150}, {SIGPIPE, KILLED_BY + SIGTERM}};
	int wanted = KILLED_BY + signo;
	char fault[64];

	for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++) {
		wanted = exits[i].signo == signo ? exits[i].exit : wanted;
	}
	snprintf(fault, sizeof(fault), "signal:%d:%u:2", signo, kind);
	setenv("TRACE_FAULT", fault, 1);
	if (!start(run)) {
		return false;
	}
	/* The answer does not come where the process ends. */
	if (!request(run, FLUSH)) {
		run->failure = NULL;
	}
	if (signo == SIGPIPE) {
		kill(run->pid, SIGTERM);
	}
	return ends(run, wanted);
}

/* By Ctrl-Alt-Del, or by what the guest waits for. */
static bool stop_by(struct run *run, int signo)
{
	kill(run->pid, signo);
	return ends(run, KILLED_BY + signo);
}

static bool pause_slowly(struct run *run)
{
	setenv("TRACE_FAULT", "pause", 1);
	return start(run) && request(run, "PATCH", "/vm", "{\"state\": \"Paused\"}") &&
	       request(run, "PATCH", "/vm", "{\"state\": \"Resumed\"}") && stop_by(run, SIGTERM);
}

static bool lack_memory(struct run *run)
{
	setenv("TRACE_FAULT", "nomem", 1);
	/* It may have ended before it answers. */
	(void)start(run);
	run->failure = NULL;
	return ends(run, 1);
}

static bool run_nothing(struct run *run)
{
	setenv("TRACE_FAULT", "norun", 1);
	(void)start(run);
	run->failure = NULL;
	return ends(run, 1);
}

/* Every thread reads the clock: for the log, for the metrics. */
static bool lack_vdso(struct run *run)
{
	setenv("TRACE_FAULT", "vdso", 1);
	return start(run) && request(run, FLUSH) && stop_by(run, SIGTERM);
}

static bool crowd(struct run *run)
{
	int clients[CLIENTS];

	if (!start(run)) {
		return false;
	}
	for (int i = 0; i < CLIENTS; i++) {
		clients[i] = api_connect("api.sock", PATIENCE_MS);
	}
	bool is_whole;
	bool ok = api_receive(clients[CLIENTS - 1], run->answer, sizeof(run->answer), PATIENCE_MS,
			      &is_whole) > 0 ||
		  fail(run, "the last client is not refused");

	for (int i = 0; i < CLIENTS; i++) {
		close(clients[i]);
	}
	return ok && stop_by(run, SIGTERM);
}

/* The drive's file by a name of this length. */
static bool rename_disk(struct run *run, size_t len)
{
	char path[PATHS_LEN + 1];
	char body[2 * PATHS_LEN];

	for (size_t i = 0; i < len; i++) {
		path[i] = "./"[i % 2];
	}
	path[len] = '\0';
	snprintf(body, sizeof(body),
		 "{\"drive_id\": \"disk\", \"path_on_host\": \"%sdisk\", "
		 "\"rate_limiter\": {\"ops\": {\"size\": 5, \"refill_time\": 10}}}",
		 path);
	return request(run, "PATCH", "/drives/disk", body);
}

/* Both of malloc's ways to more memory, as when the heap is used up. */
static bool use_up(struct run *run, const char *tunables)
{
	setenv("GLIBC_TUNABLES", tunables, 1);
	if (!start(run)) {
		return false;
	}
	/* Where the heap ends on whose page is chance: with many lengths each thread comes across.
	 */
	for (size_t len = 0; len < PATHS_LEN; len += 100) {
		if (!rename_disk(run, len)) {
			return false;
		}
	}
	return request(run, "PATCH", "/drives/disk",
		       "{\"drive_id\": \"disk\", \"path_on_host\": \"disk\"}") &&
	       request(run, "GET", "/vm/config", NULL) && request(run, "GET", "/metrics", NULL) &&
	       request(run, FLUSH) && stop_by(run, SIGTERM);
}

static bool use_up_by_brk(struct run *run)
{
	return use_up(run, "glibc.malloc.top_pad=0:glibc.malloc.trim_threshold=1");
}

static bool use_up_by_mmap(struct run *run)
{
	return use_up(run, "glibc.malloc.mmap_threshold=16");
}

/* A drive goes on with a block device: one on our own file. */
static bool use_block_device(struct run *run)
{
	char body[256];
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number = ioctl(control, LOOP_CTL_GET_FREE);
	char path[32];

	snprintf(path, sizeof(path), "/dev/loop%d", number);
	int loop = open(path, O_RDWR | O_CLOEXEC);
	int file = open("disk", O_RDWR | O_CLOEXEC);
	bool ok = number >= 0 && loop >= 0 && ioctl(loop, LOOP_SET_FD, file) == 0;

	snprintf(body, sizeof(body), "{\"drive_id\": \"disk\", \"path_on_host\": \"%s\"}", path);
	if (!ok) {
		fail(run, "no loop device");
	} else {
		ok = start(run) && request(run, "PATCH", "/drives/disk", body) &&
		     stop_by(run, SIGTERM);
		ioctl(loop, LOOP_CLR_FD, 0);
	}
	close(file);
	close(loop);
	close(control);
	return ok;
}

/* --- all of it --- */

static unsigned passed;
static unsigned failed;

static void judge(const char *name, struct run *run, bool ok)
{
	if (ok) {
		printf("ok    %s\n", name);
		passed++;
	} else {
		printf("FAIL  %s: %s\n%.500s\n", name, run->failure, run->answer);
		failed++;
		(void)!system("tail -n 5 log");
	}
	clean(run);
	unsetenv("TRACE_FAULT");
	unsetenv("GLIBC_TUNABLES");
}

static void signal_all_threads(const char *part)
{
	static const int signals[] = {SIGINT, SIGQUIT, SIGABRT, SIGTERM, SIGSEGV, SIGPIPE};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		for (unsigned kind = 1; kind <= 3; kind++) {
			/* The API thread has the signals blocked that others send. */
			if (kind == 2 && signals[i] != SIGABRT && signals[i] != SIGSEGV) {
				continue;
			}
			struct run run = {.api = -1, .master = -1, .out = -1};
			char name[64];

			snprintf(name, sizeof(name), "signal %d for thread %u", signals[i], kind);
			if (strstr(name, part) == NULL) {
				continue;
			}
			write_files();
			judge(name, &run, signal_thread(&run, signals[i], kind));
		}
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		bool (*fn)(struct run *run);
	} cases[] = {
		{"a pause that is disturbed", pause_slowly},
		{"no memory for KVM_RUN", lack_memory},
		{"an exit of KVM_RUN that nobody knows", run_nothing},
		{"a clock without a vDSO", lack_vdso},
		{"more clients than the API takes", crowd},
		{"a heap that grows by brk", use_up_by_brk},
		{"a heap that grows by mmap", use_up_by_mmap},
		{"a block device for a drive", use_block_device},
	};
	const char *part = argc > 1 ? argv[1] : "";
	char dir[] = "/tmp/squib-test-XXXXXX";

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	if (mkdtemp(dir) == NULL || chdir(dir) < 0) {
		perror(dir);
		return 1;
	}
	signal_all_threads(part);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct run run = {.api = -1, .master = -1, .out = -1};

		if (strstr(cases[i].name, part) == NULL) {
			continue;
		}
		write_files();
		judge(cases[i].name, &run, cases[i].fn(&run));
	}
	static const char *const files[] = {"vm.json", "disk", "metrics", "log", "api.sock"};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		unlink(files[i]);
	}
	rmdir(dir);
	printf("%u passed, %u failed, 0 skipped\n", passed, failed);
	return failed > 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the end-to-end tests of guests.c against the real binary, on a machine whose /dev/kvm works.
 *
 * Theory of operation. Each test writes a configuration file, starts squib with pipes as its
 * standard input and output, walks through its steps and judges the exit status. All paths come
 * from the environment (see usage), so that the same static program runs on the host and inside a
 * nested machine of either architecture. A test that the machine can't run is skipped with the
 * reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/guest_test.h"
#include "tests/e2e/live.h"

enum {
	OUTPUT_MAX = 1 << 20,
	SHOWN_MAX = 3000,
	DEFAULT_TIMEOUT_S = 60
};

/* What squib writes: the guest's console to one pipe, the log and last words to another. */
struct stream {
	int fd;
	bool is_open;
	char *text;
	size_t len;
	size_t matched; /* what comes before was consumed by EXPECT */
};

enum {
	CONSOLE,
	LOG,
	STREAMS
};

struct run {
	const struct guest_test *test;
	char dir[PATH_LEN];
	pid_t pid;
	int in;
	struct stream streams[STREAMS];
	uint64_t deadline_ms;
	char failure[512];
};

__attribute__((format(printf, 2, 3))) static bool fail(struct run *run, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(run->failure, sizeof(run->failure), fmt, args);
	va_end(args);
	return false;
}

/* --- the kernels --- */

/* Copies at most `limit` bytes of `from` to `to`, with one 4-byte word replaced if it is found. */
static bool copy_file(const char *from, const char *to, size_t limit, const char *find)
{
	FILE *in = fopen(from, "re");
	FILE *out = fopen(to, "we");
	struct stat st;
	bool ok = in != NULL && out != NULL && fstat(fileno(in), &st) == 0;

	if (ok) {
		size_t len = (size_t)st.st_size < limit ? (size_t)st.st_size : limit;
		char *data = malloc(len + 1);

		ok = data != NULL && fread(data, 1, len, in) == len;
		char *at = ok && find != NULL ? memmem(data, len, find, 16) : NULL;

		if (at != NULL) {
			at[8] = 0x7f; /* a note type nobody knows */
		}
		ok = ok && (find == NULL || at != NULL) && fwrite(data, 1, len, out) == len;
		free(data);
	}
	if (in != NULL) {
		fclose(in);
	}
	return (out == NULL || fclose(out) == 0) && ok;
}

/* namesz 4, descsz 8 or 4, type 18, "Xen": XEN_ELFNOTE_PHYS32_ENTRY */
static bool hide_pvh_note(const char *from, const char *to)
{
	static const char wide[] = "\4\0\0\0\10\0\0\0\22\0\0\0Xen";
	static const char narrow[] = "\4\0\0\0\4\0\0\0\22\0\0\0Xen";

	return copy_file(from, to, SIZE_MAX, wide) || copy_file(from, to, SIZE_MAX, narrow);
}

static bool prepare_kernel(struct run *run, char *path)
{
	const struct guest_test *test = run->test;
	char own[PATH_LEN];

	snprintf(own, sizeof(own), "%s/%s", env("KERNEL_DIR"), is_x86() ? "vmlinux" : "Image");
	snprintf(path, PATH_LEN, "%.400s/kernel", run->dir);
	switch (test->kernel) {
	case OWN_KERNEL:
		snprintf(path, PATH_LEN, "%.500s", own);
		break;
	case OWN_BZIMAGE:
		snprintf(path, PATH_LEN, "%s/bzImage", env("KERNEL_DIR"));
		break;
	case STOCK_KERNEL:
		snprintf(path, PATH_LEN, "%s", env("STOCK_KERNEL"));
		break;
	case PAYLOAD:
		payload_path(test->payload, path);
		break;
	case FOREIGN:
		snprintf(path, PATH_LEN, "%s", env("SQUIB"));
		break;
	case NO_KERNEL:
		break;
	case OWN_ELF64:
		return hide_pvh_note(own, path) || fail(run, "cannot make %s from %s", path, own);
	case DAMAGED_STOCK:
		snprintf(own, sizeof(own), "%s", env("STOCK_KERNEL"));
		__attribute__((fallthrough));
	case DAMAGED_OWN:
		return copy_file(own, path, (size_t)test->cut, NULL) ||
		       fail(run, "cannot make %s from %s", path, own);
	}
	return test->kernel == NO_KERNEL || access(path, R_OK) == 0 ||
	       fail(run, "%s is missing", path);
}

/* --- starting squib --- */

static bool write_config(struct run *run, char *path)
{
	const struct guest_test *test = run->test;
	char kernel[PATH_LEN];
	char initrd[PATH_LEN] = "";
	char script[2048] = "";

	if (!prepare_kernel(run, kernel)) {
		return false;
	}
	if (!test->has_no_initrd && test->kernel != PAYLOAD) {
		snprintf(initrd, sizeof(initrd), ", \"initrd_path\": \"%.400s/initrd.cpio\"",
			 env("IMAGE_DIR"));
	}
	if (test->run != NULL) {
		strcpy(script, " squib.run=");
		base64(test->run, script + strlen(script));
	}
	snprintf(path, PATH_LEN, "%.400s/vm.json", run->dir);
	FILE *file = fopen(path, "we");

	if (file == NULL) {
		return fail(run, "cannot write %s", path);
	}
	fprintf(file,
		"{\"boot-source\": {\"kernel_image_path\": \"%s\"%s, \"boot_args\": "
		"\"console=ttyS0 "
		"reboot=k panic=1 nomodule i8042.noaux i8042.nomux i8042.dumbkbd%s%s%s%s%s\"}, "
		"\"drives\": [], \"machine-config\": {\"vcpu_count\": %u, \"mem_size_mib\": %u, "
		"\"smt\": %s, \"huge_pages\": \"%s\"}}\n",
		kernel, initrd, test->boot_args != NULL ? " " : "",
		test->boot_args != NULL ? test->boot_args : "", script,
		test->end != NULL ? " squib.end=" : "", test->end != NULL ? test->end : "",
		test->vcpus > 0 ? test->vcpus : 1, test->mem_mib > 0 ? test->mem_mib : 128,
		test->smt ? "true" : "false", test->huge_pages != NULL ? test->huge_pages : "None");
	fclose(file);
	return true;
}

static void exec_squib(const struct run *run, const char *config)
{
	/* Apart from the console: what several threads write to one pipe would mix. */
	const char *argv[24] = {env("SQUIB"), "--no-api",   "--config-file",
				config,	      "--log-path", "/proc/self/fd/2"};
	char flags[256];
	size_t count = 6;

	(void)!chdir(run->dir);
	snprintf(flags, sizeof(flags), "%s", run->test->flags != NULL ? run->test->flags : "");
	for (char *flag = strtok(flags, " "); flag != NULL && count < 23;
	     flag = strtok(NULL, " ")) {
		argv[count++] = flag;
	}
	execv(argv[0], (char *const *)argv);
	fprintf(stderr, "cannot execute %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static bool start(struct run *run, const char *config)
{
	int in[2];
	int out[2];
	int log[2];

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(log, O_CLOEXEC) < 0) {
		return fail(run, "no pipes");
	}
	fcntl(in[1], F_SETFL, O_NONBLOCK);
	run->pid = fork();
	if (run->pid == 0) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		dup2(log[1], STDERR_FILENO);
		exec_squib(run, config);
	}
	close(in[0]);
	close(out[1]);
	close(log[1]);
	run->in = in[1];
	run->streams[CONSOLE].fd = out[0];
	run->streams[LOG].fd = log[0];
	for (size_t i = 0; i < STREAMS; i++) {
		run->streams[i].is_open = true;
	}
	return run->pid > 0 || fail(run, "cannot fork");
}

/* --- steps --- */

static void read_stream(struct stream *stream)
{
	char rest[4096];
	bool is_full = stream->len >= OUTPUT_MAX - 1;
	char *to = is_full ? rest : stream->text + stream->len;
	ssize_t got = read(stream->fd, to, is_full ? sizeof(rest) : OUTPUT_MAX - 1 - stream->len);

	if (got <= 0) {
		stream->is_open = false;
		return;
	}
	if (is_full) {
		return;
	}
	for (ssize_t i = 0; i < got; i++) {
		/* Text to search in: a guest may write NULs. */
		if (to[i] == '\0') {
			to[i] = '?';
		}
	}
	stream->len += (size_t)got;
	stream->text[stream->len] = '\0';
}

/* Reads what there is, waiting up to `wait_ms`; false at the end of all output. */
static bool read_output(struct run *run, int wait_ms)
{
	struct pollfd ready[STREAMS];
	bool is_open = false;

	for (size_t i = 0; i < STREAMS; i++) {
		ready[i] = (struct pollfd){.fd = run->streams[i].is_open ? run->streams[i].fd : -1,
					   .events = POLLIN};
	}
	if (poll(ready, STREAMS, wait_ms) > 0) {
		for (size_t i = 0; i < STREAMS; i++) {
			if (ready[i].revents != 0) {
				read_stream(&run->streams[i]);
			}
		}
	}
	for (size_t i = 0; i < STREAMS; i++) {
		is_open |= run->streams[i].is_open;
	}
	return is_open;
}

/* Consumes `text`, wherever it was said. */
static bool find(struct run *run, const char *text)
{
	for (size_t i = 0; i < STREAMS; i++) {
		struct stream *stream = &run->streams[i];
		char *at = strstr(stream->text + stream->matched, text);

		if (at != NULL) {
			stream->matched = (size_t)(at - stream->text) + strlen(text);
			return true;
		}
	}
	return false;
}

static bool expect(struct run *run, const char *text)
{
	while (!find(run, text)) {
		if (now_ms() > run->deadline_ms) {
			return fail(run, "timed out waiting for \"%s\"", text);
		}
		if (!read_output(run, 100)) {
			return find(run, text) || fail(run, "ended without \"%s\"", text);
		}
	}
	return true;
}

static bool flood(struct run *run, long bytes)
{
	uint64_t until = now_ms() + 2000;
	char chunk[4096];

	memset(chunk, 'x', sizeof(chunk));
	while (bytes > 0 && now_ms() < until) {
		size_t part = bytes < (long)sizeof(chunk) ? (size_t)bytes : sizeof(chunk);
		ssize_t put = write(run->in, chunk, part);

		bytes -= put > 0 ? put : 0;
		read_output(run, put > 0 ? 0 : 10);
	}
	return true;
}

static bool pause_for(struct run *run, long ms)
{
	uint64_t until = now_ms() + (uint64_t)ms;

	while (now_ms() < until) {
		if (!read_output(run, 10)) {
			return fail(run, "the process ended early");
		}
	}
	return true;
}

static bool do_step(struct run *run, const struct step *step)
{
	const char *wrong;

	switch (step->kind) {
	case EXPECT:
		return step->text == NULL || expect(run, step->text);
	case SEND:
		return write(run->in, step->text, strlen(step->text)) ==
			       (ssize_t)strlen(step->text) ||
		       fail(run, "cannot send \"%s\"", step->text);
	case FLOOD:
		return flood(run, step->number);
	case SIGNAL:
		return kill(run->pid, (int)step->number) == 0 || fail(run, "cannot signal");
	case PAUSE:
		return pause_for(run, step->number);
	case CHECK:
		wrong = step->check(run->pid);
		return wrong == NULL || fail(run, "%s", wrong);
	}
	return false;
}

static bool finish(struct run *run)
{
	int status = 0;

	while (read_output(run, 100)) {
		if (now_ms() > run->deadline_ms) {
			return fail(run, "timed out waiting for the end");
		}
	}
	waitpid(run->pid, &status, 0);
	run->pid = 0;
	int seen = exit_of(status);

	if (seen != run->test->exit_status) {
		return fail(run, "exit status %d in place of %d", seen, run->test->exit_status);
	}
	for (size_t i = 0; run->test->never != NULL && i < STREAMS; i++) {
		if (strstr(run->streams[i].text, run->test->never) != NULL) {
			return fail(run, "printed \"%s\"", run->test->never);
		}
	}
	return true;
}

static bool run_test(struct run *run)
{
	char config[PATH_LEN];
	unsigned timeout_s = run->test->timeout_s > 0 ? run->test->timeout_s : DEFAULT_TIMEOUT_S;

	run->deadline_ms = now_ms() + timeout_s * 1000ull;
	if (!write_config(run, config) || !start(run, config)) {
		return false;
	}
	for (size_t i = 0; i < STEPS_MAX; i++) {
		if (!do_step(run, &run->test->steps[i])) {
			return false;
		}
	}
	return finish(run);
}

static const char *const kind_names[] = {"none", "kvm-payload", "kvm-linux"};

static const char *why_skipped(const struct guest_test *test, enum kvm_kind kind)
{
	if (test->arch != ANY_ARCH && (test->arch == X86_64) != is_x86()) {
		return test->arch == X86_64 ? "only on x86_64" : "only on aarch64";
	}
	return kind < test->needs ? kind_names[test->needs] : NULL;
}

static void show_end(const struct stream *stream, const char *name)
{
	size_t tail = stream->len > SHOWN_MAX ? stream->len - SHOWN_MAX : 0;

	printf("--- its %s ends:\n%s\n", name, stream->text + tail);
}

static bool judge(const struct guest_test *test)
{
	struct run run = {.test = test, .in = -1};
	uint64_t begin = now_ms();
	bool ok = true;

	for (size_t i = 0; i < STREAMS; i++) {
		run.streams[i].fd = -1;
		run.streams[i].text = calloc(1, OUTPUT_MAX);
		ok = ok && run.streams[i].text != NULL;
	}
	snprintf(run.dir, sizeof(run.dir), "/tmp/squib-test-XXXXXX");
	ok = ok && (mkdtemp(run.dir) != NULL ? run_test(&run) : fail(&run, "no temp dir"));
	if (run.pid > 0) {
		kill(run.pid, SIGKILL);
		waitpid(run.pid, NULL, 0);
	}
	close(run.in);
	if (ok) {
		printf("ok    %s (%llu ms)\n", test->name, (unsigned long long)(now_ms() - begin));
	} else {
		printf("FAIL  %s: %s\n", test->name, run.failure);
		show_end(&run.streams[CONSOLE], "console");
		show_end(&run.streams[LOG], "log");
	}
	char path[PATH_LEN];

	snprintf(path, sizeof(path), "%.400s/kernel", run.dir);
	unlink(path);
	snprintf(path, sizeof(path), "%.400s/vm.json", run.dir);
	unlink(path);
	rmdir(run.dir);
	for (size_t i = 0; i < STREAMS; i++) {
		close(run.streams[i].fd);
		free(run.streams[i].text);
	}
	return ok;
}

static const struct live_test live_tests[] = {
	{"a line of metrics is written each minute, but not while paused", KVM_PAYLOAD,
	 metrics_minute_test},
	{"a machine starts in a storm of signals", KVM_PAYLOAD, signal_storm_test},
	{"2 MiB pages: a small pool is told and mended, Linux runs, all is given back", KVM_LINUX,
	 huge_pages_test},
};

static bool judge_live(const struct live_test *test)
{
	struct live live;
	uint64_t begin = now_ms();
	bool ok = live_init(&live) && test->run(&live);

	if (ok) {
		printf("ok    %s (%llu ms)\n", test->name, (unsigned long long)(now_ms() - begin));
	} else {
		size_t len;
		char *log = squib_file(&live.squib, "log", &len);

		printf("FAIL  %s: %s\n--- its log:\n%s\n", test->name, live.failure,
		       log != NULL ? log : "none");
		free(log);
	}
	live_destroy(&live);
	return ok;
}

int main(int argc, char **argv)
{
	enum kvm_kind kind = env_kvm_kind();
	unsigned counts[3] = {0};

	if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
		fprintf(stderr,
			"usage: %s [PART_OF_A_NAME]\n"
			"environment: SQUIB KVM_KIND (none, payload, linux) KERNEL_DIR "
			"IMAGE_DIR STOCK_KERNEL GUEST_DIR\n",
			argv[0]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < guest_test_count; i++) {
		const struct guest_test *test = &guest_tests[i];
		const char *reason = why_skipped(test, kind);

		if (argc == 2 && strstr(test->name, argv[1]) == NULL) {
			continue;
		}
		if (reason != NULL) {
			printf("skip  %s: %s\n", test->name, reason);
			counts[2]++;
		} else {
			counts[judge(test) ? 0 : 1]++;
		}
	}
	for (size_t i = 0; i < sizeof(live_tests) / sizeof(live_tests[0]); i++) {
		const struct live_test *test = &live_tests[i];

		if (argc == 2 && strstr(test->name, argv[1]) == NULL) {
			continue;
		}
		if (kind < test->needs) {
			printf("skip  %s: %s\n", test->name, kind_names[test->needs]);
			counts[2]++;
		} else {
			counts[judge_live(test) ? 0 : 1]++;
		}
	}
	printf("%u passed, %u failed, %u skipped\n", counts[0], counts[1], counts[2]);
	return counts[1] > 0;
}

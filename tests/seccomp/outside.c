/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filters seen from outside, while a guest has booted: in /proc, and by what happens to a
 * thread that makes a call which its filter lacks.
 *
 * Theory of operation. $SECCOMP_DIR has policies of our own, compiled: custom.bin, and
 * THREAD-CALL.bin for each row of `violations`, which is the default policy without that call. The
 * guest is Linux where KVM_KIND says so, else a payload; both have two vCPUs and nothing to do.
 */
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/api_client.h"
#include "tests/lib/testbed.h"

enum {
	PATIENCE_MS = 60000,
	BAD_SYSCALL = 148,
	VCPUS = 2,
	THREADS = 2 + VCPUS, /* kernels since 6.4 add one for KVM */
};

struct outside {
	struct squib squib;
	int api;
	char failure[512];
};

static unsigned passed;
static unsigned failed;

__attribute__((format(printf, 2, 3))) static bool fail(struct outside *outside, const char *fmt,
						       ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(outside->failure, sizeof(outside->failure), fmt, args);
	va_end(args);
	return false;
}

/* --- a squib with a guest --- */

static bool write_config(const struct outside *outside)
{
	char path[PATH_LEN];
	char source[4 * PATH_LEN];

	if (env_kvm_kind() == KVM_LINUX) {
		snprintf(source, sizeof(source),
			 "\"kernel_image_path\": \"%s/%s\", \"initrd_path\": \"%s/initrd.cpio\", "
			 "\"boot_args\": \"console=ttyS0 reboot=k panic=1 nomodule quiet "
			 "squib.end=hang\"",
			 env("KERNEL_DIR"), is_x86() ? "vmlinux" : "Image", env("IMAGE_DIR"));
	} else {
		payload_path("idle", path);
		snprintf(source, sizeof(source), "\"kernel_image_path\": \"%s\"", path);
	}
	snprintf(path, sizeof(path), "%.300s/vm.json", outside->squib.dir);
	FILE *file = fopen(path, "we");

	if (file == NULL) {
		return false;
	}
	fprintf(file,
		"{\"boot-source\": {%s}, \"drives\": [{\"drive_id\": \"disk\", \"is_root_device\": "
		"false, \"path_on_host\": \"vm.json\", \"is_read_only\": true}], "
		"\"machine-config\": {\"vcpu_count\": %d, \"mem_size_mib\": 128}, "
		"\"logger\": {\"log_path\": \"log\"}, "
		"\"metrics\": {\"metrics_path\": \"metrics\"}}\n",
		source, VCPUS);
	return fclose(file) == 0;
}

static bool has_text(const struct outside *outside, const char *name, const char *text)
{
	size_t len = 0;
	char *content = squib_file(&outside->squib, name, &len);
	bool is_there = content != NULL && strstr(content, text) != NULL;

	free(content);
	return is_there;
}

static bool make_file(const struct outside *outside, const char *name)
{
	char path[PATH_LEN];

	snprintf(path, sizeof(path), "%.300s/%s", outside->squib.dir, name);
	FILE *file = fopen(path, "we");

	return file != NULL && fclose(file) == 0;
}

/* Until the guest says that it is up. `option` may be NULL, or have a value. */
static bool start(struct outside *outside, const char *option, const char *value)
{
	const char *const args[] = {"--api-sock", "api.sock", "--config-file", "vm.json", option,
				    value,	  NULL};
	const char *up = env_kvm_kind() == KVM_LINUX ? "init reached" : "idle: ready";
	char path[PATH_LEN];

	*outside = (struct outside){.api = -1};
	if (!squib_init(&outside->squib) || !write_config(outside) || !make_file(outside, "log") ||
	    !make_file(outside, "metrics")) {
		return fail(outside, "no files");
	}
	outside->squib.in = -1;
	snprintf(path, sizeof(path), "%.300s/api.sock", outside->squib.dir);
	if (!squib_start(&outside->squib, args)) {
		return fail(outside, "no process");
	}
	outside->api = api_connect(path, PATIENCE_MS);
	for (uint64_t until = now_ms() + PATIENCE_MS; now_ms() < until; sleep_ms(20)) {
		if (has_text(outside, "out", up)) {
			return outside->api >= 0 || fail(outside, "no API");
		}
	}
	return fail(outside, "the guest does not come up");
}

static void send_request(const struct outside *outside, const char *method, const char *path,
			 const char *body)
{
	char text[1024];
	size_t len = api_format_request(text, sizeof(text), method, path, body,
					body != NULL ? strlen(body) : 0);

	(void)api_send(outside->api, text, len, PATIENCE_MS);
}

static void show(const struct outside *outside, const char *name)
{
	size_t len = 0;
	char *content = squib_file(&outside->squib, name, &len);

	if (content != NULL) {
		printf("--- %s:\n%s\n", name, content + (len > 2000 ? len - 2000 : 0));
	}
	free(content);
}

static void judge(struct outside *outside, const char *name, bool ok)
{
	if (ok) {
		printf("ok    %s\n", name);
		passed++;
	} else {
		printf("FAIL  %s: %s\n", name, outside->failure);
		show(outside, "out");
		show(outside, "log");
		failed++;
	}
	if (outside->api >= 0) {
		close(outside->api);
	}
	squib_destroy(&outside->squib);
}

/* --- what /proc says --- */

/* "Name:", "Seccomp:" and "NoNewPrivs:" of one thread. */
static bool read_thread(pid_t pid, const char *thread, char name[64], int *seccomp, int *privileges)
{
	char path[PATH_LEN];
	char line[256];
	int found = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/status", (int)pid, thread);
	FILE *file = fopen(path, "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		found += sscanf(line, "Name: %63[^\n]", name) == 1;
		found += sscanf(line, "Seccomp: %d", seccomp) == 1;
		found += sscanf(line, "NoNewPrivs: %d", privileges) == 1;
	}
	if (file != NULL) {
		fclose(file);
	}
	return found == 3;
}

static bool all_threads(struct outside *outside, int wanted_seccomp, int wanted_privileges)
{
	static const char *const names[] = {"squib", "fc_api", "fc_vcpu 0", "fc_vcpu 1"};
	char path[64];
	unsigned seen = 0;
	int count = 0;
	bool ok = true;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)outside->squib.pid);
	DIR *dir = opendir(path);

	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		char name[64] = "";
		int seccomp = -1;
		int privileges = -1;

		if (entry->d_name[0] == '.') {
			continue;
		}
		if (!read_thread(outside->squib.pid, entry->d_name, name, &seccomp, &privileges) ||
		    seccomp != wanted_seccomp || privileges != wanted_privileges) {
			ok = fail(outside, "%s has Seccomp %d, NoNewPrivs %d", name, seccomp,
				  privileges);
		}
		for (unsigned i = 0; i < THREADS; i++) {
			seen |= strcmp(name, names[i]) == 0 ? 1u << i : 0;
		}
		count++;
	}
	if (dir != NULL) {
		closedir(dir);
	}
	if (seen != (1u << THREADS) - 1) {
		return fail(outside, "of %d threads some are missing: %#x", count, seen);
	}
	return ok;
}

/* --- violations --- */

static const struct violation {
	const char *thread;
	const char *call;
	long number;
	const char *logged; /* as which thread */
	const char *method;
	const char *path;
	const char *body;
} violations[] = {
	{"vmm", "openat", SYS_openat, ":main]", "PATCH", "/drives/disk",
	 "{\"drive_id\": \"disk\", \"path_on_host\": \"vm.json\"}"},
	{"api", "sendmsg", SYS_sendmsg, ":fc_api]", "GET", "/", NULL},
	{"vcpu", "rt_sigreturn", SYS_rt_sigreturn, ":fc_vcpu ", "PATCH", "/vm",
	 "{\"state\": \"Paused\"}"},
};

/* One line of the log has all of it. */
static bool is_logged(const struct outside *outside, const char *thread, const char *text)
{
	size_t len = 0;
	char *log = squib_file(&outside->squib, "log", &len);
	char *rest = NULL;
	bool is_there = false;

	for (char *line = log != NULL ? strtok_r(log, "\n", &rest) : NULL; line != NULL;
	     line = strtok_r(NULL, "\n", &rest)) {
		is_there |= strstr(line, thread) != NULL && strstr(line, text) != NULL;
	}
	free(log);
	return is_there;
}

/* In the last line of metrics, which is whole. */
static bool is_counted(const struct outside *outside)
{
	size_t len = 0;
	char *metrics = squib_file(&outside->squib, "metrics", &len);
	bool is_there = false;

	if (metrics != NULL && len > 1 && metrics[len - 1] == '\n') {
		metrics[len - 1] = '\0';
		const char *begin = strrchr(metrics, '\n');

		begin = begin != NULL ? begin + 1 : metrics;
		is_there = strstr(begin, "\"seccomp\":{\"num_faults\":1}") != NULL &&
			   metrics[len - 2] == '}';
	}
	free(metrics);
	return is_there;
}

static bool violate(struct outside *outside, const struct violation *row)
{
	char path[PATH_LEN];
	char number[128];
	char reason[128];
	int status;

	snprintf(path, sizeof(path), "%.400s/%s-%s.bin", env("SECCOMP_DIR"), row->thread,
		 row->call);
	snprintf(number, sizeof(number), "Shutting down VM after intercepting a bad syscall (%ld).",
		 row->number);
	snprintf(reason, sizeof(reason), "The seccomp filter of this thread does not allow %s;",
		 row->call);
	if (!start(outside, "--seccomp-filter", path) || !all_threads(outside, 2, 1)) {
		return false;
	}
	send_request(outside, row->method, row->path, row->body);
	if (!squib_wait(&outside->squib, PATIENCE_MS, &status)) {
		return fail(outside, "it goes on");
	}
	if (status != BAD_SYSCALL) {
		return fail(outside, "exit status %d", status);
	}
	if (!is_logged(outside, row->logged, number) || !is_logged(outside, row->logged, reason)) {
		return fail(outside, "the log does not tell");
	}
	return is_counted(outside) || fail(outside, "it is not counted in the last metrics");
}

int main(void)
{
	struct outside outside;
	char custom[PATH_LEN];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (env_kvm_kind() == KVM_NONE) {
		printf("skip  filters from outside: no /dev/kvm here\n"
		       "0 passed, 0 failed, 1 skipped\n");
		return 0;
	}
	judge(&outside, "every thread has a filter and can gain no privileges",
	      start(&outside, NULL, NULL) && all_threads(&outside, 2, 1));
	judge(&outside, "without filters no thread has one",
	      start(&outside, "--no-seccomp", NULL) && all_threads(&outside, 0, 0));
	snprintf(custom, sizeof(custom), "%.400s/custom.bin", env("SECCOMP_DIR"));
	judge(&outside, "a custom policy is installed on every thread",
	      start(&outside, "--seccomp-filter", custom) && all_threads(&outside, 2, 1));
	for (size_t i = 0; i < sizeof(violations) / sizeof(violations[0]); i++) {
		char name[128];

		snprintf(name, sizeof(name), "%s on the thread %s is exit %d, logged and counted",
			 violations[i].call, violations[i].thread, BAD_SYSCALL);
		judge(&outside, name, violate(&outside, &violations[i]));
	}
	printf("%u passed, %u failed, 0 skipped\n", passed, failed);
	return failed > 0;
}

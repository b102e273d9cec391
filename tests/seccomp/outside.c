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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "tests/lib/api_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/squib.h"

enum {
	TIMEOUT_S = 120,
	BAD_SYSCALL = 148,
	VCPUS = 2,
	VMM = 0, /* threads by their place in lists */
	API = 1,
	THREADS = 2 + VCPUS, /* kernels since 6.4 add one for KVM */
};

/* --- a squib with a guest --- */

static bool write_config(struct squib *squib)
{
	char kernel[PATH_LEN];
	char source[4 * PATH_LEN];
	char config[8 * PATH_LEN];

	if (env_kvm_kind() == KVM_LINUX) {
		snprintf(source, sizeof(source),
			 "\"kernel_image_path\": \"%s/%s\", \"initrd_path\": \"%s/initrd.cpio\", "
			 "\"boot_args\": \"console=ttyS0 reboot=k panic=1 nomodule quiet "
			 "squib.end=hang\"",
			 env("KERNEL_DIR"), is_x86() ? "vmlinux" : "Image", env("IMAGE_DIR"));
	} else {
		payload_path("idle", kernel);
		snprintf(source, sizeof(source), "\"kernel_image_path\": \"%s\"", kernel);
	}
	snprintf(config, sizeof(config),
		 "{\"boot-source\": {%s}, \"drives\": [{\"drive_id\": \"disk\", "
		 "\"is_root_device\": false, \"path_on_host\": \"vm.json\", \"is_read_only\": "
		 "true}], \"machine-config\": {\"vcpu_count\": %d, \"mem_size_mib\": 128}, "
		 "\"metrics\": {\"metrics_path\": \"metrics\"}}\n",
		 source, VCPUS);
	return squib_write(squib, "vm.json", config) && squib_write(squib, "metrics", "");
}

/* Until the guest says that it is up. `option` may be NULL, or have a value. */
static bool start(struct squib *squib, const char *option, const char *value)
{
	const char *const args[] = {"--config-file", "vm.json", option, value, NULL};
	const char *up = env_kvm_kind() == KVM_LINUX ? "init reached" : "idle: ready";

	return write_config(squib) && squib_serve(squib, args) && squib_expect(squib, up, NULL);
}

/* --- what /proc says --- */

/* Of one thread. */
struct status {
	char name[64];
	int seccomp;
	int privileges;
	long filters; /* those of whoever started squib among them */
};

static bool read_thread(pid_t pid, const char *thread, struct status *status)
{
	char path[PATH_LEN];
	char line[256];
	int found = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/status", (int)pid, thread);
	FILE *file = fopen(path, "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		found += sscanf(line, "Name: %63[^\n]", status->name) == 1;
		found += sscanf(line, "Seccomp: %d", &status->seccomp) == 1;
		found += sscanf(line, "NoNewPrivs: %d", &status->privileges) == 1;
		(void)sscanf(line, "Seccomp_filters: %ld", &status->filters);
	}
	if (file != NULL) {
		fclose(file);
	}
	return found == 3;
}

/* Notes how many filters each has. */
static bool all_threads(struct squib *squib, int wanted_seccomp, int wanted_privileges,
			long filters[THREADS])
{
	static const char *const names[THREADS] = {
		[VMM] = "squib", [API] = "fc_api", "fc_vcpu 0", "fc_vcpu 1"};
	char path[64];
	unsigned seen = 0;
	int count = 0;
	bool ok = true;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)squib->pid);
	DIR *dir = opendir(path);

	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		struct status status = {.seccomp = -1, .privileges = -1, .filters = -1};

		if (entry->d_name[0] == '.') {
			continue;
		}
		if (!read_thread(squib->pid, entry->d_name, &status) ||
		    status.seccomp != wanted_seccomp || status.privileges != wanted_privileges) {
			ok = squib_fail(squib, "%s has Seccomp %d, NoNewPrivs %d", status.name,
					status.seccomp, status.privileges);
		}
		for (unsigned i = 0; i < THREADS; i++) {
			if (strcmp(status.name, names[i]) == 0) {
				seen |= 1u << i;
				filters[i] = status.filters;
			}
		}
		count++;
	}
	if (dir != NULL) {
		closedir(dir);
	}
	if (seen != (1u << THREADS) - 1) {
		return squib_fail(squib, "of %d threads some are missing: %#x", count, seen);
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
static bool is_logged(const struct squib *squib, const char *thread, const char *text)
{
	size_t len = 0;
	char *log = squib_file(squib, "log", &len);
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
static bool is_counted(const struct squib *squib)
{
	size_t len = 0;
	char *metrics = squib_file(squib, "metrics", &len);
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

static bool violate(struct squib *squib, const void *arg)
{
	const struct violation *row = arg;
	char path[PATH_LEN];
	char number[128];
	char reason[128];
	long filters[THREADS];

	snprintf(path, sizeof(path), "%.400s/%s-%s.bin", env("SECCOMP_DIR"), row->thread,
		 row->call);
	snprintf(number, sizeof(number), "Shutting down VM after intercepting a bad syscall (%ld).",
		 row->number);
	snprintf(reason, sizeof(reason), "The seccomp filter of this thread does not allow %s;",
		 row->call);
	if (!start(squib, "--seccomp-filter", path) || !all_threads(squib, 2, 1, filters)) {
		return false;
	}
	/* The answer does not come. */
	(void)api_ask(squib->api, row->method, row->path, row->body, squib->answer,
		      sizeof(squib->answer), PATIENCE_MS);
	if (!squib_ends(squib, BAD_SYSCALL)) {
		return false;
	}
	if (!is_logged(squib, row->logged, number) || !is_logged(squib, row->logged, reason)) {
		return squib_fail(squib, "the log does not tell");
	}
	return is_counted(squib) || squib_fail(squib, "it is not counted in the last metrics");
}

/* --- all of it --- */

struct look {
	const char *option;
	const char *value;
	bool has_filters;
	long more; /* filters that the VMM thread has more than others */
};

/* Starts with the option, and looks at the threads. */
static bool look(struct squib *squib, const void *arg)
{
	const struct look *look = arg;

	long filters[THREADS];

	if (!start(squib, look->option, look->value) ||
	    !all_threads(squib, look->has_filters ? 2 : 0, look->has_filters ? 1 : 0, filters)) {
		return false;
	}
	return !look->has_filters ||
	       (filters[API] > 0 && filters[VMM] == filters[API] + look->more) ||
	       squib_fail(squib, "the VMM thread has %ld filters, the API's %ld", filters[VMM],
			  filters[API]);
}

static void run(struct runner *runner, const char *name,
		bool (*fn)(struct squib *squib, const void *arg), const void *arg)
{
	runner_run(runner, &(struct runner_test){
				   .name = name,
				   .needs = KVM_PAYLOAD,
				   .timeout_s = TIMEOUT_S,
				   .run = fn,
				   .arg = arg,
			   });
}

int main(int argc, char **argv)
{
	struct runner runner;
	char custom[PATH_LEN];

	if (!runner_init(&runner, argc, argv, "KERNEL_DIR IMAGE_DIR GUEST_DIR SECCOMP_DIR")) {
		return 2;
	}
	if (runner.kvm == KVM_NONE) {
		runner_skip(&runner, "filters from outside", "no /dev/kvm here");
		return runner_end(&runner);
	}
	snprintf(custom, sizeof(custom), "%.400s/custom.bin", env("SECCOMP_DIR"));
	run(&runner, "every thread has a filter and can gain no privileges", look,
	    &(struct look){.has_filters = true, .more = 1});
	run(&runner, "with a PCI bus too, and no filter that denies plugging in", look,
	    &(struct look){.option = "--enable-pci", .has_filters = true});
	run(&runner, "without filters no thread has one", look,
	    &(struct look){.option = "--no-seccomp"});
	run(&runner, "a custom policy is installed on every thread", look,
	    &(struct look){"--seccomp-filter", custom, true, 1});
	for (size_t i = 0; i < sizeof(violations) / sizeof(violations[0]); i++) {
		char name[128];

		snprintf(name, sizeof(name), "%s on the thread %s is exit %d, logged and counted",
			 violations[i].call, violations[i].thread, BAD_SYSCALL);
		run(&runner, name, violate, &violations[i]);
	}
	return runner_end(&runner);
}

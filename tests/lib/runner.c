/* SPDX-License-Identifier: Apache-2.0 */
/* The runner of the programs that test the real binary. */
#include "tests/lib/runner.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool runner_init(struct runner *runner, int argc, char **argv, const char *environment)
{
	*runner = (struct runner){
		.part = argc > 1 ? argv[1] : NULL,
		.kvm = env_kvm_kind(),
		.has_second_try = getenv("SECOND_TRY") != NULL,
	};
	if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
		fprintf(stderr,
			"usage: %s [PART_OF_A_NAME]\n"
			"environment: SQUIB KVM_KIND (none, payload, linux) %s\n",
			argv[0], environment);
		return false;
	}
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	return true;
}

const char *runner_kvm_name(enum kvm_kind kind)
{
	static const char *const names[] = {
		[KVM_NONE] = "none", [KVM_PAYLOAD] = "kvm-payload", [KVM_LINUX] = "kvm-linux"};

	return names[kind];
}

void runner_skip(struct runner *runner, const char *name, const char *reason)
{
	printf("skip  %s: %s\n", name, reason);
	runner->skipped++;
}

/*
 * Long tests of what no architecture changes. Where the environment has ONCE, each runs on the one
 * that is named here, and none of LONG; with "others" in it those alone that do not. What the
 * filters' stage runs (tests/seccomp/guests) is LONG as well.
 */
static bool is_for_the_other(const char *name)
{
	static const char pci[] = "pci: ";
	enum home {
		X86,
		ARM,
		LONG
	};
	static const struct {
		const char *begin;
		enum home home;
	} homes[] = {
		{"32 vCPUs are seen, and the last one runs", ARM},
		{"64 MiB are enough", ARM},
		{"6 GiB are seen", X86},
		{"1 vCPU and 32 MiB", X86},
		{"Ctrl-C reaches", ARM},
		{"Debian's stock kernel boots as it is", X86},
		{"Linux runs on transparent huge pages", ARM},
		{"SIGHUP ends the process", ARM},
		{"SIGTERM ends the process", ARM},
		{"2 MiB pages", X86},
		{"a flood of output arrives whole", ARM},
		{"a fork that fails leaves nothing", X86},
		{"a forked child never writes", X86},
		{"a machine is forked while its processes are killed", X86},
		{"a machine that is forked 1,000 times", X86},
		{"a shell on the console", ARM},
		{"balloon: hinting", ARM},
		{"balloon: inflate", ARM},
		{"calls:", LONG},
		{"cpu: lscpu and hwloc", LONG},
		{"cpu: what this host can't give", X86},
		{"disks: overlays, both engines", ARM},
		{"disks: overlays, what was told", LONG},
		{"disks: what was told", LONG},
		{"drives come and go", X86},
		{"faults: a TAP", ARM},
		{"faults: a disk that hangs", ARM},
		{"faults: a full disk", X86},
		{"faults: sinks", ARM},
		{"fork: Linux", LONG},
		{"fork: a warm guest", X86},
		{"forked machines end with their parent", X86},
		{"hang:", LONG},
		{"hotplug: memory", X86},
		{"input that nobody reads is bounded", X86},
		{"many:", ARM},
		{"metadata: 1 MiB", LONG},
		{"metadata: curl, wget, Python, AWS's SDKs, version 1", LONG},
		{"metadata: curl, wget, Python, AWS's SDKs, version 2", ARM},
		{"metadata: tokens", LONG},
		{"metadata: version 1", ARM},
		{"network: a queue pair", X86},
		{"network: the host's kernel (vhost-net) has", X86},
		{"network: the host's kernel serves", LONG},
		{"network: two TAPs", ARM},
		{"our kernel boots with threads that Landlock confines", ARM},
		{"payload registers: every register, width", LONG},
		{"plug: disks and an interface come and go", X86},
		{"plug: disks that hang", ARM},
		{"plug: the same behind hot-plug ports", ARM},
		{"pmem: a device comes and goes", ARM},
		{"pmem: a root by DAX", X86},
		{"snapshot: balloon", ARM},
		{"snapshot: console", ARM},
		{"snapshot: disks", X86},
		{"snapshot: identity", ARM},
		{"snapshot: networks", ARM},
		{"snapshot: sockets", X86},
		{"snapshot: two machines", X86},
		{"sockets: vsock", X86},
		{"vhost: a disk of", X86},
		{"vhost: a disk whose", ARM},
		{"vhost: file systems", X86},
		{"virtiofsd:", LONG},
	};

	name += strncmp(name, pci, strlen(pci)) == 0 ? strlen(pci) : 0;
	for (size_t i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
		if (strncmp(name, homes[i].begin, strlen(homes[i].begin)) == 0) {
			return homes[i].home != (is_x86() ? X86 : ARM);
		}
	}
	return false;
}

/* Whether one of the logs that PASSED names says so. */
static bool has_passed(const char *name)
{
	const char *passed = getenv("PASSED");
	char logs[1024];
	char expected[256];
	char line[512];
	bool has = false;

	snprintf(logs, sizeof(logs), "%s", passed != NULL ? passed : "");
	snprintf(expected, sizeof(expected), "ok    %s (", name);
	for (char *rest = logs, *log; !has && (log = strsep(&rest, " ")) != NULL;) {
		FILE *file = fopen(log, "re");

		while (file != NULL && !has && fgets(line, sizeof(line), file) != NULL) {
			has = strncmp(line, expected, strlen(expected)) == 0;
		}
		if (file != NULL) {
			fclose(file);
		}
	}
	return has;
}

bool runner_begins(struct runner *runner, const char *name, enum kvm_kind needs)
{
	if (runner->part != NULL && strstr(name, runner->part) == NULL) {
		return false;
	}
	const char *once = getenv("ONCE");

	if (once != NULL && is_for_the_other(name) != (strcmp(once, "others") == 0)) {
		return false;
	}
	if (has_passed(name)) {
		printf("      %s: has passed\n", name);
		return false;
	}
	if (runner->kvm < needs) {
		runner_skip(runner, name, runner_kvm_name(needs));
		return false;
	}
	runner->begin_ms = now_ms();
	return true;
}

bool runner_judge(struct runner *runner, const char *name, bool is_ok, const char *failure)
{
	if (is_ok) {
		printf("ok    %s (%llu ms)\n", name,
		       (unsigned long long)(now_ms() - runner->begin_ms));
		runner->passed++;
	} else {
		printf("FAIL  %s: %s\n", name, failure);
		runner->failed++;
	}
	return is_ok;
}

static void show(const struct squib *squib)
{
	squib_show(squib, "out");
	squib_show(squib, "log");
	squib_show(squib, "host");
}

static bool try(struct squib *squib, const struct runner_test *test)
{
	return squib_init(squib, test->timeout_s) && test->run(squib, test->arg);
}

void runner_run(struct runner *runner, const struct runner_test *test)
{
	static struct squib squib;

	if (!runner_begins(runner, test->name, test->needs)) {
		return;
	}
	bool is_ok = try(&squib, test);

	if (!is_ok && runner->has_second_try) {
		printf("again %s: %s\n", test->name, squib.failure);
		show(&squib);
		squib_destroy(&squib);
		runner->begin_ms = now_ms();
		is_ok = try(&squib, test);
	}
	if (!runner_judge(runner, test->name, is_ok, squib.failure)) {
		show(&squib);
	}
	squib_destroy(&squib);
}

int runner_end(const struct runner *runner)
{
	printf("%u passed, %u failed, %u skipped\n", runner->passed, runner->failed,
	       runner->skipped);
	return runner->failed > 0;
}

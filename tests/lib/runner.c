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
 * that is named here; with "others" in it those alone that do not.
 */
static bool is_for_the_other(const char *name)
{
	static const struct {
		const char *begin;
		bool is_for_x86;
	} homes[] = {
		{"a flood of output arrives whole", false},
		{"a forked child never writes", false},
		{"a machine is forked while its processes are killed", false},
		{"a machine that is forked 1,000 times", true},
		{"balloon: hinting", false},
		{"disks: overlays, what was told", false},
		{"disks: what was told", true},
		{"drives come and go behind hot-plug ports", true},
		{"faults: a TAP", false},
		{"faults: a disk that hangs", true},
		{"faults: a full disk", true},
		{"faults: sinks", false},
		{"input that nobody reads is bounded", true},
		{"metadata: 1 MiB", false},
		{"metadata: curl, wget, Python, AWS's SDKs, version 1", false},
		{"metadata: curl, wget, Python, AWS's SDKs, version 2", true},
		{"metadata: tokens", true},
		{"metadata: version 1", true},
		{"pci: network: a queue pair", true},
		{"network: a queue pair", true},
		{"plug: disks and an interface come and go", true},
		{"plug: disks that hang", false},
		{"plug: the same behind hot-plug ports", false},
	};

	for (size_t i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
		if (strncmp(name, homes[i].begin, strlen(homes[i].begin)) == 0) {
			return homes[i].is_for_x86 != is_x86();
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

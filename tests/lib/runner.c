/* SPDX-License-Identifier: Apache-2.0 */
/* The runner of the programs that test the real binary. */
#include "tests/lib/runner.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

bool runner_init(struct runner *runner, int argc, char **argv, const char *environment)
{
	*runner = (struct runner){.part = argc > 1 ? argv[1] : NULL, .kvm = env_kvm_kind()};
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

bool runner_begins(struct runner *runner, const char *name, enum kvm_kind needs)
{
	if (runner->part != NULL && strstr(name, runner->part) == NULL) {
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

int runner_end(const struct runner *runner)
{
	printf("%u passed, %u failed, %u skipped\n", runner->passed, runner->failed,
	       runner->skipped);
	return runner->failed > 0;
}

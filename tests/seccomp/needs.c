/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that no rule of a policy is redundant: needs POLICY ARCH SAMPLES
 *
 * Theory of operation. SAMPLES are the system calls that the real filters let through while
 * workloads ran (tracer.c). Each filter is compiled once as it is and once without each of its
 * rules, and asked about every sample by an interpreter of BPF: the whole filter must allow all of
 * them, and a filter that lacks a rule must deny one at least.
 */
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "seccomp/compile.h"
#include "seccomp/filter.h"
#include "seccomp/policy.h"
#include "seccomp/bpf.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	POLICY_LEN_MAX = 1 << 20,
};

struct sample {
	unsigned thread; /* in filter_thread_names */
	struct seccomp_data call;
};

struct samples {
	struct sample *list;
	size_t count;
};

static unsigned passed;
static unsigned failed;

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "needs: %s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

static void read_samples(const char *path, uint32_t arch, struct samples *samples)
{
	FILE *file = fopen(path, "re");
	char line[256];
	size_t cap = 0;

	if (file == NULL) {
		die(path, strerror(errno));
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		struct sample sample = {.call.arch = arch};
		__u64 *args = sample.call.args;
		unsigned long long a[6];

		if (sscanf(line, "%u %d %llx %llx %llx %llx %llx %llx", &sample.thread,
			   &sample.call.nr, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5]) != 8 ||
		    sample.thread < 1 || sample.thread > FILTER_THREADS) {
			die(path, line);
		}
		sample.thread--;
		for (int i = 0; i < 6; i++) {
			args[i] = a[i];
		}
		if (samples->count == cap) {
			cap = cap * 2 + 1024;
			samples->list = realloc(samples->list, cap * sizeof(sample));
			if (samples->list == NULL) {
				die(path, "no memory");
			}
		}
		samples->list[samples->count++] = sample;
	}
	fclose(file);
}

/* The first sample of the thread that the filter denies; NULL: none. */
static const struct sample *find_denied(const struct policy_filter *filter, const char *arch,
					unsigned thread, const struct samples *samples)
{
	struct sock_filter *code = NULL;
	struct error err = {0};
	size_t len;

	if (compile_filter(filter, arch, true, &code, &len, &err) < 0) {
		die(filter->thread, err.msg);
	}
	const struct sample *denied = NULL;

	for (size_t i = 0; i < samples->count && denied == NULL; i++) {
		const struct sample *sample = &samples->list[i];
		uint32_t result;

		if (sample->thread != thread) {
			continue;
		}
		if (!bpf_run(code, len / sizeof(*code), &sample->call, &result)) {
			die(filter->thread, "the program is none");
		}
		denied = result != SECCOMP_RET_ALLOW ? sample : NULL;
	}
	free(code);
	return denied;
}

/* A copy of the filter without one rule. */
static struct policy_filter without(const struct policy_filter *filter, size_t index)
{
	struct policy_filter copy = *filter;

	copy.rules = calloc(filter->rule_count, sizeof(*copy.rules));
	if (copy.rules == NULL) {
		die(filter->thread, "no memory");
	}
	memcpy(copy.rules, filter->rules, index * sizeof(*copy.rules));
	memcpy(copy.rules + index, filter->rules + index + 1,
	       (filter->rule_count - index - 1) * sizeof(*copy.rules));
	copy.rule_count--;
	return copy;
}

/* What no workload here can need. */
static bool is_of_elsewhere(const char *thread, const char *arch, const struct policy_rule *rule)
{
	bool is_clone3 = strcmp(rule->syscall, "clone3") == 0 && strcmp(arch, "aarch64") == 0;

	/* A thread that a glibc after Debian 12's makes. */
	return strcmp(thread, "fork") == 0 && is_clone3;
}

static void tell_needless(const char *thread, size_t index, const struct policy_rule *rule)
{
	printf("FAIL  %s, rule %zu: nothing needs %s", thread, index + 1, rule->syscall);
	for (size_t i = 0; i < rule->arg_count; i++) {
		printf(" [%u %#" PRIx64 "]", rule->args[i].index, rule->args[i].value);
	}
	putchar('\n');
	failed++;
}

/* A filter that denies what another one allows: a rule for what that has not is needless. */
static void judge_denials(const struct policy *policy, const struct policy_filter *filter)
{
	const struct policy_filter *vmm = NULL;

	for (size_t i = 0; i < policy->filter_count; i++) {
		if (strcmp(policy->filters[i].thread, filter_thread_names[FILTER_VMM]) == 0) {
			vmm = &policy->filters[i];
		}
	}
	for (size_t i = 0; i < filter->own_count; i++) {
		const struct policy_rule *rule = &filter->rules[i];
		bool is_there = false;

		for (size_t j = 0; vmm != NULL && j < vmm->own_count; j++) {
			const struct policy_rule *other = &vmm->rules[j];

			is_there |= strcmp(other->syscall, rule->syscall) == 0 &&
				    (rule->arg_count == 0 ||
				     (other->arg_count == rule->arg_count &&
				      other->args[0].index == rule->args[0].index &&
				      other->args[0].value == rule->args[0].value));
		}
		if (is_there) {
			passed++;
		} else {
			tell_needless(filter->thread, i, rule);
		}
	}
}

static void judge_filter(const struct policy_filter *filter, const char *arch, unsigned thread,
			 const struct samples *samples)
{
	const struct sample *denied = find_denied(filter, arch, thread, samples);

	if (denied != NULL) {
		printf("FAIL  %s: system call %d is denied\n", filter->thread, denied->call.nr);
		failed++;
	}
	/* Those of other filters, which it includes, are needed there. */
	for (size_t i = 0; i < filter->own_count; i++) {
		struct policy_filter less = without(filter, i);

		if (find_denied(&less, arch, thread, samples) != NULL) {
			passed++;
		} else if (!is_of_elsewhere(filter->thread, arch, &filter->rules[i])) {
			tell_needless(filter->thread, i, &filter->rules[i]);
		}
		free(less.rules);
	}
}

int main(int argc, char **argv)
{
	struct samples samples = {0};
	struct policy policy = {0};
	AUTO_FREE char *text = NULL;
	struct error err = {0};
	size_t len;

	if (argc != 4) {
		die("usage", "needs POLICY ARCH SAMPLES");
	}
	if (read_file(argv[1], "The policy", POLICY_LEN_MAX, &text, &len, &err) < 0 ||
	    policy_parse(text, len, &policy, &err) < 0) {
		die(argv[1], err.msg);
	}
	read_samples(argv[3], seccomp_arch_resolve_name(argv[2]), &samples);
	for (unsigned i = 0; i < policy.filter_count; i++) {
		for (unsigned thread = 0; thread < FILTER_THREADS; thread++) {
			if (strcmp(policy.filters[i].thread, filter_thread_names[thread]) != 0) {
				continue;
			}
			if (policy.filters[i].default_action.kind == POLICY_ALLOW) {
				judge_denials(&policy, &policy.filters[i]);
			} else {
				judge_filter(&policy.filters[i], argv[2], thread, &samples);
			}
		}
	}
	printf("%zu different calls\n%u passed, %u failed, 0 skipped\n", samples.count, passed,
	       failed);
	free(samples.list);
	policy_free(&policy);
	return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

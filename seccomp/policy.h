/* SPDX-License-Identifier: Apache-2.0 */
/* A seccomp policy as people write it: JSON in Firecracker's grammar, read into rules. */
#ifndef SECCOMP_POLICY_H
#define SECCOMP_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	POLICY_ARGS_MAX = 6, /* conditions of one rule; a system call has as many arguments */
	POLICY_NAME_LEN = 32,
};

enum policy_op {
	POLICY_EQ,
	POLICY_NE,
	POLICY_LT,
	POLICY_LE,
	POLICY_GT,
	POLICY_GE,
	POLICY_MASKED_EQ,
};

struct policy_arg {
	unsigned index; /* of the argument, 0 to 5 */
	bool is_dword;	/* only the low 32 bits count */
	enum policy_op op;
	uint64_t mask; /* POLICY_MASKED_EQ */
	uint64_t value;
};

/* A system call, under conditions that must all hold. Several rules for one are alternatives. */
struct policy_rule {
	char syscall[POLICY_NAME_LEN];
	size_t arg_count;
	struct policy_arg args[POLICY_ARGS_MAX];
};

enum policy_action_kind {
	POLICY_ALLOW,
	POLICY_KILL_THREAD,
	POLICY_KILL_PROCESS,
	POLICY_LOG,
	POLICY_TRAP,
	POLICY_ERRNO,
	POLICY_TRACE,
};

struct policy_action {
	enum policy_action_kind kind;
	uint16_t value; /* POLICY_ERRNO, POLICY_TRACE */
};

/* One thread's filter: what happens to calls that a rule matches, and to all others. */
struct policy_filter {
	char thread[POLICY_NAME_LEN];
	struct policy_action default_action;
	struct policy_action filter_action;
	struct policy_rule *rules; /* its own, then those of the filters that it includes */
	size_t rule_count;
	size_t own_count;
};

struct policy {
	struct policy_filter *filters;
	size_t filter_count;
};

/*
 * Reads the `len` bytes of JSON at `text`. The sentence of a failure names filter, rule and field.
 * After a failure too, policy_free is to be called. Pure but for the heap.
 */
MUST_CHECK int policy_parse(const char *text, size_t len, struct policy *policy, struct error *err);
void policy_free(struct policy *policy); /* a zeroed one is fine */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Hands a policy's rules to libseccomp and takes its BPF program. */
#include "seccomp/compile.h"

#include <errno.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	/*
	 * Rules that are a row of comparisons, the first of which is found first: KVM_RUN on a
	 * vCPU's thread. More are a binary tree, since the kernel tries each call when the filter
	 * is installed.
	 */
	ROW_MAX = 64,
	BINARY_TREE = 2, /* of SCMP_FLTATR_CTL_OPTIMIZE [seccomp_attr_set(3)] */
};

static uint32_t action_code(const struct policy_action *action)
{
	switch (action->kind) {
	case POLICY_ALLOW:
		return SCMP_ACT_ALLOW;
	case POLICY_KILL_THREAD:
		return SCMP_ACT_KILL_THREAD;
	case POLICY_KILL_PROCESS:
		return SCMP_ACT_KILL_PROCESS;
	case POLICY_LOG:
		return SCMP_ACT_LOG;
	case POLICY_TRAP:
		return SCMP_ACT_TRAP;
	case POLICY_ERRNO:
		return SCMP_ACT_ERRNO(action->value);
	case POLICY_TRACE:
		return SCMP_ACT_TRACE(action->value);
	}
	return SCMP_ACT_KILL_PROCESS;
}

/*
 * A 32-bit comparison ignores the upper half of the register, which the caller may set to anything.
 */
static struct scmp_arg_cmp comparison(const struct policy_arg *arg)
{
	static const enum scmp_compare ops[] = {
		[POLICY_EQ] = SCMP_CMP_EQ,
		[POLICY_NE] = SCMP_CMP_NE,
		[POLICY_LT] = SCMP_CMP_LT,
		[POLICY_LE] = SCMP_CMP_LE,
		[POLICY_GT] = SCMP_CMP_GT,
		[POLICY_GE] = SCMP_CMP_GE,
		[POLICY_MASKED_EQ] = SCMP_CMP_MASKED_EQ,
	};

	if (arg->op == POLICY_MASKED_EQ) {
		return SCMP_CMP64(arg->index, SCMP_CMP_MASKED_EQ, arg->mask,
				  arg->value & arg->mask);
	}
	if (arg->is_dword && arg->op == POLICY_EQ) {
		return SCMP_CMP64(arg->index, SCMP_CMP_MASKED_EQ, UINT32_MAX, arg->value);
	}
	return SCMP_CMP64(arg->index, ops[arg->op], arg->value);
}

/* What the rules of one filter are added to. */
struct target {
	scmp_filter_ctx context;
	uint32_t arch;
	bool has_args;
};

static int add_rule(const struct target *target, const struct policy_filter *filter, size_t index,
		    struct error *err)
{
	const struct policy_rule *rule = &filter->rules[index];
	struct scmp_arg_cmp args[POLICY_ARGS_MAX];
	size_t count = target->has_args ? rule->arg_count : 0;
	int number = seccomp_syscall_resolve_name(rule->syscall);

	/* libseccomp would pass over a call that only other architectures have. */
	if (seccomp_syscall_resolve_name_arch(target->arch, rule->syscall) < 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "filter `%s`, rule %zu: this architecture has no system call `%s`",
				 filter->thread, index + 1, rule->syscall);
	}
	for (size_t i = 0; i < count; i++) {
		args[i] = comparison(&rule->args[i]);
	}
	int result = seccomp_rule_add_array(target->context, action_code(&filter->filter_action),
					    number, (unsigned)count, args);

	/* The same rule may come twice: so it is when conditions are dropped. */
	if (result < 0 && result != -EEXIST) {
		errno = -result;
		return error_sys(err, "filter `%s`, rule %zu: libseccomp refuses it",
				 filter->thread, index + 1);
	}
	size_t before = filter->rule_count - index;

	seccomp_syscall_priority(target->context, number,
				 before < UINT8_MAX ? (uint8_t)before : UINT8_MAX);
	return 0;
}

/* libseccomp 2.5 writes programs to descriptors only. */
static int export(scmp_filter_ctx context, struct sock_filter **program, size_t *len,
		  struct error *err)
{
	AUTO_FD fd = memfd_create("bpf", MFD_CLOEXEC);

	if (fd < 0) {
		return error_sys(err, "Cannot create a file for a BPF program");
	}
	int result = seccomp_export_bpf(context, fd);

	if (result < 0) {
		errno = -result;
		return error_sys(err, "Cannot compile to BPF");
	}
	*len = (size_t)lseek(fd, 0, SEEK_END);
	*program = malloc(*len);
	if (*program == NULL || pread_full(fd, *program, *len, 0, err) < 0) {
		free(*program);
		*program = NULL;
		return err->kind != ERR_NONE ? -1 : error_sys(err, "Cannot hold a BPF program");
	}
	return 0;
}

static int add_rules(scmp_filter_ctx context, const struct policy_filter *filter, const char *arch,
		     bool has_args, struct error *err)
{
	uint32_t token = seccomp_arch_resolve_name(arch);
	struct target target = {.context = context, .arch = token, .has_args = has_args};

	if (token == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "`%s` is no architecture that libseccomp knows", arch);
	}
	/* Calls by other ABIs of the same machine, such as x32, kill the process. */
	if ((token != seccomp_arch_native() &&
	     (seccomp_arch_add(context, token) < 0 ||
	      seccomp_arch_remove(context, SCMP_ARCH_NATIVE) < 0)) ||
	    seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) < 0) {
		return error_set(err, ERR_NOT_SUPPORTED, "libseccomp can't compile for %s", arch);
	}
	for (size_t i = 0; i < filter->rule_count; i++) {
		if (add_rule(&target, filter, i, err) < 0) {
			return -1;
		}
	}
	return 0;
}

int compile_filter(const struct policy_filter *filter, const char *arch, bool has_args,
		   struct sock_filter **program, size_t *len, struct error *err)
{
	scmp_filter_ctx context = seccomp_init(action_code(&filter->default_action));
	int result = -1;

	if (context == NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "filter `%s`: libseccomp does not take its default action",
				 filter->thread);
	}
	if (filter->rule_count > ROW_MAX &&
	    seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, BINARY_TREE) < 0) {
		error_set(err, ERR_NOT_SUPPORTED, "libseccomp makes no binary tree of calls");
	} else if (add_rules(context, filter, arch, has_args, err) == 0) {
		result = export(context, program, len, err);
	}
	seccomp_release(context);
	return result;
}

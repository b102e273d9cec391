/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of seccomp/compile.c: what its programs say, by an interpreter in place of the kernel. */
#include <criterion/criterion.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "seccomp/compile.h"
#include "seccomp/bpf.h"
#include "vmm/base/bytes.h"

static const struct {
	const char *name;
	uint32_t audit;
} archs[] = {{"x86_64", AUDIT_ARCH_X86_64}, {"aarch64", AUDIT_ARCH_AARCH64}};

static struct policy_filter filter_of(struct policy_rule *rules, size_t count)
{
	return (struct policy_filter){
		.thread = "vmm",
		.default_action = {POLICY_TRAP, 0},
		.filter_action = {POLICY_ALLOW, 0},
		.rules = rules,
		.rule_count = count,
	};
}

struct program {
	struct sock_filter *code;
	size_t len;
	unsigned arch; /* in archs */
};

static void compile(const struct policy_filter *filter, unsigned arch, bool has_args,
		    struct program *program)
{
	struct error err = {0};

	program->arch = arch;
	cr_assert(compile_filter(filter, archs[arch].name, has_args, &program->code, &program->len,
				 &err) == 0,
		  "%s", err.msg);
	cr_assert(program->len % sizeof(*program->code) == 0 && program->len > 0);
}

/* What the program says to a call whose argument `index` is `value`. */
static uint32_t ask(const struct program *program, const char *syscall, unsigned index,
		    uint64_t value)
{
	struct seccomp_data call = {
		.nr = seccomp_syscall_resolve_name_arch(
			seccomp_arch_resolve_name(archs[program->arch].name), syscall),
		.arch = archs[program->arch].audit,
	};
	uint32_t result = 0;

	call.args[index] = value;
	cr_assert(bpf_run(program->code, program->len / sizeof(*program->code), &call, &result));
	return result;
}

Test(compile, calls_are_told_apart_and_other_abis_die)
{
	struct policy_rule rules[] = {{.syscall = "read"}, {.syscall = "openat"}};
	struct policy_filter filter = filter_of(rules, ARRAY_COUNT(rules));

	for (unsigned arch = 0; arch < ARRAY_COUNT(archs); arch++) {
		struct program program;

		compile(&filter, arch, true, &program);
		cr_expect_eq(ask(&program, "read", 0, 0), SECCOMP_RET_ALLOW);
		cr_expect_eq(ask(&program, "openat", 0, 0), SECCOMP_RET_ALLOW);
		cr_expect_eq(ask(&program, "write", 0, 0), SECCOMP_RET_TRAP);
		cr_expect_eq(ask(&program, "execve", 0, 0), SECCOMP_RET_TRAP);

		struct seccomp_data call = {.nr = 0, .arch = AUDIT_ARCH_I386};
		uint32_t result;

		cr_expect(bpf_run(program.code, program.len / sizeof(*program.code), &call,
				  &result) &&
			  result == SECCOMP_RET_KILL_PROCESS);
		call = (struct seccomp_data){.nr = 0x40000000, .arch = AUDIT_ARCH_X86_64};
		cr_expect(bpf_run(program.code, program.len / sizeof(*program.code), &call,
				  &result) &&
				  result == SECCOMP_RET_KILL_PROCESS,
			  "x32 gets %#x", result);
		free(program.code);
	}
}

#define HIGH (UINT64_C(1) << 32)

/* [compat] Only equality is of 32 bits where it says so: the others see the whole register. */
Test(compile, conditions_hold_where_they_should)
{
	static const struct {
		struct policy_arg arg;
		uint64_t allowed[4];
		uint64_t denied[4];
	} cases[] = {
		{{1, true, POLICY_EQ, 0, 5}, {5, HIGH | 5, ~HIGH << 32 | 5, 5}, {4, 6, HIGH, 0}},
		{{1, false, POLICY_EQ, 0, 5}, {5, 5, 5, 5}, {4, 6, HIGH | 5, 0}},
		{{1, false, POLICY_EQ, 0, HIGH | 5},
		 {HIGH | 5, HIGH | 5, HIGH | 5, HIGH | 5},
		 {5, HIGH, HIGH | 4, 2 * HIGH | 5}},
		{{1, true, POLICY_NE, 0, 5}, {4, 6, 0, UINT32_MAX}, {5, 5, 5, 5}},
		{{1, false, POLICY_NE, 0, 5}, {4, 6, HIGH | 5, UINT64_MAX}, {5, 5, 5, 5}},
		{{1, true, POLICY_LT, 0, 5}, {0, 4, 3, 1}, {5, 6, UINT32_MAX, HIGH}},
		{{1, false, POLICY_LT, 0, HIGH | 5},
		 {0, HIGH | 4, UINT32_MAX, HIGH},
		 {HIGH | 5, HIGH | 6, 2 * HIGH, UINT64_MAX}},
		{{1, true, POLICY_LE, 0, 5}, {0, 4, 5, 1}, {6, 7, UINT32_MAX, HIGH}},
		{{1, false, POLICY_LE, 0, HIGH | 5},
		 {0, HIGH | 5, UINT32_MAX, HIGH},
		 {HIGH | 6, HIGH | 7, 2 * HIGH, UINT64_MAX}},
		{{1, true, POLICY_GT, 0, 5}, {6, 7, UINT32_MAX, HIGH}, {0, 4, 5, 1}},
		{{1, false, POLICY_GT, 0, HIGH | 5},
		 {HIGH | 6, 2 * HIGH, UINT64_MAX, HIGH | 7},
		 {0, HIGH | 5, UINT32_MAX, HIGH}},
		{{1, true, POLICY_GE, 0, 5}, {5, 6, UINT32_MAX, HIGH}, {0, 4, 3, 1}},
		{{1, false, POLICY_GE, 0, HIGH | 5},
		 {HIGH | 5, 2 * HIGH, UINT64_MAX, HIGH | 6},
		 {0, HIGH | 4, UINT32_MAX, HIGH}},
		{{1, true, POLICY_MASKED_EQ, 0x22, 0x22},
		 {0x22, 0x23, 0x122, HIGH | 0x22},
		 {0x02, 0x20, 0, 0xdd}},
		{{1, true, POLICY_MASKED_EQ, 4, 0}, {0, 3, 0xfb, 8}, {4, 5, 7, HIGH | 4}},
		/* Bits of the value outside of the mask do not count. */
		{{1, true, POLICY_MASKED_EQ, 0x0f, 0x35},
		 {5, 0x35, 0xf5, HIGH | 5},
		 {4, 0, 0x30, 7}},
		{{1, false, POLICY_MASKED_EQ, HIGH | 1, HIGH | 1},
		 {HIGH | 1, HIGH | 3, 3 * HIGH | 1, UINT64_MAX},
		 {1, HIGH, 2 * HIGH | 1, 0}},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases) * ARRAY_COUNT(archs); i++) {
		unsigned arch = (unsigned)(i % ARRAY_COUNT(archs));
		struct policy_rule rule = {.syscall = "ioctl", .arg_count = 1};
		size_t number = i / ARRAY_COUNT(archs);
		struct policy_filter filter = filter_of(&rule, 1);
		struct program program;

		rule.args[0] = cases[number].arg;
		compile(&filter, arch, true, &program);
		for (size_t j = 0; j < 4; j++) {
			cr_expect_eq(ask(&program, "ioctl", 1, cases[number].allowed[j]),
				     SECCOMP_RET_ALLOW, "case %zu: %#llx is denied", number,
				     (unsigned long long)cases[number].allowed[j]);
			cr_expect_eq(ask(&program, "ioctl", 1, cases[number].denied[j]),
				     SECCOMP_RET_TRAP, "case %zu: %#llx is allowed", number,
				     (unsigned long long)cases[number].denied[j]);
		}
		/* It is that argument and no other. */
		cr_expect_eq(ask(&program, "ioctl", 0, cases[number].allowed[0]),
			     ask(&program, "ioctl", 1, 0));
		free(program.code);
		compile(&filter, arch, false, &program);
		cr_expect_eq(ask(&program, "ioctl", 1, cases[number].denied[0]), SECCOMP_RET_ALLOW,
			     "case %zu without conditions", number);
		free(program.code);
	}
}

Test(compile, conditions_of_a_rule_are_and_rules_of_a_call_are_or)
{
	struct policy_rule rules[] = {
		{"fcntl", 2, {{0, true, POLICY_EQ, 0, 1}, {1, true, POLICY_EQ, 0, 2}}},
		{"fcntl", 1, {{1, true, POLICY_EQ, 0, 9}}},
	};
	struct policy_filter filter = filter_of(rules, ARRAY_COUNT(rules));
	struct program program;

	compile(&filter, 0, true, &program);
	cr_expect_eq(ask(&program, "fcntl", 0, 1), SECCOMP_RET_TRAP);
	cr_expect_eq(ask(&program, "fcntl", 1, 2), SECCOMP_RET_TRAP);
	cr_expect_eq(ask(&program, "fcntl", 1, 9), SECCOMP_RET_ALLOW);
	struct seccomp_data call = {.nr = 72, .arch = AUDIT_ARCH_X86_64, .args = {1, 2}};
	uint32_t result;

	cr_expect(bpf_run(program.code, program.len / sizeof(*program.code), &call, &result) &&
		  result == SECCOMP_RET_ALLOW);
	free(program.code);
}

Test(compile, every_action_has_its_code)
{
	static const struct {
		struct policy_action action;
		uint32_t code;
	} cases[] = {
		{{POLICY_KILL_THREAD, 0}, SECCOMP_RET_KILL_THREAD},
		{{POLICY_KILL_PROCESS, 0}, SECCOMP_RET_KILL_PROCESS},
		{{POLICY_LOG, 0}, SECCOMP_RET_LOG},
		{{POLICY_TRAP, 0}, SECCOMP_RET_TRAP},
		{{POLICY_ERRNO, 13}, SECCOMP_RET_ERRNO | 13},
		{{POLICY_TRACE, 3}, SECCOMP_RET_TRACE | 3},
		{{POLICY_ALLOW, 0}, SECCOMP_RET_ALLOW},
	};
	struct policy_rule rule = {.syscall = "read"};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		size_t other = (i + 1) % ARRAY_COUNT(cases);
		struct policy_filter filter = filter_of(&rule, 1);
		struct program program;

		filter.filter_action = cases[i].action;
		filter.default_action = cases[other].action;
		compile(&filter, 0, true, &program);
		cr_expect_eq(ask(&program, "read", 0, 0), cases[i].code, "case %zu", i);
		cr_expect_eq(ask(&program, "write", 0, 0), cases[other].code, "case %zu", i);
		free(program.code);
	}
}

Test(compile, what_cannot_be_is_told)
{
	static const struct {
		struct policy_rule rule;
		struct policy_action action;
		const char *arch;
		const char *msg;
	} cases[] = {
		{{.syscall = "reed"},
		 {POLICY_ALLOW, 0},
		 "x86_64",
		 "filter `vmm`, rule 1: this architecture has no system call `reed`"},
		{{.syscall = "open"},
		 {POLICY_ALLOW, 0},
		 "aarch64",
		 "filter `vmm`, rule 1: this architecture has no system call `open`"},
		{{.syscall = "read"},
		 {POLICY_ALLOW, 0},
		 "vax",
		 "`vax` is no architecture that libseccomp knows"},
		/* The same as without the rule: a mistake. */
		{{.syscall = "read"},
		 {POLICY_TRAP, 0},
		 "x86_64",
		 "filter `vmm`, rule 1: libseccomp refuses it: Permission denied (os error 13)"},
		{{"read", 2, {{0, true, POLICY_EQ, 0, 1}, {0, true, POLICY_EQ, 0, 2}}},
		 {POLICY_ALLOW, 0},
		 "x86_64",
		 "filter `vmm`, rule 1: libseccomp refuses it: Invalid argument (os error 22)"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct policy_rule rule = cases[i].rule;
		struct policy_filter filter = filter_of(&rule, 1);
		struct sock_filter *code = NULL;
		struct error err = {0};
		size_t len;

		filter.filter_action = cases[i].action;
		cr_expect(compile_filter(&filter, cases[i].arch, true, &code, &len, &err) < 0,
			  "case %zu", i);
		cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
		cr_expect_null(code);
	}
}

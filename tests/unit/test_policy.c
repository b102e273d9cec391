/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of seccomp/policy.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "seccomp/policy.h"
#include "vmm/base/bytes.h"

/* A policy of one filter with one rule with one condition, parts of which a case replaces. */
#define FILTER(defaults, filters, rules)                                                           \
	"{\"vmm\": {\"default_action\": " defaults ", \"filter_action\": " filters                 \
	", \"filter\": [" rules "]}}"
#define RULES(rules) FILTER("\"trap\"", "\"allow\"", rules)
#define ARGS(args) RULES("{\"syscall\": \"read\", \"args\": [" args "]}")
#define ARG(index, type, op, val)                                                                  \
	"{\"index\": " index ", \"type\": " type ", \"op\": " op ", \"val\": " val "}"

#define ACTIONS                                                                                    \
	" must be \"allow\", \"kill_thread\", \"kill_process\", \"log\", \"trap\", {\"errno\": "   \
	"N} "                                                                                      \
	"or {\"trace\": N}"
#define OPS "`op` must be \"eq\", \"ne\", \"lt\", \"le\", \"gt\", \"ge\" or {\"masked_eq\": MASK}"
#define IN "filter `vmm`"
#define IN_RULE "filter `vmm`, rule 1: "

static int parse(const char *text, struct policy *policy, struct error *err)
{
	*err = (struct error){0};
	return policy_parse(text, strlen(text), policy, err);
}

Test(policy, a_fault_is_one_sentence_with_its_place)
{
	static const struct {
		const char *text;
		const char *msg;
	} cases[] = {
		{"", "Invalid JSON: EOF while parsing a value at line 1 column 0"},
		{"{\"vmm\": {}, \"vmm\": {}}",
		 "Invalid JSON: duplicate field `vmm` at line 1 column 17"},
		{"[]", "A policy must be an object of filters"},
		{"1", "A policy must be an object of filters"},
		{"{\"vmm\": 1}", IN ": it must be an object with a list `filter`"},
		{"{\"vmm\": {}}", IN ": it must be an object with a list `filter`"},
		{"{\"vmm\": {\"filter\": {}}}", IN ": it must be an object with a list `filter`"},
		{"{\"vmm\": {\"filter\": [], \"x\": 1}}", IN ": unknown field `x`"},
		{"{\"vmm\": {\"filter\": []}}", IN ": `default_action`" ACTIONS},
		{"{\"vmm\": {\"filter\": [], \"default_action\": \"log\"}}",
		 IN ": `filter_action`" ACTIONS},
		{FILTER("\"Allow\"", "\"allow\"", ""), IN ": `default_action`" ACTIONS},
		{FILTER("1", "\"allow\"", ""), IN ": `default_action`" ACTIONS},
		{FILTER("\"trap\"", "{\"errno\": 1, \"trace\": 1}", ""),
		 IN ": `filter_action`" ACTIONS},
		{FILTER("\"trap\"", "{\"x\": 1}", ""), IN ": `filter_action`" ACTIONS},
		{FILTER("\"trap\"", "{\"errno\": 65536}", ""),
		 IN ": `errno` must be a number from 0 to 65535"},
		{FILTER("\"trap\"", "{\"trace\": -1}", ""),
		 IN ": `trace` must be a number from 0 to 65535"},
		{FILTER("\"trap\"", "{\"trace\": \"1\"}", ""),
		 IN ": `trace` must be a number from 0 to 65535"},
		{"{\"a_thread_with_a_name_that_is_long\": {\"default_action\": \"trap\", "
		 "\"filter_action\": \"log\", \"filter\": []}}",
		 "filter `a_thread_with_a_name_that_is_long`: its name is too long"},

		{RULES("1"), IN_RULE "a rule must be an object"},
		{RULES("{\"syscall\": \"read\"}, []"), IN ", rule 2: a rule must be an object"},
		{RULES("{}"), IN_RULE "`syscall` must be the name of a system call"},
		{RULES("{\"syscall\": 1}"), IN_RULE "`syscall` must be the name of a system call"},
		{RULES("{\"syscall\": \"a_system_call_with_a_name_so_long\"}"),
		 IN_RULE "`syscall` must be the name of a system call"},
		{RULES("{\"syscall\": \"read\", \"arg\": []}"), IN_RULE "unknown field `arg`"},
		{RULES("{\"syscall\": \"read\", \"args\": {}}"),
		 IN_RULE "`args` must be a list of at most 6 conditions"},
		{ARGS("1, 1, 1, 1, 1, 1, 1"),
		 IN_RULE "`args` must be a list of at most 6 conditions"},

		{ARGS("1"), IN_RULE "each of `args` must be an object"},
		{ARGS("{\"idx\": 1}"), IN_RULE "unknown field `idx`"},
		{ARGS("{}"), IN_RULE "`index` must be a number from 0 to 5"},
		{ARGS(ARG("6", "\"dword\"", "\"eq\"", "0")),
		 IN_RULE "`index` must be a number from 0 to 5"},
		{ARGS(ARG("-1", "\"dword\"", "\"eq\"", "0")),
		 IN_RULE "`index` must be a number from 0 to 5"},
		{ARGS(ARG("0.0", "\"dword\"", "\"eq\"", "0")),
		 IN_RULE "`index` must be a number from 0 to 5"},
		{ARGS(ARG("0", "\"dword\"", "\"eq\"", "\"0\"")),
		 IN_RULE "`val` must be a number from 0 to 9223372036854775807"},
		{ARGS(ARG("0", "\"dword\"", "\"ne\"", "\"self\"")),
		 IN_RULE "\"self\" goes with \"dword\" and \"eq\" alone"},
		{ARGS(ARG("0", "\"qword\"", "\"eq\"", "\"self\"")),
		 IN_RULE "\"self\" goes with \"dword\" and \"eq\" alone"},
		{ARGS(ARG("0", "\"dword\"", "\"eq\"", "-1")),
		 IN_RULE "`val` must be a number from 0 to 9223372036854775807"},
		{ARGS(ARG("0", "\"dword\"", "\"==\"", "0")), IN_RULE OPS},
		{ARGS(ARG("0", "\"dword\"", "{\"eq\": 1}", "0")), IN_RULE OPS},
		{ARGS(ARG("0", "\"dword\"", "{\"masked_eq\": -1}", "0")),
		 IN_RULE "`masked_eq` must be a number from 0 to 9223372036854775807"},
		{ARGS(ARG("0", "\"word\"", "\"eq\"", "0")),
		 IN_RULE "`type` must be \"dword\" or \"qword\""},
		{ARGS(ARG("0", "4", "\"eq\"", "0")),
		 IN_RULE "`type` must be \"dword\" or \"qword\""},
		{ARGS(ARG("0", "\"dword\"", "\"eq\"", "4294967296")),
		 IN_RULE "a \"dword\" is compared with 32 bits at most"},
		{ARGS(ARG("0", "\"dword\"", "{\"masked_eq\": 4294967296}", "0")),
		 IN_RULE "a \"dword\" is compared with 32 bits at most"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct policy policy;
		struct error err;

		cr_expect(parse(cases[i].text, &policy, &err) < 0, "case %zu is taken", i);
		cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
		policy_free(&policy);
	}
}

Test(policy, every_action_is_read)
{
	static const struct {
		const char *text;
		struct policy_action action;
	} cases[] = {
		{"\"allow\"", {POLICY_ALLOW, 0}},
		{"\"kill_thread\"", {POLICY_KILL_THREAD, 0}},
		{"\"kill_process\"", {POLICY_KILL_PROCESS, 0}},
		{"\"log\"", {POLICY_LOG, 0}},
		{"\"trap\"", {POLICY_TRAP, 0}},
		{"{\"errno\": 0}", {POLICY_ERRNO, 0}},
		{"{\"errno\": 65535}", {POLICY_ERRNO, 65535}},
		{"{\"trace\": 7}", {POLICY_TRACE, 7}},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char text[256];
		struct policy policy;
		struct error err;

		snprintf(text, sizeof(text),
			 "{\"api\": {\"filter_action\": %s, \"default_action\": %s, "
			 "\"filter\": []}}",
			 cases[i].text, cases[(i + 1) % ARRAY_COUNT(cases)].text);
		cr_assert(parse(text, &policy, &err) == 0, "case %zu: %s", i, err.msg);
		const struct policy_filter *filter = &policy.filters[0];

		cr_expect(policy.filter_count == 1 && strcmp(filter->thread, "api") == 0 &&
			  filter->rule_count == 0);
		cr_expect(filter->filter_action.kind == cases[i].action.kind &&
				  filter->filter_action.value == cases[i].action.value,
			  "case %zu", i);
		cr_expect(filter->default_action.kind ==
				  cases[(i + 1) % ARRAY_COUNT(cases)].action.kind,
			  "case %zu", i);
		policy_free(&policy);
	}
}

Test(policy, every_condition_is_read)
{
	static const struct {
		const char *text;
		struct policy_arg arg;
	} cases[] = {
		{ARG("0", "\"dword\"", "\"eq\"", "0"), {0, true, POLICY_EQ, 0, 0}},
		{ARG("1", "\"qword\"", "\"ne\"", "1"), {1, false, POLICY_NE, 0, 1}},
		{ARG("2", "\"dword\"", "\"lt\"", "4294967295"),
		 {2, true, POLICY_LT, 0, UINT32_MAX}},
		{ARG("3", "\"qword\"", "\"le\"", "9223372036854775807"),
		 {3, false, POLICY_LE, 0, INT64_MAX}},
		{ARG("4", "\"dword\"", "\"gt\"", "5"), {4, true, POLICY_GT, 0, 5}},
		{ARG("5", "\"dword\"", "\"ge\"", "6"), {5, true, POLICY_GE, 0, 6}},
		{ARG("0", "\"dword\"", "{\"masked_eq\": 4294967295}", "3"),
		 {0, true, POLICY_MASKED_EQ, UINT32_MAX, 3}},
		{ARG("0", "\"qword\"", "{\"masked_eq\": 4294967296}", "3"),
		 {0, false, POLICY_MASKED_EQ, UINT64_C(1) << 32, 3}},
		{"{\"comment\": \"why\", \"val\": 9, \"op\": \"eq\", \"type\": \"qword\", "
		 "\"index\": 1}",
		 {1, false, POLICY_EQ, 0, 9}},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char text[512];
		struct policy policy;
		struct error err;

		snprintf(text, sizeof(text),
			 RULES("{\"syscall\": \"read\"}, {\"comment\": \"x\", \"args\": [%s], "
			       "\"syscall\": \"close\"}"),
			 cases[i].text);
		cr_assert(parse(text, &policy, &err) == 0, "case %zu: %s", i, err.msg);
		const struct policy_rule *rule = &policy.filters[0].rules[1];
		const struct policy_arg *want = &cases[i].arg;

		cr_expect(policy.filters[0].rule_count == 2 && rule->arg_count == 1 &&
			  strcmp(rule->syscall, "close") == 0 &&
			  policy.filters[0].rules[0].arg_count == 0);
		cr_expect(rule->args[0].index == want->index &&
				  rule->args[0].is_dword == want->is_dword &&
				  rule->args[0].op == want->op &&
				  rule->args[0].mask == want->mask &&
				  rule->args[0].value == want->value,
			  "case %zu", i);
		policy_free(&policy);
	}
}

#define ZERO(index) ARG(index, "\"dword\"", "\"eq\"", "0")

Test(policy, a_rule_has_up_to_6_conditions_and_a_policy_any_filters)
{
	static const char text[] =
		"{\"a\": {\"default_action\": \"log\", \"filter_action\": \"log\", \"filter\": "
		"[{\"syscall\": \"x\", \"args\": [" ZERO("0") "," ZERO("1") "," ZERO("2") "," ZERO(
			"3") "," ZERO("4") "," ZERO("5") "]}]}, \"b\": {\"default_action\": "
							 "\"log\", \"filter_action\": \"log\", "
							 "\"filter\": []}}";
	struct policy policy;
	struct error err;

	cr_assert(parse(text, &policy, &err) == 0, "%s", err.msg);
	cr_expect(policy.filter_count == 2 && policy.filters[0].rules[0].arg_count == 6);
	policy_free(&policy);
	policy_free(&policy);
}

/* Filters `a` and `b` of a rule each, and a third one that includes `includes`. */
#define INCLUDING(includes)                                                                        \
	"{\"c\": {\"default_action\": \"trap\", \"filter_action\": \"allow\", "                    \
	"\"includes\": " includes                                                                  \
	", \"filter\": [{\"syscall\": \"write\"}]}, \"a\": {\"default_action\": \"trap\", "        \
	"\"filter_action\": \"allow\", \"filter\": [{\"syscall\": \"read\"}]}, \"b\": "            \
	"{\"default_action\": \"trap\", \"filter_action\": \"allow\", \"filter\": [{\"syscall\": " \
	"\"close\"}], \"includes\": [\"a\"]}}"

Test(policy, a_filter_includes_the_rules_that_others_have_themselves)
{
	struct policy policy;
	struct error err;

	cr_assert(parse(INCLUDING("[\"a\", \"b\"]"), &policy, &err) == 0, "%s", err.msg);
	const struct policy_filter *filter = &policy.filters[0];

	cr_assert_eq(filter->rule_count, 3);
	cr_expect_eq(filter->own_count, 1);
	cr_expect_str_eq(filter->rules[0].syscall, "write");
	cr_expect_str_eq(filter->rules[1].syscall, "read");
	cr_expect_str_eq(filter->rules[2].syscall, "close");
	policy_free(&policy);
}

Test(policy, only_other_filters_are_included)
{
	static const char *const wrong[] = {"1", "\"a\"", "[1]", "[\"c\"]", "[\"d\"]", "{}"};

	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		char text[1024];
		struct policy policy;
		struct error err;

		snprintf(text, sizeof(text), INCLUDING("%s"), wrong[i]);
		cr_expect(parse(text, &policy, &err) < 0, "%s", wrong[i]);
		cr_expect_str_eq(err.msg,
				 "filter `c`: `includes` must be a list of names of other filters");
		policy_free(&policy);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes seccomp policies: JSON, the grammar of filters, rules and conditions. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "seccomp/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What the compiler relies on. */
static void check_filter(const struct policy_filter *filter)
{
	if (memchr(filter->thread, '\0', sizeof(filter->thread)) == NULL) {
		abort();
	}
	for (size_t i = 0; i < filter->rule_count; i++) {
		const struct policy_rule *rule = &filter->rules[i];

		if (memchr(rule->syscall, '\0', sizeof(rule->syscall)) == NULL ||
		    rule->arg_count > POLICY_ARGS_MAX) {
			abort();
		}
		for (size_t j = 0; j < rule->arg_count; j++) {
			const struct policy_arg *arg = &rule->args[j];

			if (arg->index >= POLICY_ARGS_MAX || arg->op > POLICY_MASKED_EQ ||
			    (arg->is_dword && (arg->value | arg->mask) > UINT32_MAX)) {
				abort();
			}
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct policy policy;
	struct error err = {0};

	if (policy_parse((const char *)data, len, &policy, &err) == 0) {
		for (size_t i = 0; i < policy.filter_count; i++) {
			check_filter(&policy.filters[i]);
		}
	} else if (err.kind == ERR_NONE || err.msg[0] == '\0') {
		abort();
	}
	policy_free(&policy);
	return 0;
}

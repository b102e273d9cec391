/* SPDX-License-Identifier: Apache-2.0 */
/* Reads policies: an object of filters by thread, each with two actions and a list of rules. */
#include "seccomp/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seccomp/filter.h"
#include "vmm/base/bytes.h"
#include "vmm/base/json.h"

/* What a message calls the place it is about, e.g. "filter `vmm`, rule 3". */
struct place {
	const char *filter;
	size_t rule; /* from 1; 0: the filter itself */
};

COLD PRINTF(3, 4) static int fault(struct error *err, const struct place *place, const char *fmt,
				   ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (place->rule == 0) {
		return error_set(err, ERR_BAD_REQUEST, "filter `%s`: %s", place->filter, text);
	}
	return error_set(err, ERR_BAD_REQUEST, "filter `%s`, rule %zu: %s", place->filter,
			 place->rule, text);
}

/* Every key of `object` is one of `names`, which NULL ends. */
static int check_keys(json_t *object, const char *const *names, const struct place *place,
		      struct error *err)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		size_t i = 0;

		while (names[i] != NULL && strcmp(names[i], key) != 0) {
			i++;
		}
		if (names[i] == NULL) {
			return fault(err, place, "unknown field `%s`", key);
		}
	}
	return 0;
}

static int read_uint(json_t *object, const char *name, uint64_t max, const struct place *place,
		     uint64_t *value, struct error *err)
{
	json_t *json = json_object_get(object, name);

	if (!json_is_integer(json) || json_integer_value(json) < 0 ||
	    (uint64_t)json_integer_value(json) > max) {
		return fault(err, place, "`%s` must be a number from 0 to %llu", name,
			     (unsigned long long)max);
	}
	*value = (uint64_t)json_integer_value(json);
	return 0;
}

/* The only member of `object`, if that is called `name`. */
static bool is_single(json_t *object, const char *name)
{
	return json_is_object(object) && json_object_size(object) == 1 &&
	       json_object_get(object, name) != NULL;
}

static int read_action(json_t *filter, const char *name, const struct place *place,
		       struct policy_action *action, struct error *err)
{
	static const struct {
		const char *name;
		enum policy_action_kind kind;
	} plain[] = {
		{"allow", POLICY_ALLOW},
		{"kill_thread", POLICY_KILL_THREAD},
		{"kill_process", POLICY_KILL_PROCESS},
		{"log", POLICY_LOG},
		{"trap", POLICY_TRAP},
	};
	static const struct {
		const char *name;
		enum policy_action_kind kind;
	} valued[] = {{"errno", POLICY_ERRNO}, {"trace", POLICY_TRACE}};
	json_t *json = json_object_get(filter, name);
	const char *text = json_string_value(json);

	for (size_t i = 0; text != NULL && i < ARRAY_COUNT(plain); i++) {
		if (strcmp(plain[i].name, text) == 0) {
			action->kind = plain[i].kind;
			return 0;
		}
	}
	for (size_t i = 0; i < ARRAY_COUNT(valued); i++) {
		uint64_t value = 0;

		if (is_single(json, valued[i].name)) {
			action->kind = valued[i].kind;
			if (read_uint(json, valued[i].name, UINT16_MAX, place, &value, err) < 0) {
				return -1;
			}
			action->value = (uint16_t)value;
			return 0;
		}
	}
	return fault(
		err, place,
		"`%s` must be \"allow\", \"kill_thread\", \"kill_process\", \"log\", \"trap\", "
		"{\"errno\": N} or {\"trace\": N}",
		name);
}

static int read_op(json_t *json, const struct place *place, struct policy_arg *arg,
		   struct error *err)
{
	static const char *const names[] = {
		[POLICY_EQ] = "eq", [POLICY_NE] = "ne", [POLICY_LT] = "lt",
		[POLICY_LE] = "le", [POLICY_GT] = "gt", [POLICY_GE] = "ge",
	};
	json_t *op = json_object_get(json, "op");
	const char *text = json_string_value(op);

	for (size_t i = 0; text != NULL && i < ARRAY_COUNT(names); i++) {
		if (strcmp(names[i], text) == 0) {
			arg->op = (enum policy_op)i;
			return 0;
		}
	}
	if (is_single(op, "masked_eq")) {
		arg->op = POLICY_MASKED_EQ;
		return read_uint(op, "masked_eq", INT64_MAX, place, &arg->mask, err);
	}
	return fault(err, place,
		     "`op` must be \"eq\", \"ne\", \"lt\", \"le\", \"gt\", \"ge\" or "
		     "{\"masked_eq\": MASK}");
}

/* A number, or "self": the id of the process that is held in. */
static int read_value(json_t *json, const struct place *place, struct policy_arg *arg,
		      struct error *err)
{
	const char *text = json_string_value(json_object_get(json, "val"));

	if (text != NULL && strcmp(text, "self") == 0) {
		arg->value = FILTER_SELF;
		return 0;
	}
	return read_uint(json, "val", INT64_MAX, place, &arg->value, err);
}

static int read_arg(json_t *json, const struct place *place, struct policy_arg *arg,
		    struct error *err)
{
	static const char *const names[] = {"index", "type", "op", "val", "comment", NULL};
	const char *type = json_string_value(json_object_get(json, "type"));
	uint64_t index = 0;

	if (!json_is_object(json)) {
		return fault(err, place, "each of `args` must be an object");
	}
	if (check_keys(json, names, place, err) < 0 ||
	    read_uint(json, "index", POLICY_ARGS_MAX - 1, place, &index, err) < 0 ||
	    read_value(json, place, arg, err) < 0 || read_op(json, place, arg, err) < 0) {
		return -1;
	}
	arg->index = (unsigned)index;
	if (type == NULL || (strcmp(type, "dword") != 0 && strcmp(type, "qword") != 0)) {
		return fault(err, place, "`type` must be \"dword\" or \"qword\"");
	}
	arg->is_dword = strcmp(type, "dword") == 0;
	if (json_is_string(json_object_get(json, "val")) &&
	    (!arg->is_dword || arg->op != POLICY_EQ)) {
		return fault(err, place, "\"self\" goes with \"dword\" and \"eq\" alone");
	}
	if (arg->is_dword && (arg->value > UINT32_MAX || arg->mask > UINT32_MAX)) {
		return fault(err, place, "a \"dword\" is compared with 32 bits at most");
	}
	return 0;
}

static int read_rule(json_t *json, const struct place *place, struct policy_rule *rule,
		     struct error *err)
{
	static const char *const names[] = {"syscall", "args", "comment", NULL};
	const char *syscall = json_string_value(json_object_get(json, "syscall"));
	json_t *args = json_object_get(json, "args");
	json_t *arg;
	size_t i;

	if (!json_is_object(json)) {
		return fault(err, place, "a rule must be an object");
	}
	if (check_keys(json, names, place, err) < 0) {
		return -1;
	}
	if (syscall == NULL || strlen(syscall) >= sizeof(rule->syscall)) {
		return fault(err, place, "`syscall` must be the name of a system call");
	}
	snprintf(rule->syscall, sizeof(rule->syscall), "%s", syscall);
	if (args != NULL && (!json_is_array(args) || json_array_size(args) > POLICY_ARGS_MAX)) {
		return fault(err, place, "`args` must be a list of at most %d conditions",
			     POLICY_ARGS_MAX);
	}
	json_array_foreach(args, i, arg)
	{
		if (read_arg(arg, place, &rule->args[i], err) < 0) {
			return -1;
		}
		rule->arg_count++;
	}
	return 0;
}

static int read_filter(const char *thread, json_t *json, struct policy_filter *filter,
		       struct error *err)
{
	static const char *const names[] = {"default_action", "filter_action", "filter", "includes",
					    NULL};
	struct place place = {.filter = thread};
	json_t *rules = json_object_get(json, "filter");
	json_t *rule;
	size_t i;

	if (!json_is_object(json) || !json_is_array(rules)) {
		return fault(err, &place, "it must be an object with a list `filter`");
	}
	if (check_keys(json, names, &place, err) < 0 ||
	    read_action(json, "default_action", &place, &filter->default_action, err) < 0 ||
	    read_action(json, "filter_action", &place, &filter->filter_action, err) < 0) {
		return -1;
	}
	if (strlen(thread) >= sizeof(filter->thread)) {
		return fault(err, &place, "its name is too long");
	}
	snprintf(filter->thread, sizeof(filter->thread), "%s", thread);
	filter->rules = calloc(json_array_size(rules) + 1, sizeof(*filter->rules));
	if (filter->rules == NULL) {
		return error_sys(err, "Cannot hold the rules of filter `%s`", thread);
	}
	json_array_foreach(rules, i, rule)
	{
		place.rule = i + 1;
		if (read_rule(rule, &place, &filter->rules[i], err) < 0) {
			return -1;
		}
		filter->rule_count++;
	}
	return 0;
}

/* Appends the rules of another filter, as it was written. */
static int include(const struct policy *policy, const char *name, struct policy_filter *filter,
		   struct error *err)
{
	const struct place place = {.filter = filter->thread};

	for (size_t i = 0; name != NULL && i < policy->filter_count; i++) {
		const struct policy_filter *other = &policy->filters[i];
		size_t count = filter->rule_count + other->own_count;

		if (other == filter || strcmp(other->thread, name) != 0) {
			continue;
		}
		struct policy_rule *rules =
			reallocarray(filter->rules, count + 1, sizeof(*filter->rules));

		if (rules == NULL) {
			return error_sys(err, "Cannot hold the rules of filter `%s`",
					 filter->thread);
		}
		filter->rules = rules;
		for (size_t rule = 0; rule < other->own_count; rule++) {
			rules[filter->rule_count++] = other->rules[rule];
		}
		return 0;
	}
	return fault(err, &place, "`includes` must be a list of names of other filters");
}

static int include_all(json_t *root, struct policy *policy, struct error *err)
{
	size_t at = 0;
	const char *thread;
	json_t *json;

	json_object_foreach(root, thread, json)
	{
		struct policy_filter *filter = &policy->filters[at++];
		json_t *names = json_object_get(json, "includes");
		json_t *name;
		size_t i;

		if (names != NULL && !json_is_array(names)) {
			return include(policy, NULL, filter, err);
		}
		json_array_foreach(names, i, name)
		{
			if (include(policy, json_string_value(name), filter, err) < 0) {
				return -1;
			}
		}
	}
	return 0;
}

static int read_filters(json_t *root, struct policy *policy, struct error *err)
{
	const char *thread;
	json_t *filter;

	if (!json_is_object(root)) {
		return error_set(err, ERR_BAD_REQUEST, "A policy must be an object of filters");
	}
	policy->filters = calloc(json_object_size(root) + 1, sizeof(*policy->filters));
	if (policy->filters == NULL) {
		return error_sys(err, "Cannot hold a policy");
	}
	json_object_foreach(root, thread, filter)
	{
		struct policy_filter *into = &policy->filters[policy->filter_count++];

		if (read_filter(thread, filter, into, err) < 0) {
			return -1;
		}
		into->own_count = into->rule_count;
	}
	return include_all(root, policy, err);
}

int policy_parse(const char *text, size_t len, struct policy *policy, struct error *err)
{
	struct json_doc doc = {0};

	*policy = (struct policy){0};
	if (json_doc_load(text, len, "Invalid JSON", &doc, err) < 0) {
		return -1;
	}
	int result = read_filters(doc.root, policy, err);

	json_doc_free(&doc);
	return result;
}

void policy_free(struct policy *policy)
{
	for (size_t i = 0; i < policy->filter_count; i++) {
		free(policy->filters[i].rules);
	}
	free(policy->filters);
	*policy = (struct policy){0};
}

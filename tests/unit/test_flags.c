/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/flags.c; its messages are tested with the programs' own tables. */
#include <criterion/criterion.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/flags.h"

enum {
	ARGV_MAX = 10
};

struct values {
	char log[64]; /* what was stored, in order */
};

static int store(const struct flag *flag, const char *text, void *out, struct error *err)
{
	struct values *values = out;
	size_t len = strlen(values->log);

	snprintf(values->log + len, sizeof(values->log) - len, "%s=%s;", flag->name, text);
	return strcmp(text, "bad") == 0 ? error_set(err, ERR_BAD_REQUEST, "%s", flag->name) : 0;
}

static const struct flag flags[] = {
	{.name = "must", .value = "V", .help = "", .is_required = true, .store = store},
	{.name = "list",
	 .value = "V",
	 .help = "",
	 .is_repeated = true,
	 .by_default = "none",
	 .store = store},
	{.name = "on", .help = "", .requires = "list", .forbids = "off", .store = store},
	{.name = "off", .help = "", .store = store},
	{.name = "idle", .help = ""},
};

static struct flags_line line_of(const char *const argv[ARGV_MAX])
{
	struct flags_line line = {
		.flags = flags, .flag_count = ARRAY_COUNT(flags), .argv = (char *const *)argv};

	while (argv[line.argc] != NULL) {
		line.argc++;
	}
	return line;
}

Test(flags, values_are_stored_in_the_order_of_the_table_then_of_the_line)
{
	static const struct {
		const char *argv[ARGV_MAX];
		const char *log;
	} cases[] = {
		{{"x", "--must", "1"}, "must=1;list=none;"},
		{{"x", "--on", "--list", "b", "--must", "on", "--list", "a"},
		 "must=on;list=b;list=a;on=;"},
		{{"x", "--idle", "--off", "--must", "-1", "--", "--on"}, "must=-1;list=none;off=;"},
		{{"x", "--must", "", "--list", "must"}, "must=;list=must;"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct flags_line line = line_of(cases[i].argv);
		struct values values = {0};
		struct error err = {0};

		cr_assert_eq(flags_begin(&line), FLAGS_RUN);
		cr_assert_eq(flags_match(&line, &err), 0, "case %zu: %s", i, err.msg);
		cr_expect_eq(flags_store(&line, &values, &err), 0, "case %zu: %s", i, err.msg);
		cr_expect_str_eq(values.log, cases[i].log, "case %zu: %s", i, values.log);
	}
}

Test(flags, the_first_value_that_is_no_good_ends_it)
{
	const char *const argv[ARGV_MAX] = {"x",      "--list", "a",	  "--list", "bad",
					    "--list", "c",	"--must", "1"};
	struct flags_line line = line_of(argv);
	struct values values = {0};
	struct error err = {0};

	cr_assert_eq(flags_match(&line, &err), 0, "%s", err.msg);
	cr_expect_eq(flags_store(&line, &values, &err), -1);
	cr_expect_str_eq(err.msg, "list");
	cr_expect_str_eq(values.log, "must=1;list=a;list=bad;");
}

Test(flags, what_is_required_and_forbidden_is_told_in_the_order_of_the_table)
{
	static const struct {
		const char *argv[ARGV_MAX];
		const char *msg;
	} cases[] = {
		{{"x", "--on", "--off"}, "Argument 'must' required, but not found."},
		{{"x", "--must", "1", "--off", "--on"}, "Argument 'list' required, but not found."},
		{{"x", "--must", "1", "--list", "1", "--off", "--on"},
		 "Argument 'off' cannot be used together with argument 'on'."},
		{{"x", "--must", "1", "--must", "2"},
		 "The argument 'must' was provided more than once."},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct flags_line line = line_of(cases[i].argv);
		struct error err = {0};

		cr_expect_eq(flags_match(&line, &err), -1, "case %zu", i);
		cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
	}
}

Test(flags, an_empty_line_is_one)
{
	const char *const argv[ARGV_MAX] = {NULL};
	struct flags_line line = line_of(argv);
	struct error err = {0};

	cr_expect_eq(flags_begin(&line), FLAGS_RUN);
	cr_expect_eq(flags_match(&line, &err), -1);
}

Test(flags, numbers_are_digits_that_fit)
{
	static const char *const bad[] = {
		"", "+1", "-1", " 1", "1 ", "0x1", "18446744073709551616"};
	uint64_t value;

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		cr_expect_not(flag_parse_u64(bad[i], &value), "'%s'", bad[i]);
	}
	cr_expect(flag_parse_u64("18446744073709551615", &value));
	cr_expect_eq(value, UINT64_MAX);
	cr_expect(flag_parse_u64("010", &value));
	cr_expect_eq(value, 10);
}

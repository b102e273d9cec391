/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/args.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/flags_told.h"
#include "vmm/args.h"
#include "vmm/base/bytes.h"

enum {
	ARGV_MAX = 12
};

#define RUN "--no-api", "--config-file", "c.json"
#define PARSING(text) "Arguments parsing error: " text " \n\nFor more information try --help."

static int count(const char *const argv[ARGV_MAX])
{
	int argc = 0;

	while (argv[argc] != NULL) {
		argc++;
	}
	return argc;
}

static int parse(const char *const argv[ARGV_MAX], struct args *args, struct error *err)
{
	return args_parse(count(argv), (char *const *)argv, args, err);
}

Test(args, a_plain_run_has_the_defaults)
{
	const char *const argv[ARGV_MAX] = {"squib", RUN};
	struct args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0, "%s", err.msg);
	cr_expect_eq(args.action, FLAGS_RUN);
	cr_expect_str_eq(args.id, "anonymous-instance");
	cr_expect_str_eq(args.config_file, "c.json");
	cr_expect(args.no_api);
	cr_expect_eq(args.level, LOG_INFO);
	cr_expect_null(args.log_path);
	cr_expect_null(args.module);
	cr_expect_not(args.boot_timer || args.no_seccomp || args.show_level ||
		      args.show_log_origin || args.landlock || args.check_sandbox ||
		      args.check_sandbox_json);
	cr_expect_eq(args.start_time_us, 0);
	cr_expect_eq(args.mmds_size_limit, UINT64_MAX);
}

Test(args, a_limit_of_zero_is_a_limit)
{
	const char *const argv[ARGV_MAX] = {"squib", RUN, "--mmds-size-limit", "0"};
	struct args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0, "%s", err.msg);
	cr_expect_eq(args.mmds_size_limit, 0);
}

Test(args, each_value_lands_in_its_member)
{
	const char *const argv[] = {"squib",
				    RUN,
				    "--id",
				    "a-Z9",
				    "--boot-timer",
				    "--no-seccomp",
				    "--landlock",
				    "--check-sandbox-json",
				    "--log-path",
				    "log",
				    "--level",
				    "wArNiNg",
				    "--module",
				    "vmm/",
				    "--show-level",
				    "--show-log-origin",
				    "--start-time-us",
				    "1",
				    "--start-time-cpu-us",
				    "18446744073709551615",
				    "--parent-cpu-time-us",
				    "3",
				    "--describe-snapshot-json",
				    "state",
				    NULL};
	struct args args;
	struct error err = {0};

	cr_assert_eq(args_parse(ARRAY_COUNT(argv) - 1, (char *const *)argv, &args, &err), 0, "%s",
		     err.msg);
	cr_expect_str_eq(args.id, "a-Z9");
	cr_expect(args.boot_timer && args.no_seccomp && args.show_level && args.show_log_origin);
	cr_expect(args.landlock && args.check_sandbox_json && !args.check_sandbox);
	cr_expect_str_eq(args.log_path, "log");
	cr_expect_eq(args.level, LOG_WARN);
	cr_expect_str_eq(args.module, "vmm/");
	cr_expect_eq(args.start_time_us, 1);
	cr_expect_eq(args.start_time_cpu_us, UINT64_MAX);
	cr_expect_eq(args.parent_cpu_time_us, 3);
	cr_expect_str_eq(args.describe_snapshot_json, "state");
}

#define ID_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct {
	const char *argv[ARGV_MAX];
	enum exit_code exit_code;
	const char *msg;
} faults[] = {
	{{"squib", "--foo"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("Found argument 'foo' which wasn't expected, or isn't valid in this "
		 "context.")},
	{{"squib", "-x"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("Found argument '-x' which wasn't expected, or isn't valid in this "
		 "context.")},
	{{"squib", ""},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("Found argument '' which wasn't expected, or isn't valid in this "
		 "context.")},
	{{"squib", "--id=a"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("Found argument 'id=a' which wasn't expected, or isn't valid in this "
		 "context.")},
	{{"squib", "--no-api", "stray"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("Found argument 'stray' which wasn't expected, or isn't valid in this "
		 "context.")},
	{{"squib", "--no-api"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("Argument 'config-file' required, but not found.")},
	{{"squib", "--no-api", "--", "--config-file", "c"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("Argument 'config-file' required, but not found.")},
	{{"squib", "--config-file"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("The argument 'config-file' requires a value, but none was supplied.")},
	{{"squib", "--config-file", "--no-api"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("The argument 'config-file' requires a value, but none was supplied.")},
	{{"squib", RUN, "--no-api"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("The argument 'no-api' was provided more than once.")},
	{{"squib", RUN, "--config-file", "d"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("The argument 'config-file' was provided more than once.")},
	{{"squib", RUN, "--seccomp-filter", "f", "--no-seccomp"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("Argument 'seccomp-filter' cannot be used together with argument "
		 "'no-seccomp'.")},
	{{"squib", "--describe-snapshot-json", "s", "--describe-snapshot", "s"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("Argument 'describe-snapshot-json' cannot be used together with argument "
		 "'describe-snapshot'.")},
	{{"squib", "--check-sandbox-json", "--check-sandbox"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("Argument 'check-sandbox-json' cannot be used together with argument "
		 "'check-sandbox'.")},
	{{"squib", "--no-api", "--seccomp-filter", "f", "--no-seccomp"},
	 EXIT_CODE_ARGUMENTS,
	 PARSING("Argument 'config-file' required, but not found.")},
	{{"squib", RUN, "--level", "loud", "--start-time-us", "x", "--id", "_"},
	 EXIT_CODE_PANIC,
	 "Invalid instance ID: Invalid char (_) at position 0"},
	{{"squib", RUN, "--start-time-us", "x", "--level", "loud"},
	 EXIT_CODE_BAD_CONFIGURATION,
	 "Invalid value for logger level: loud.Possible values: [Error, Warning, Info, "
	 "Debug]"},
	{{"squib", RUN, "--mmds-size-limit", ""},
	 EXIT_CODE_PANIC,
	 "'mmds-size-limit' parameter expected to be of 'u64' type."},
	{{"squib", RUN, "--http-api-max-payload-size", "+1"},
	 EXIT_CODE_PANIC,
	 "'http-api-max-payload-size' parameter expected to be of 'u64' type."},
	{{"squib", RUN, "--id", ""},
	 EXIT_CODE_PANIC,
	 "Invalid instance ID: Invalid len (0);  the length must be between 1 and 64"},
	{{"squib", RUN, "--id", ID_64 "x"},
	 EXIT_CODE_PANIC,
	 "Invalid instance ID: Invalid len (65);  the length must be between 1 and 64"},
	{{"squib", RUN, "--id", "12_3aa"},
	 EXIT_CODE_PANIC,
	 "Invalid instance ID: Invalid char (_) at position 2"},
	{{"squib", RUN, "--level", "loud"},
	 EXIT_CODE_BAD_CONFIGURATION,
	 "Invalid value for logger level: loud.Possible values: [Error, Warning, Info, "
	 "Debug]"},
	{{"squib", RUN, "--start-time-us", "-1"},
	 EXIT_CODE_PANIC,
	 "'start-time-us' parameter expected to be of 'u64' type."},
	{{"squib", RUN, "--parent-cpu-time-us", "1x"},
	 EXIT_CODE_PANIC,
	 "'parent-cpu-time-us' parameter expected to be of 'u64' type."},
	{{"squib", RUN, "--start-time-cpu-us", "18446744073709551616"},
	 EXIT_CODE_PANIC,
	 "'start-time-cpu-us' parameter expected to be of 'u64' type."},
};

Test(args, faults_have_firecrackers_words_and_exit_codes)
{
	for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
		struct args args;
		struct error err = {0};

		cr_expect_eq(parse(faults[i].argv, &args, &err), -1, "case %zu", i);
		cr_expect_str_eq(err.msg, faults[i].msg, "case %zu: %s", i, err.msg);
		cr_expect_eq(args.exit_code, faults[i].exit_code, "case %zu: %d", i,
			     args.exit_code);
	}
}

Test(args, an_id_of_64_characters_is_fine)
{
	const char *const argv[ARGV_MAX] = {"squib", RUN, "--id", ID_64};
	struct args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0, "%s", err.msg);
	cr_expect_str_eq(args.id, ID_64);
}

Test(args, a_value_may_begin_with_one_dash)
{
	const char *const argv[ARGV_MAX] = {"squib", RUN, "--id", "-a"};
	struct args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0, "%s", err.msg);
	cr_expect_str_eq(args.id, "-a");
}

Test(args, what_follows_two_dashes_is_left_alone)
{
	const char *const argv[ARGV_MAX] = {"squib", RUN, "--", "--nonsense", "--help"};
	struct args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0, "%s", err.msg);
	cr_expect_eq(args.action, FLAGS_RUN);
}

Test(args, help_and_version_win_over_faults)
{
	static const struct {
		const char *argv[ARGV_MAX];
		enum flags_action action;
	} cases[] = {
		{{"squib", "--help"}, FLAGS_HELP},
		{{"squib", "-h"}, FLAGS_HELP},
		{{"squib", "--nonsense", "--help"}, FLAGS_HELP},
		{{"squib", "--version", "--help"}, FLAGS_HELP},
		{{"squib", "--version"}, FLAGS_VERSION},
		{{"squib", "--id", "--version"}, FLAGS_VERSION},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct args args;
		struct error err = {0};

		cr_expect_eq(parse(cases[i].argv, &args, &err), 0, "case %zu: %s", i, err.msg);
		cr_expect_eq(args.action, cases[i].action, "case %zu", i);
	}
}

Test(args, help_has_one_line_of_at_most_100_columns_per_flag)
{
	size_t flag_count;
	const struct flag *flags = args_flags(&flag_count);

	expect_help_tells(flags, flag_count, args_print_help);
}

Test(args, each_flag_names_only_flags_that_exist)
{
	size_t count_of_flags;
	const struct flag *flags = args_flags(&count_of_flags);

	for (size_t i = 0; i < count_of_flags; i++) {
		const char *others[] = {flags[i].requires, flags[i].forbids};

		for (size_t k = 0; k < ARRAY_COUNT(others); k++) {
			bool is_known = others[k] == NULL;

			for (size_t j = 0; j < count_of_flags && !is_known; j++) {
				is_known = strcmp(flags[j].name, others[k]) == 0;
			}
			cr_expect(is_known, "--%s", flags[i].name);
		}
	}
}

Test(args, the_version_has_firecrackers_form_under_its_name)
{
	static const struct {
		const char *program;
		const char *text;
	} cases[] = {
		{"squib", "squib v1.17.0\n"},
		{"./build/squib", "squib v1.17.0\n"},
		{"firecracker", "Firecracker v1.17.0\n\n"},
		{"/usr/bin/firecracker", "Firecracker v1.17.0\n\n"},
		{"/opt/firecracker/squib", "squib v1.17.0\n"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char text[64] = "";
		FILE *out = fmemopen(text, sizeof(text), "w");

		args_print_version(out, cases[i].program);
		fclose(out);
		cr_expect_str_eq(text, cases[i].text, "%s: %s", cases[i].program, text);
	}
}

Test(args, the_manual_page_has_every_flag_with_its_value)
{
	size_t flag_count;
	const struct flag *flags = args_flags(&flag_count);

	expect_page_tells(flags, flag_count, "docs/man/squib.1");
}

Test(args, the_manual_page_has_every_exit_code)
{
	static const enum exit_code codes[] = {
		EXIT_CODE_OK,	     EXIT_CODE_GENERIC,	    EXIT_CODE_INTERNAL,
		EXIT_CODE_PANIC,     EXIT_CODE_BAD_SYSCALL, EXIT_CODE_SIGBUS,
		EXIT_CODE_SIGSEGV,   EXIT_CODE_SIGXFSZ,	    EXIT_CODE_BAD_CONFIGURATION,
		EXIT_CODE_ARGUMENTS, EXIT_CODE_SIGXCPU,	    EXIT_CODE_SIGHUP,
		EXIT_CODE_SIGILL,
	};
	char *page = document("docs/man/squib.1");

	for (size_t i = 0; i < ARRAY_COUNT(codes); i++) {
		char entry[32];

		snprintf(entry, sizeof(entry), "\n.B %d\n", codes[i]);
		cr_expect_not_null(strstr(page, entry), "docs/man/squib.1 lacks exit code %d",
				   codes[i]);
	}
	free(page);
}

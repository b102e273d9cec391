/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/jailer/args.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/flags_told.h"
#include "tools/jailer/args.h"
#include "vmm/base/bytes.h"

enum {
	ARGV_MAX = 24
};

#define NEEDED "jailer", "--id", "vm", "--exec-file", "squib", "--uid", "1", "--gid", "2"
#define PARSING(text) "Failed to parse arguments: " text

static int parse(const char *const argv[ARGV_MAX], struct jail_args *args, struct error *err)
{
	int argc = 0;

	while (argv[argc] != NULL) {
		argc++;
	}
	return jail_args_parse(argc, (char *const *)argv, args, err);
}

Test(jailer_args, what_is_required_suffices)
{
	const char *const argv[ARGV_MAX] = {NEEDED};
	struct jail_args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0, "%s", err.msg);
	cr_expect_eq(args.action, FLAGS_RUN);
	cr_expect_str_eq(args.id, "vm");
	cr_expect_str_eq(args.exec_file, "squib");
	cr_expect(args.uid == 1 && args.gid == 2);
	cr_expect_str_eq(args.chroot_base, "/srv/jailer");
	cr_expect_null(args.netns);
	cr_expect_not(args.is_daemon || args.has_pid_ns || args.copies_exec || args.has_fsize);
	cr_expect_eq(args.no_file, 2048);
	cr_expect_eq(args.cgroup.version, 1);
	cr_expect_null(args.cgroup.parent);
	cr_expect_eq(args.cgroup.setting_count, 0);
	cr_expect_eq(args.extra_count, 0);
}

Test(jailer_args, each_value_lands_in_its_member)
{
	const char *const argv[ARGV_MAX] = {NEEDED,
					    "--chroot-base-dir",
					    "/base",
					    "--netns",
					    "/ns",
					    "--daemonize",
					    "--new-pid-ns",
					    "--copy-exec-file",
					    "--cgroup-version",
					    "2",
					    "--parent-cgroup",
					    "a/b"};
	struct jail_args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0, "%s", err.msg);
	cr_expect_str_eq(args.chroot_base, "/base");
	cr_expect_str_eq(args.netns, "/ns");
	cr_expect(args.is_daemon && args.has_pid_ns && args.copies_exec);
	cr_expect_eq(args.cgroup.version, 2);
	cr_expect_str_eq(args.cgroup.parent, "a/b");
}

Test(jailer_args, some_flags_may_be_repeated)
{
	const char *const argv[ARGV_MAX] = {
		NEEDED,	    "--cgroup",		 "cpu.shares=10",    "--resource-limit", "fsize=5",
		"--cgroup", "io.max=8:0 rbps=1", "--resource-limit", "no-file=7"};
	struct jail_args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0, "%s", err.msg);
	cr_expect(args.has_fsize && args.fsize == 5 && args.no_file == 7);
	cr_assert_eq(args.cgroup.setting_count, 2);
	cr_expect_eq(args.cgroup.settings[0].file_len, strlen("cpu.shares"));
	cr_expect_eq(args.cgroup.settings[0].controller_len, strlen("cpu"));
	cr_expect_str_eq(args.cgroup.settings[0].value, "10");
	cr_expect_str_eq(args.cgroup.settings[1].value, "8:0 rbps=1");
}

Test(jailer_args, what_follows_two_dashes_is_the_programs)
{
	const char *const argv[ARGV_MAX] = {NEEDED, "--", "--help", "--id", "x", "--"};
	struct jail_args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0, "%s", err.msg);
	cr_expect_eq(args.action, FLAGS_RUN);
	cr_assert_eq(args.extra_count, 4);
	cr_expect_str_eq(args.extra[0], "--help");
	cr_expect_str_eq(args.extra[3], "--");
	cr_expect_null(args.extra[4]);
}

#define ID_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

Test(jailer_args, faults_have_upstreams_words)
{
	static const struct {
		const char *argv[ARGV_MAX];
		const char *msg;
	} cases[] = {
		{{"jailer"}, PARSING("Argument 'id' required, but not found.")},
		{{"jailer", "--id", "a", "--exec-file", "b", "--gid", "1"},
		 PARSING("Argument 'uid' required, but not found.")},
		{{NEEDED, "--id", "b"}, PARSING("The argument 'id' was provided more than once.")},
		{{NEEDED, "--daemonize", "--daemonize"},
		 PARSING("The argument 'daemonize' was provided more than once.")},
		{{NEEDED, "--netns"},
		 PARSING("The argument 'netns' requires a value, but none was supplied.")},
		{{NEEDED, "--netns", "--daemonize"},
		 PARSING("The argument 'netns' requires a value, but none was supplied.")},
		{{NEEDED, "--node", "1"},
		 PARSING("Found argument 'node' which wasn't expected, or isn't valid in this "
			 "context.")},
		{{NEEDED, "stray"},
		 PARSING("Found argument 'stray' which wasn't expected, or isn't valid in this "
			 "context.")},
		{{NEEDED, "--cgroup", "cpu.shares=1", "--cgroup"},
		 PARSING("The argument 'cgroup' requires a value, but none was supplied.")},
		{{NEEDED, "-d"},
		 PARSING("Found argument '-d' which wasn't expected, or isn't valid in this "
			 "context.")},
		{{NEEDED, "--netns=/ns"},
		 PARSING("Found argument 'netns=/ns' which wasn't expected, or isn't valid in this "
			 "context.")},
		{{"jailer", "--id", "a", "--exec-file", "b", "--uid", "1", "--", "--gid", "1"},
		 PARSING("Argument 'gid' required, but not found.")},
		{{"jailer", "--gid", "y", "--cgroup", "z", "--uid", "x", "--id", "a", "--exec-file",
		  "b"},
		 "Invalid uid: x"},
		{{NEEDED, "--resource-limit", "y", "--cgroup", "x.y=1", "--cgroup", "b"},
		 "Invalid format for cgroups: b"},
		{{NEEDED, "--resource-limit", "a=1", "--resource-limit", "b=2"},
		 "Invalid resource argument: a"},
		{{NEEDED, "--parent-cgroup", "/a"},
		 "Parent cgroup path is invalid. Path should not be absolute or contain '..' or "
		 "'.'"},
		{{"jailer", "--id", "", "--exec-file", "b", "--uid", "1", "--gid", "1"},
		 "Invalid instance ID: Invalid len (0);  the length must be between 1 and 64"},
		{{"jailer", "--id", ID_64 "x", "--exec-file", "b", "--uid", "1", "--gid", "1"},
		 "Invalid instance ID: Invalid len (65);  the length must be between 1 and 64"},
		{{"jailer", "--id", "..", "--exec-file", "b", "--uid", "1", "--gid", "1"},
		 "Invalid instance ID: Invalid char (.) at position 0"},
		{{"jailer", "--id", "a", "--exec-file", "b", "--uid", "x", "--gid", "1"},
		 "Invalid uid: x"},
		{{"jailer", "--id", "a", "--exec-file", "b", "--uid", "-1", "--gid", "1"},
		 "Invalid uid: -1"},
		{{"jailer", "--id", "a", "--exec-file", "b", "--uid", "1", "--gid", "4294967295"},
		 "Invalid gid: 4294967295"},
		{{"jailer", "--id", "a", "--exec-file", "b", "--uid", "1", "--gid", "4294967296"},
		 "Invalid gid: 4294967296"},
		{{NEEDED, "--cgroup-version", "0"}, "0 is an invalid cgroup version specifier"},
		{{NEEDED, "--cgroup-version", "v2"}, "v2 is an invalid cgroup version specifier"},
		{{NEEDED, "--cgroup", "cpu.shares"}, "Invalid format for cgroups: cpu.shares"},
		{{NEEDED, "--cgroup", "cpu.shares="}, "Invalid format for cgroups: cpu.shares="},
		{{NEEDED, "--cgroup", "shares=1"}, "Cgroup invalid file: shares=1"},
		{{NEEDED, "--cgroup", "../cpu.shares=1"}, "Cgroup invalid file: ../cpu.shares=1"},
		{{NEEDED, "--resource-limit", "fsize"},
		 "Invalid format for resources limits: fsize"},
		{{NEEDED, "--resource-limit", "fsize=x"},
		 "Invalid limit value for resource: x: invalid digit found in string"},
		{{NEEDED, "--resource-limit", "no-file="},
		 "Invalid limit value for resource: : cannot parse integer from empty string"},
		{{NEEDED, "--resource-limit", "no-file=3"},
		 "Invalid limit value for resource: no-file=3 leaves the program no descriptor "
		 "beside its standard input, output and error"},
		{{NEEDED, "--resource-limit", "core=1"}, "Invalid resource argument: core"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct jail_args args;
		struct error err = {0};

		cr_expect_eq(parse(cases[i].argv, &args, &err), -1, "case %zu", i);
		cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
	}
}

Test(jailer_args, a_parent_cgroup_stays_below_the_mount)
{
	static const char *const bad[] = {"/",	    "/a", "..",	 "../a",  "a/..",
					  "a/../b", ".",  "./a", "a/./b", "a/.."};
	static const char *const good[] = {"",	  "a",	 "a/b",	  "a//b", "a/",
					   "..a", "a.b", "a/...", ".a"};

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		struct error err = {0};

		cr_expect_eq(cgroup_check_parent(bad[i], &err), -1, "%s", bad[i]);
		cr_expect_str_eq(err.msg, "Parent cgroup path is invalid. Path should not be "
					  "absolute or contain '..' or '.'");
	}
	for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
		struct error err = {0};

		cr_expect_eq(cgroup_check_parent(good[i], &err), 0, "%s", good[i]);
	}
}

Test(jailer_args, more_cgroup_settings_than_there_is_room_for_are_refused)
{
	static const char *const needed[] = {NEEDED};
	const char *argv[ARRAY_COUNT(needed) + 2 * (CGROUP_SETTINGS_MAX + 1) + 1] = {NULL};
	struct jail_args args;
	struct error err = {0};

	memcpy(argv, needed, sizeof(needed));
	for (size_t i = ARRAY_COUNT(needed); i + 1 < ARRAY_COUNT(argv); i += 2) {
		argv[i] = "--cgroup";
		argv[i + 1] = "cpu.shares=1";
	}
	cr_expect_eq(jail_args_parse(ARRAY_COUNT(argv) - 1, (char *const *)argv, &args, &err), -1);
	cr_expect_str_eq(err.msg, "More than 64 cgroup settings");
}

Test(jailer_args, help_and_version_win_over_faults)
{
	static const struct {
		const char *argv[ARGV_MAX];
		enum flags_action action;
	} cases[] = {
		{{"jailer", "--help"}, FLAGS_HELP},
		{{"jailer", "-h", "--nonsense"}, FLAGS_HELP},
		{{"jailer", "--version", "--help"}, FLAGS_HELP},
		{{"jailer", "--id", "--version"}, FLAGS_VERSION},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct jail_args args;
		struct error err = {0};

		cr_expect_eq(parse(cases[i].argv, &args, &err), 0, "case %zu: %s", i, err.msg);
		cr_expect_eq(args.action, cases[i].action, "case %zu", i);
	}
}

Test(jailer_args, help_and_the_manual_page_have_every_flag)
{
	size_t flag_count;
	const struct flag *flags = jail_args_flags(&flag_count);

	expect_help_tells(flags, flag_count, jail_args_print_help);
	expect_page_tells(flags, flag_count, "docs/man/jailer.1");
}

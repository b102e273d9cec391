/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/jailer/args.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

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
	cr_expect_eq(args.action, JAIL_RUN);
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
	cr_expect_eq(args.action, JAIL_RUN);
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
		enum jail_action action;
	} cases[] = {
		{{"jailer", "--help"}, JAIL_HELP},
		{{"jailer", "-h", "--nonsense"}, JAIL_HELP},
		{{"jailer", "--version", "--help"}, JAIL_HELP},
		{{"jailer", "--id", "--version"}, JAIL_VERSION},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct jail_args args;
		struct error err = {0};

		cr_expect_eq(parse(cases[i].argv, &args, &err), 0, "case %zu: %s", i, err.msg);
		cr_expect_eq(args.action, cases[i].action, "case %zu", i);
	}
}

/* The text of a file of the tree; tests run in its root. */
static char *read_document(const char *path)
{
	FILE *in = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	cr_assert_not_null(in, "%s", path);
	cr_assert_gt(getdelim(&text, &size, '\0', in), 0);
	(void)!fclose(in);
	return text;
}

/* As roff writes a flag: each dash as \-, so that it can be copied from the page. */
static void write_flag(const char *name, char *out)
{
	out = stpcpy(out, "\\-\\-");
	for (; *name != '\0'; name++) {
		if (*name == '-') {
			*out++ = '\\';
		}
		*out++ = *name;
	}
	*out = '\0';
}

Test(jailer_args, help_and_the_manual_page_have_every_flag)
{
	static char help[8192];
	FILE *out = fmemopen(help, sizeof(help), "w");
	char *page = read_document("docs/jailer.1");
	size_t flag_count;
	const struct jail_flag *flags = jail_args_flags(&flag_count);

	jail_args_print_help(out);
	cr_assert_eq(fclose(out), 0);
	for (size_t i = 0; i < flag_count; i++) {
		char flag[64];
		char entry[128];

		(void)!snprintf(entry, sizeof(entry), "\n  --%s ", flags[i].name);
		cr_expect_not_null(strstr(help, entry), "--help lacks %s", flags[i].name);
		write_flag(flags[i].name, flag);
		if (flags[i].value != NULL) {
			(void)!snprintf(entry, sizeof(entry), "\n.BI %s \" %s\"\n", flag,
					flags[i].value);
		} else {
			(void)!snprintf(entry, sizeof(entry), "\n.B %s\n", flag);
		}
		cr_expect_not_null(strstr(page, entry), "docs/jailer.1 lacks%s", entry);
	}
	free(page);
	for (char *line = strtok(help, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		cr_expect_leq(strlen(line), 100, "%s", line);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/squibctl/ctl_args.c, and that squibctl's manual page knows what it knows. */
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/flags_told.h"
#include "tools/squibctl/ctl_args.h"
#include "vmm/args.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	ARGV_MAX = 8
};

static int parse(const char *const argv[ARGV_MAX], struct ctl_args *args, struct error *err)
{
	int argc = 0;

	while (argv[argc] != NULL) {
		argc++;
	}
	return ctl_args_parse(argc, (char *const *)argv, args, err);
}

static const struct {
	const char *argv[ARGV_MAX];
	const char *part; /* of the message */
} faults[] = {
	{{"squibctl"}, "No command"},
	{{"squibctl", "frob"}, "no command 'frob'"},
	{{"squibctl", "--frob"}, "no option '--frob'"},
	{{"squibctl", "-x"}, "no option '-x'"},
	{{"squibctl", "--"}, "No command"},
	{{"squibctl", "-s"}, "--socket needs a value"},
	{{"squibctl", "get"}, "Words are missing: squibctl get PATH"},
	{{"squibctl", "put", "/vm"}, "Words are missing: squibctl put PATH JSON|@FILE|-"},
	{{"squibctl", "start", "now"}, "'now' is one word too many"},
	{{"squibctl", "put", "/vm", "{\"a\":", "1}"}, "'1}' is one word too many"},
	{{"squibctl", "get", "vm"}, "must begin with '/'"},
	{{"squibctl", "get", ""}, "must begin with '/'"},
	{{"squibctl", "get", "/a b"}, "without spaces"},
	{{"squibctl", "get", "/a\r\nX: y"}, "without spaces"},
	{{"squibctl", "get", "/\xc3\xa4"}, "printable ASCII"},
	{{"squibctl", "start", "--wait"}, "--wait goes with stop only"},
	{{"squibctl", "load", "s", "m", "--diff"}, "--diff goes with snapshot only"},
	{{"squibctl", "fork", "d", "--live"}, "--live goes with snapshot pool only"},
	{{"squibctl", "fork", "web", "--copy"}, "copies the machine's disk anyway"},
	{{"squibctl", "fork", "web", "--keep", "i"}, "for the others say fork -m NAME DIRECTORY"},
	{{"squibctl", "fork", "web", "-n", "65"}, "a number from 1 to 64"},
	{{"squibctl", "fork", "web", "-n", "x"}, "a number from 1 to 64"},
	{{"squibctl", "fork", "web", "--net", "tap1"}, "--net is ID=DEV, not 'tap1'"},
	{{"squibctl", "fork", "./d", "--rm"}, "--rm goes with fork NAME"},
	{{"squibctl", "restore", "d", "--net", "tap1"}, "--net is ID=DEV, not 'tap1'"},
	{{"squibctl", "save", "web"}, "Words are missing: squibctl save NAME DIRECTORY"},
	{{"squibctl", "load", "s", "--send", "--uffd", "u"}, "--send and --uffd exclude"},
	{{"squibctl", "pool", "start"},
	 "Words are missing: squibctl pool start|take|status|stop DIRECTORY"},
	{{"squibctl", "pool", "start", "d", "w"}, "'w' is one word too many"},
	{{"squibctl", "pool", "begin", "d"}, "pool start, take, status or stop, not 'begin'"},
	{{"squibctl", "pool", "start", "d", "--listens", "p"}, "A command behind -- needs"},
	{{"squibctl", "pool", "start", "d", "--", "squib"}, "A command behind -- needs"},
	{{"squibctl", "pool", "stop", "d", "--live"}, "goes with pool start"},
	{{"squibctl", "pool", "take", "d", "--of", "m"}, "goes with pool start"},
	{{"squibctl", "pool", "start", "-m", "web", "--live", "d"}, "say --of NAME"},
	{{"squibctl", "pool", "start", "--machine", "web", "d"}, "say pool start --of NAME"},
	{{"squibctl", "pool", "start", "d", "--paused"}, "--paused goes with pool take"},
	{{"squibctl", "pool", "take", "d", "--json"}, "--json goes with pool status"},
	{{"squibctl", "load", "--machine", "web", "s", "m"}, "squibctl restore DIRECTORY"},
	{{"squibctl", "load", "-m", "web", "s", "m"}, "squibctl restore DIRECTORY"},
	{{"squibctl", "snapshot", "web", "s", "m"}, "a machine is named by -m NAME"},
	{{"squibctl", "pool", "start", "d", "--rm"}, "--rm goes with pool start --of"},
	{{"squibctl", "pool", "start", "d", "--of", "m", "--live"}, "With pool start --of go"},
	{{"squibctl", "pool", "start", "d", "--net", "eth0"}, "--net is ID=DEV, not 'eth0'"},
	{{"squibctl", "snapshot", "s", "m", "--uffd", "u"}, "--uffd goes with load only"},
	{{"squibctl", "snapshot"}, "Words are missing: squibctl snapshot STATE [MEMORY]"},
	{{"squibctl", "snapshot", "s"}, "Name a file for the memory, or say --state-only"},
	{{"squibctl", "snapshot", "s", "m", "--state-only"}, "--state-only writes no file"},
	{{"squibctl", "load", "s"}, "Name the file of the memory, or a handler by --uffd"},
	{{"squibctl", "load", "s", "m", "--uffd", "u"}, "--uffd takes the place"},
	{{"squibctl", "load", "s", "m", "--resume", "--paused"}, "exclude each other"},
	{{"squibctl", "load", "s", "m", "--drive", "root"}, "--drive is ID=PATH, not 'root'"},
	{{"squibctl", "load", "s", "m", "--drive", "=p"}, "--drive is ID=PATH, not '=p'"},
	{{"squibctl", "load", "s", "m", "--net", "eth0="}, "--net is ID=DEV, not 'eth0='"},
	{{"squibctl", "load", "s", "m", "--net"}, "--net needs a value: ID=DEV"},
	{{"squibctl", "overlay", "show", "f"}, "overlay create, inspect or flatten, not 'show'"},
	{{"squibctl", "overlay", "create", "f"}, "Name the base: squibctl overlay create"},
	{{"squibctl", "overlay", "inspect", "f", "g"}, "create and inspect take one file"},
	{{"squibctl", "overlay", "flatten", "f"}, "Words are missing: squibctl overlay flatten"},
	{{"squibctl", "overlay", "inspect", "f", "--size", "1"}, "go with overlay create only"},
	{{"squibctl", "start", "--base", "b"}, "--base goes with overlay only"},
	{{"squibctl", "ps", "--all=1"}, "--all takes no value"},
	{{"squibctl", "run", "--hostname=web", "i"}, "no option '--hostname=web': the guest's"},
	{{"squibctl", "logs", "--tail", "5", "web"}, "no option '--tail': squibctl logs NAME |"},
	{{"squibctl", "logs", "-n", "5", "web"}, "no option '-n': squibctl logs NAME |"},
	{{"squibctl", "logs", "a", "b"}, "'b' is one word too many: squibctl logs NAME"},
	{{"squibctl", "ps", "-s", "api.sock"}, "--socket does not go with ps"},
	{{"squibctl", "-s", "api.sock", "kill", "web"}, "--socket does not go with kill"},
	{{"squibctl", "stop", "web", "-s", "HUP"}, "--socket does not go with stop"},
	{{"squibctl", "run", "-e", "=x", "i"}, "--env is NAME=VALUE, or NAME to pass on ours"},
	{{"squibctl", "exec", "-e", "", "web", "id"}, "--env is NAME=VALUE"},
};

Test(ctl_args, each_fault_is_told)
{
	for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
		struct ctl_args args;
		struct error err = {0};

		cr_expect_eq(parse(faults[i].argv, &args, &err), -1, "%s", faults[i].part);
		cr_expect_not_null(strstr(err.msg, faults[i].part), "'%s' in place of '%s'",
				   err.msg, faults[i].part);
	}
}

Test(ctl_args, options_stand_before_and_behind_the_command)
{
	const char *const argv[ARGV_MAX] = {"squibctl", "-s", "/a", "stop", "--raw", "-w"};
	struct ctl_args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0, "%s", err.msg);
	cr_expect_str_eq(args.command->name, "stop");
	cr_expect_str_eq(args.socket, "/a");
	cr_expect(args.is_raw && args.waits);
}

static const struct {
	const char *argv[ARGV_MAX];
	bool is_of_name;
} forks[] = {
	{{"squibctl", "fork", "web"}, true},
	{{"squibctl", "fork", "./web"}, false},
	{{"squibctl", "-s", "/a", "fork", "web", "--copy"}, false},
	{{"squibctl", "fork", "-m", "web", "children"}, false},
};

Test(ctl_args, a_fork_is_of_a_name_unless_a_directory_is_meant)
{
	for (size_t i = 0; i < ARRAY_COUNT(forks); i++) {
		struct ctl_args args;
		struct error err = {0};

		cr_assert_eq(parse(forks[i].argv, &args, &err), 0, "%zu: %s", i, err.msg);
		cr_expect_eq(args.is_of_name, forks[i].is_of_name, "%zu", i);
	}
}

/* Letters mean what they mean to docker's users, each with its command. */
static const struct {
	const char *argv[ARGV_MAX];
	size_t member; /* of struct ctl_args */
	const char *value;
} texts[] = {
	{{"squibctl", "kill", "-s", "HUP", "web"}, offsetof(struct ctl_args, run.signal), "HUP"},
	{{"squibctl", "stop", "-s", "/a"}, offsetof(struct ctl_args, socket), "/a"},
	{{"squibctl", "stop", "-t", "1", "web"}, offsetof(struct ctl_args, run.timeout), "1"},
	{{"squibctl", "run", "-w", "/srv", "i"}, offsetof(struct ctl_args, run.workdir), "/srv"},
	{{"squibctl", "run", "-m", "64m", "i"}, offsetof(struct ctl_args, memory), "64m"},
	{{"squibctl", "run", "--memory=64m", "i"}, offsetof(struct ctl_args, memory), "64m"},
	{{"squibctl", "run", "--user=", "i"}, offsetof(struct ctl_args, run.user), ""},
	{{"squibctl", "pool", "start", "d", "--count=2"}, offsetof(struct ctl_args, count), "2"},
};

static const struct {
	const char *argv[ARGV_MAX];
	size_t member;
} switches[] = {
	{{"squibctl", "rm", "-f", "web"}, offsetof(struct ctl_args, force)},
	{{"squibctl", "logs", "-f", "web"}, offsetof(struct ctl_args, run.follow)},
	{{"squibctl", "stop", "-w"}, offsetof(struct ctl_args, waits)},
	{{"squibctl", "exec", "-it", "web", "sh"}, offsetof(struct ctl_args, run.tty)},
	{{"squibctl", "ps", "-aq"}, offsetof(struct ctl_args, run.quiet)},
	{{"squibctl", "inspect", "--json", "web"}, offsetof(struct ctl_args, run.json)},
};

Test(ctl_args, letters_are_those_of_the_command)
{
	struct ctl_args args;
	struct error err = {0};

	for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
		cr_expect_eq(parse(texts[i].argv, &args, &err), 0, "%s", err.msg);
		const char *value = *(const char **)((char *)&args + texts[i].member);

		cr_expect_str_eq(value != NULL ? value : "(none)", texts[i].value, "%s %s",
				 texts[i].argv[1], texts[i].argv[2]);
	}
	for (size_t i = 0; i < ARRAY_COUNT(switches); i++) {
		cr_expect_eq(parse(switches[i].argv, &args, &err), 0, "%s", err.msg);
		cr_expect(*(bool *)((char *)&args + switches[i].member), "%s %s",
			  switches[i].argv[1], switches[i].argv[2]);
	}
}

Test(ctl_args, several_machines_may_be_named)
{
	const char *const argv[ARGV_MAX] = {"squibctl", "rm", "a", "b"};
	struct ctl_args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0, "%s", err.msg);
	cr_expect_str_eq(args.operands[1], "b");
	cr_expect_null(args.operands[2]);
}

Test(ctl_args, operands_may_be_a_dash_or_follow_two)
{
	const char *const lone[ARGV_MAX] = {"squibctl", "put", "/vm", "-"};
	const char *const after[ARGV_MAX] = {"squibctl", "patch", "/vm", "--", "--"};
	struct ctl_args args;
	struct error err = {0};

	cr_assert_eq(parse(lone, &args, &err), 0, "%s", err.msg);
	cr_expect_str_eq(args.operands[1], "-");
	cr_assert_eq(parse(after, &args, &err), 0, "%s", err.msg);
	cr_expect_str_eq(args.operands[1], "--");
}

Test(ctl_args, words_of_a_load_are_kept)
{
	const char *const argv[] = {
		"squibctl",	   "load",     "s",	  "--uffd", "u",
		"--drive",	   "a=1",      "--net",	  "b=2",    "--drive",
		"c=d=3",	   "--resume", "--vsock", "v",	    "--track-dirty",
		"--clock-realtime"};
	struct ctl_args args;
	struct error err = {0};

	cr_assert_eq(ctl_args_parse(ARRAY_COUNT(argv), (char *const *)argv, &args, &err), 0, "%s",
		     err.msg);
	cr_expect(args.resume && !args.paused && args.track_dirty && args.clock_realtime);
	cr_expect_str_eq(args.uffd, "u");
	cr_expect_str_eq(args.vsock, "v");
	cr_assert(args.drives.count == 2 && args.nets.count == 1);
	cr_expect_str_eq(args.drives.items[1], "c=d=3");
}

Test(ctl_args, an_option_may_be_there_so_often_and_no_more)
{
	const char *argv[4 + 2 * (CTL_WORDS_MAX + 1)] = {"squibctl", "load", "s", "m"};
	struct ctl_args args;
	struct error err = {0};

	for (int i = 0; i < CTL_WORDS_MAX + 1; i++) {
		argv[4 + 2 * i] = "--net";
		argv[5 + 2 * i] = "a=b";
	}
	cr_assert_eq(ctl_args_parse(4 + 2 * CTL_WORDS_MAX, (char *const *)argv, &args, &err), 0);
	cr_assert_eq(ctl_args_parse(6 + 2 * CTL_WORDS_MAX, (char *const *)argv, &args, &err), -1);
	cr_expect_str_eq(err.msg, "--net is there more than 32 times");
}

Test(ctl_args, no_message_ends_with_a_blank)
{
	const char *const argv[ARGV_MAX] = {"squibctl", "start", "now"};
	struct ctl_args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), -1);
	cr_expect_str_eq(err.msg, "'now' is one word too many: squibctl start");
}

Test(ctl_args, a_command_has_a_help_of_its_own)
{
	const char *const argv[ARGV_MAX] = {"squibctl", "pool", "--help"};
	char help[4096] = "";
	FILE *out = fmemopen(help, sizeof(help), "w");
	struct ctl_args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0);
	cr_expect(args.wants_help);
	ctl_print_command_help(args.command, out);
	cr_assert_eq(fclose(out), 0);
	cr_expect_not_null(
		strstr(help, "Usage: squibctl [OPTION...] pool start|take|status|stop DIR"));
	cr_expect_not_null(strstr(help, "--listens PATH"));
	cr_expect_null(strstr(help, "--entrypoint"));
	cr_expect_not_null(
		strstr(help, "3 no machine\ngot ready in 30 s, or nobody keeps the pool"));
}

Test(ctl_args, help_and_version_need_no_command)
{
	const char *const help[ARGV_MAX] = {"squibctl", "-h"};
	const char *const version[ARGV_MAX] = {"squibctl", "--version"};
	struct ctl_args args;
	struct error err = {0};

	cr_expect_eq(parse(help, &args, &err), 0);
	cr_expect(args.wants_help);
	cr_expect_eq(parse(version, &args, &err), 0);
	cr_expect(args.wants_version);
}

Test(ctl_args, the_default_socket_is_squibs)
{
	const char *const argv[ARGV_MAX] = {"squibctl", "start"};
	const char *const squib[] = {"squib"};
	struct ctl_args args;
	struct args squib_args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0, "%s", err.msg);
	cr_assert_eq(args_parse(1, (char *const *)squib, &squib_args, &err), 0, "%s", err.msg);
	cr_expect_str_eq(args.socket, squib_args.api_sock);
}

Test(ctl_args, faults_that_a_user_can_mend_have_a_hint)
{
	cr_expect_not_null(ctl_hint("The requested operation is not supported before starting the "
				    "microVM."));
	cr_expect_not_null(ctl_hint("SendCtrlAltDel does not supported on aarch64."));
	cr_expect_null(ctl_hint("The requested operation is not known"));
}

Test(ctl_args, the_manual_page_has_every_command_and_option)
{
	AUTO_FREE char *page = document("docs/man/squibctl.1");

	for (const struct ctl_command *command = ctl_commands(); command->name != NULL; command++) {
		char entry[64];

		snprintf(entry, sizeof(entry), "\n.B%s %s%s",
			 command->operands[0] != '\0' ? "I" : "", command->name,
			 command->operands[0] != '\0' ? " \"" : "\n");
		cr_expect_not_null(strstr(page, entry), "docs/man/squibctl.1 lacks%s", entry);
	}
	for (const struct ctl_option *option = ctl_options(); option->name != NULL; option++) {
		char entry[64];

		snprintf(entry, sizeof(entry), "\\-\\-%s", roff(option->name));
		cr_expect_not_null(strstr(page, entry), "docs/man/squibctl.1 lacks %s", entry);
	}
}

Test(ctl_args, the_manual_page_names_every_resource_of_the_api)
{
	AUTO_FREE char *page = document("docs/man/squibctl.1");
	AUTO_FREE char *api = document("api/squib.yaml");
	unsigned count = 0;

	for (char *line = strtok(api, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		char resource[64];

		if (sscanf(line, "  %63[/a-z-]", resource) == 1 && resource[0] == '/') {
			resource[1 + strcspn(resource + 1, "/")] = '\0';
			cr_expect_not_null(strstr(page, roff(resource)),
					   "docs/man/squibctl.1 lacks %s", resource);
			count++;
		}
	}
	cr_expect_gt(count, 20);
}

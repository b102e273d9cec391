/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/cpu_template_helper/helper_args.c, and that the manual page knows what it knows.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/flags_told.h"
#include "tools/cpu_template_helper/helper_args.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

static int parse(const char *const argv[TOLD_ARGV_MAX], struct command_line *line,
		 struct error *err)
{
	char *copy[TOLD_ARGV_MAX + 1];
	int argc = argv_copy(argv, copy);

	return helper_args_parse(argc, copy, line, err);
}

Test(helper_args, commands_of_firecracker_are_read_as_there)
{
	static const struct {
		const char *argv[TOLD_ARGV_MAX];
		enum helper_task task;
		enum helper_flag flag;
		const char *value;
	} cases[] = {
		{{"h", "template", "dump"}, HELPER_TEMPLATE_DUMP, HELPER_OUTPUT, "cpu_config.json"},
		{{"h", "template", "dump", "--output", "V"},
		 HELPER_TEMPLATE_DUMP,
		 HELPER_OUTPUT,
		 "V"},
		{{"h", "template", "dump", "-c", "V", "-ta"},
		 HELPER_TEMPLATE_DUMP,
		 HELPER_CONFIG,
		 "V"},
		{{"h", "template", "verify", "--template=V"},
		 HELPER_TEMPLATE_VERIFY,
		 HELPER_TEMPLATE,
		 "V"},
		{{"h", "template", "strip", "-p", "a", "b"},
		 HELPER_TEMPLATE_STRIP,
		 HELPER_SUFFIX,
		 "_stripped"},
		{{"h", "template", "strip", "--suffix", "", "--paths", "a", "b"},
		 HELPER_TEMPLATE_STRIP,
		 HELPER_SUFFIX,
		 ""},
		{{"h", "fingerprint", "dump"},
		 HELPER_FINGERPRINT_DUMP,
		 HELPER_OUTPUT,
		 "fingerprint.json"},
		{{"h", "fingerprint", "compare", "-p", "V", "-c", "b"},
		 HELPER_FINGERPRINT_COMPARE,
		 HELPER_PREV,
		 "V"},
		{{"h", "fingerprint", "compare", "-p", "a", "-c", "V"},
		 HELPER_FINGERPRINT_COMPARE,
		 HELPER_CURR,
		 "V"},
		{{"h", "common", "a", "-o", "V", "b"}, HELPER_COMMON, HELPER_OUTPUT, "V"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct command_line line;
		struct error err = {0};

		cr_assert_eq(parse(cases[i].argv, &line, &err), 0, "case %zu: %s", i, err.msg);
		cr_expect_eq(line.command->task, (int)cases[i].task, "case %zu", i);
		cr_expect_str_eq(line.values[cases[i].flag], cases[i].value, "case %zu", i);
	}
}

Test(helper_args, a_list_ends_at_the_next_flag)
{
	const char *const strip[TOLD_ARGV_MAX] = {"h",	"template", "strip",   "-p", "a", "b",
						  "-s", "x",	    "--paths", "c",  "d"};
	const char *const compare[TOLD_ARGV_MAX] = {
		"h",  "fingerprint", "compare", "-f", "bios_version", "guest_cpu_config",
		"-p", "a",	     "-c",	"b"};
	struct command_line line;
	struct error err = {0};

	cr_assert_eq(parse(strip, &line, &err), 0, "%s", err.msg);
	cr_assert_eq(line.word_count, 4);
	cr_expect_str_eq(line.words[1], "b");
	cr_expect_str_eq(line.words[3], "d");
	cr_expect_null(line.words[4]);
	cr_assert_eq(parse(compare, &line, &err), 0, "%s", err.msg);
	cr_assert_eq(line.word_count, 2);
	cr_expect_str_eq(line.words[1], "guest_cpu_config");
}

static const struct {
	const char *argv[TOLD_ARGV_MAX];
	const char *msg;
} faults[] = {
	{{"h"}, "a subcommand is missing"},
	{{"h", "template"}, "unrecognized subcommand 'template'"},
	{{"h", "template", "frob"}, "unrecognized subcommand 'template frob'"},
	{{"h", "template", "dump", "x"}, "unexpected argument 'x' found"},
	{{"h", "template", "dump", "-c", "x", "y"}, "unexpected argument 'y' found"},
	{{"h", "template", "dump", "-p", "x"}, "template dump takes no --paths"},
	{{"h", "template", "strip"}, "template strip takes two files or more, and 0 are named"},
	{{"h", "template", "strip", "-p", "x"},
	 "template strip takes two files or more, and 1 are named"},
	{{"h", "template", "strip", "-p", "x", "-s", "y", "z"}, "unexpected argument 'z' found"},
	{{"h", "fingerprint", "compare", "-p", "x"},
	 "the following required argument was not provided: --curr <PATH>"},
	{{"h", "fingerprint", "compare", "-p", "x", "-c", "y", "-f", "bios"},
	 "invalid value 'bios' for '--filters <FIELD>...': it is one of firecracker_version, "
	 "kernel_version, microcode_version, bios_version, bios_revision, guest_cpu_config"},
	{{"h", "explain"}, "the following required argument was not provided: <FILES>..."},
	{{"h", "explain", "a", "b", "c"}, "explain takes two files, and 3 are named"},
	{{"h", "common", "a"}, "common takes two files or more, and 1 are named"},
};

Test(helper_args, each_fault_is_told)
{
	for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
		struct command_line line;
		struct error err = {0};

		cr_expect_eq(parse(faults[i].argv, &line, &err), -1, "%s", faults[i].msg);
		cr_expect_str_eq(err.msg, faults[i].msg);
	}
}

Test(helper_args, the_manual_page_has_every_command_with_its_flags)
{
	expect_page_has_commands("docs/man/cpu-template-helper.1", &helper_commands);
}

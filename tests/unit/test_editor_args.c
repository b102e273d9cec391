/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/snapshot_editor/editor_args.c, and that the manual page knows what it knows. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/flags_told.h"
#include "tools/snapshot_editor/editor_args.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

static int parse(const char *const argv[TOLD_ARGV_MAX], struct editor_args *args, struct error *err)
{
	char *copy[TOLD_ARGV_MAX + 1];
	int argc = argv_copy(argv, copy);

	return editor_args_parse(argc, copy, args, err);
}

Test(editor_args, commands_of_firecracker_are_read_as_there)
{
	static const struct {
		const char *argv[TOLD_ARGV_MAX];
		enum editor_task task;
		enum editor_flag flag;
	} cases[] = {
		{{"e", "edit-memory", "rebase", "--memory-path", "a", "--diff-path", "V"},
		 EDITOR_REBASE,
		 EDITOR_DIFF_PATH},
		{{"e", "edit-memory", "rebase", "-dV", "-m", "a"}, EDITOR_REBASE, EDITOR_DIFF_PATH},
		{{"e", "info-vmstate", "version", "-v", "V"},
		 EDITOR_INFO_VERSION,
		 EDITOR_VMSTATE_PATH},
		{{"e", "info-vmstate", "vcpu-states", "--vmstate-path=V"},
		 EDITOR_INFO_VCPU_STATES,
		 EDITOR_VMSTATE_PATH},
		{{"e", "info-vmstate", "vm-state", "-v", "V"},
		 EDITOR_INFO_VM_STATE,
		 EDITOR_VMSTATE_PATH},
		{{"e", "edit-vmstate", "remove-regs", "1", "-v", "a", "-o", "V"},
		 EDITOR_REMOVE_REGS,
		 EDITOR_OUTPUT_PATH},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct editor_args args;
		struct error err = {0};

		cr_assert_eq(parse(cases[i].argv, &args, &err), 0, "case %zu: %s", i, err.msg);
		cr_expect_eq(args.command->task, cases[i].task, "case %zu", i);
		cr_expect_str_eq(args.values[cases[i].flag], "V", "case %zu", i);
	}
}

Test(editor_args, ids_of_registers_are_decimal_or_hex)
{
	const char *const argv[TOLD_ARGV_MAX] = {
		"e", "edit-vmstate", "remove-regs", "0x603000000013c020",      "17", "-v",
		"a", "-o",	     "b",	    "18446744073709551615 0X1"};
	struct editor_args args;
	struct error err = {0};

	cr_assert_eq(parse(argv, &args, &err), 0, "%s", err.msg);
	cr_assert_eq(args.reg_count, 4);
	cr_expect_eq(args.regs[0], 0x603000000013c020);
	cr_expect_eq(args.regs[1], 17);
	cr_expect_eq(args.regs[2], UINT64_MAX);
	cr_expect_eq(args.regs[3], 1);
}

#define REGS "e", "edit-vmstate", "remove-regs", "-v", "a", "-o", "b"

static const struct {
	const char *argv[TOLD_ARGV_MAX];
	const char *msg;
} faults[] = {
	{{"e"}, "a subcommand is missing"},
	{{"e", "frob"}, "unrecognized subcommand 'frob'"},
	{{"e", "edit-memory"}, "unrecognized subcommand 'edit-memory'"},
	{{"e", "edit-memory", "frob"}, "unrecognized subcommand 'edit-memory frob'"},
	{{"e", "verif", "-v", "a"}, "unrecognized subcommand 'verif -v'"},
	{{"e", "verify"},
	 "the following required argument was not provided: --vmstate-path <PATH>"},
	{{"e", "verify", "-v"}, "a value is required for '-v'"},
	{{"e", "verify", "-v", "a", "--frob"}, "unexpected argument '--frob' found"},
	{{"e", "verify", "-v", "a", "b"}, "unexpected argument 'b' found"},
	{{"e", "verify", "-v", "a", "--level", "3"}, "verify takes no --level"},
	{{"e", "verify", "-v", "a", "-v", "b"},
	 "the argument '--vmstate-path <PATH>' cannot be used multiple times"},
	{{"e", "compress", "-m", "a", "-o", "b", "-l", "0"},
	 "--level is a number from 1 to 19, not '0'"},
	{{"e", "compress", "-m", "a", "-o", "b", "-l", "20"},
	 "--level is a number from 1 to 19, not '20'"},
	{{"e", "compress", "-m", "a", "-o", "b", "-l", "3x"},
	 "--level is a number from 1 to 19, not '3x'"},
	{{REGS}, "the following required argument was not provided: <REGS>..."},
	{{REGS, "x"}, "'x' is no id of a register: it is a number, 0x for hex"},
	{{REGS, "0xg"}, "'0xg' is no id of a register: it is a number, 0x for hex"},
	{{REGS, "18446744073709551616"},
	 "'18446744073709551616' is no id of a register: it is a number, 0x for hex"},
	{{REGS, "000000000000000000001"}, "'000000000000000000001' is no id of a register"},
};

Test(editor_args, each_fault_is_told)
{
	for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
		struct editor_args args;
		struct error err = {0};

		cr_expect_eq(parse(faults[i].argv, &args, &err), -1, "%s", faults[i].msg);
		cr_expect_str_eq(err.msg, faults[i].msg);
	}
}

Test(editor_args, help_and_version_win_over_what_is_missing)
{
	static const char *const cases[][TOLD_ARGV_MAX] = {
		{"e", "--help"}, {"e", "-h"}, {"e", "verify", "--help"}, {"e", "sign", "-h"}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct editor_args args;
		struct error err = {0};

		cr_expect(parse(cases[i], &args, &err) == 0 && args.wants_help, "case %zu", i);
	}
}

Test(editor_args, the_manual_page_has_every_command_with_its_flags)
{
	expect_page_has_commands("docs/man/snapshot-editor.1", &editor_commands);
}

/* A page that only names another one is read by those alone who have installed both. */
Test(editor_args, the_older_name_has_a_manual_page_of_its_own)
{
	AUTO_FREE char *page = document("docs/man/rebase-snap.1");

	cr_expect_null(strstr(page, "\n.so "));
	cr_expect_not_null(strstr(page, "\\-\\-base\\-file"));
	cr_expect_not_null(strstr(page, "\\-\\-diff\\-file"));
}

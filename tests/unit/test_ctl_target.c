/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/squibctl/ctl_target.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/squibctl/ctl_target.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/bytes.h"

static char home[] = "/tmp/squib-target-XXXXXX";

/* A machine that runs, whose squib is this process. */
static void make_machine(void)
{
	struct machine machine;
	struct error err = {0};

	cr_assert(mkdtemp(home) != NULL && setenv("XDG_RUNTIME_DIR", home, 1) == 0);
	cr_assert_eq(ctl_machine_create("web", &machine, &err), 0, "%s", err.msg);
	json_object_set_new(machine.record, "started", json_true());
	ctl_machine_set_process(&machine, "squib", getpid());
	cr_assert_eq(ctl_machine_save(&machine, &err), 0, "%s", err.msg);
	ctl_machine_close(&machine);
	cr_assert(chdir("/usr") == 0);
}

static void remove_machine(void)
{
	ctl_remove_tree(home);
}

static int find(const char *const argv[], int argc, struct ctl_args *args,
		struct ctl_target *target, struct error *err)
{
	cr_assert_eq(ctl_args_parse(argc, (char *const *)argv, args, err), 0, "%s", err->msg);
	return ctl_target_find(args, target, err);
}

Test(ctl_target, a_machine_has_its_own_socket, .init = make_machine, .fini = remove_machine)
{
	static const char *const commands[][4] = {
		{"squibctl", "pause", "web"},
		{"squibctl", "-m", "web", "resume"},
	};
	char socket[sizeof(home) + 32];

	snprintf(socket, sizeof(socket), "%s/squib/web/api.sock", home);
	for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
		struct ctl_target target;
		struct ctl_args args;
		struct error err = {0};

		cr_expect_eq(
			find(commands[i], commands[i][3] != NULL ? 4 : 3, &args, &target, &err), 0,
			"%s", err.msg);
		cr_expect_str_eq(args.socket, socket);
		ctl_target_close(&target);
	}
}

Test(ctl_target, without_a_name_nothing_changes)
{
	static const char *const argv[] = {"squibctl", "-s", "x", "snapshot", "state", "memory"};
	struct ctl_target target;
	struct ctl_args args;
	struct error err = {0};

	cr_expect_eq(find(argv, 6, &args, &target, &err), 0);
	cr_expect_str_eq(args.socket, "x");
	cr_expect_str_eq(args.operands[1], "memory");
	ctl_target_close(&target);
}

Test(ctl_target, files_are_named_from_here, .init = make_machine, .fini = remove_machine)
{
	static const char *const snapshot[] = {"squibctl", "-m", "web", "snapshot", "s", "/m"};
	static const char *const plug[] = {"squibctl", "plug",	  "-m",	    "web",    "--drive",
					   "a=b=c",    "--drive", "d=/e/f", "--pmem", "p=q"};
	struct ctl_target target;
	struct ctl_args args;
	struct error err = {0};

	cr_expect_eq(find(snapshot, 6, &args, &target, &err), 0, "%s", err.msg);
	cr_expect_str_eq(args.operands[0], "/usr/s");
	cr_expect_str_eq(args.operands[1], "/m");
	ctl_target_close(&target);
	cr_expect_eq(find(plug, 10, &args, &target, &err), 0, "%s", err.msg);
	cr_expect_str_eq(args.drives.items[0], "a=/usr/b=c");
	cr_expect_str_eq(args.drives.items[1], "d=/e/f");
	cr_expect_str_eq(args.pmems.items[0], "p=/usr/q");
	ctl_target_close(&target);
}

Test(ctl_target, who_is_not_there_is_told, .init = make_machine, .fini = remove_machine)
{
	static const char *const argv[] = {"squibctl", "pause", "mail"};
	struct ctl_target target;
	struct ctl_args args;
	struct error err = {0};

	cr_expect_eq(find(argv, 3, &args, &target, &err), -1);
	cr_expect(strstr(err.msg, "There is no machine with the name mail") != NULL);
	ctl_target_close(&target);
}

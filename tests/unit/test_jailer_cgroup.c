/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/jailer/cgroup.c, on a tree of plain files. */
#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/jailer/cgroup.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

/* A directory with a table of mounts and their mount points. */
struct tree {
	char dir[64];
	char mounts[96];
};

static char *path_in(const struct tree *tree, const char *name)
{
	static char path[PATH_MAX];

	(void)!snprintf(path, sizeof(path), "%s/%s", tree->dir, name);
	return path;
}

static void put(const struct tree *tree, const char *name, const char *text)
{
	FILE *out = fopen(path_in(tree, name), "w");

	cr_assert_not_null(out, "%s", name);
	fputs(text, out);
	cr_assert_eq(fclose(out), 0);
}

static void make(const struct tree *tree, const char *name)
{
	cr_assert(mkdir(path_in(tree, name), 0755) == 0 || errno == EEXIST, "%s", name);
}

static const char *get(const struct tree *tree, const char *name)
{
	static char text[256];
	FILE *in = fopen(path_in(tree, name), "r");

	if (in == NULL) {
		return "(none)";
	}
	size_t len = fread(text, 1, sizeof(text) - 1, in);

	text[len] = '\0';
	(void)!fclose(in);
	return text;
}

static void open_tree_of_files(struct tree *tree)
{
	strcpy(tree->dir, "/tmp/squib-cgroup-XXXXXX");
	cr_assert_not_null(mkdtemp(tree->dir));
	(void)!snprintf(tree->mounts, sizeof(tree->mounts), "%s/mounts", tree->dir);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static void close_tree(const struct tree *tree)
{
	cr_assert_eq(nftw(tree->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void put_mounts(const struct tree *tree, const char *fmt, ...)
{
	FILE *out = fopen(tree->mounts, "w");
	va_list args;

	va_start(args, fmt);
	vfprintf(out, fmt, args);
	va_end(args);
	cr_assert_eq(fclose(out), 0);
}

static struct cgroup_config config_of(unsigned version, const char *const settings[])
{
	struct cgroup_config config = {.version = version, .parent = "squib"};
	struct error err = {0};

	while (settings[config.setting_count] != NULL) {
		size_t i = config.setting_count++;

		cr_assert_eq(cgroup_setting_parse(settings[i], &config.settings[i], &err), 0, "%s",
			     err.msg);
	}
	return config;
}

/* The kernel makes files with a cgroup; here those that the test looks at are there before. */
static void make_v2(struct tree *tree, const char *handed_down)
{
	open_tree_of_files(tree);
	make(tree, "uni fied");
	make(tree, "uni fied/squib");
	make(tree, "uni fied/squib/vm");
	put(tree, "uni fied/cgroup.controllers", "cpuset cpu io memory\n");
	put(tree, "uni fied/cgroup.subtree_control", handed_down);
	put(tree, "uni fied/squib/cgroup.subtree_control", "");
	put(tree, "uni fied/squib/vm/memory.max", "max\n");
	put(tree, "uni fied/squib/vm/memory.high", "max\n");
	put(tree, "uni fied/squib/vm/cgroup.procs", "");
	put_mounts(tree,
		   "proc /proc proc rw 0 0\n"
		   "cgroup %s/v1 cgroup rw,memory 0 0\n"
		   "cgroup2 %s/uni\\040fied cgroup2 rw,nsdelegate 0 0\n",
		   tree->dir, tree->dir);
}

Test(jailer_cgroup, version_2_writes_settings_and_then_the_pid)
{
	const char *const settings[] = {"memory.max=64M", "memory.high=32M", NULL};
	struct cgroup_config config = config_of(2, settings);
	struct error err = {0};
	struct tree tree;

	make_v2(&tree, "");
	cr_expect_eq(cgroup_setup(&config, tree.mounts, "vm", 4711, &err), 0, "%s", err.msg);
	cr_expect_str_eq(get(&tree, "uni fied/squib/vm/memory.max"), "64M\n");
	cr_expect_str_eq(get(&tree, "uni fied/squib/vm/memory.high"), "32M\n");
	cr_expect_str_eq(get(&tree, "uni fied/squib/vm/cgroup.procs"), "4711\n");
	cr_expect_str_eq(get(&tree, "uni fied/cgroup.subtree_control"), "+memory\n");
	cr_expect_str_eq(get(&tree, "uni fied/squib/cgroup.subtree_control"), "+memory\n");
	close_tree(&tree);
}

Test(jailer_cgroup, version_2_leaves_alone_what_is_handed_down)
{
	const char *const settings[] = {"memory.max=64M", NULL};
	struct cgroup_config config = config_of(2, settings);
	struct error err = {0};
	struct tree tree;

	make_v2(&tree, "cpu memory\n");
	cr_expect_eq(cgroup_setup(&config, tree.mounts, "vm", 1, &err), 0, "%s", err.msg);
	cr_expect_str_eq(get(&tree, "uni fied/cgroup.subtree_control"), "cpu memory\n");
	close_tree(&tree);
}

Test(jailer_cgroup, version_2_makes_what_is_missing)
{
	const char *const settings[] = {"memory.max=64M", NULL};
	struct cgroup_config config = config_of(2, settings);
	struct error err = {0};
	struct tree tree;

	make_v2(&tree, "memory\n");
	config.parent = "squib/deep//er/";
	/* Plain directories have no files, so it gets as far as the first one. */
	cr_expect_eq(cgroup_setup(&config, tree.mounts, "other", 1, &err), -1);
	cr_expect_not_null(strstr(err.msg, "squib/deep/cgroup.subtree_control: No such file"), "%s",
			   err.msg);
	cr_expect_eq(access(path_in(&tree, "uni fied/squib/deep/er/other"), F_OK), 0);
	close_tree(&tree);
}

Test(jailer_cgroup, without_settings_version_2_joins_a_parent_that_is_there)
{
	const char *const settings[] = {NULL};
	struct cgroup_config config = config_of(2, settings);
	struct error err = {0};
	struct tree tree;

	make_v2(&tree, "");
	config.parent = "squib/vm";
	cr_expect_eq(cgroup_setup(&config, tree.mounts, "x", 99, &err), 0, "%s", err.msg);
	cr_expect_str_eq(get(&tree, "uni fied/squib/vm/cgroup.procs"), "99\n");
	config.parent = "nothing";
	cr_expect_eq(cgroup_setup(&config, tree.mounts, "x", 98, &err), 0, "%s", err.msg);
	cr_expect_neq(access(path_in(&tree, "uni fied/nothing"), F_OK), 0);
	config.parent = "squib";
	cr_expect_eq(cgroup_setup(&config, tree.mounts, "x", 97, &err), -1);
	cr_expect_eq(strncmp(err.msg, "Failed to move process to cgroup (/tmp/", 39), 0, "%s",
		     err.msg);
	cr_expect_not_null(strstr(err.msg, "pass any --cgroup parameters."), "%s", err.msg);
	close_tree(&tree);
}

static void make_v1(struct tree *tree)
{
	static const char *const dirs[] = {"cpuset", "cpuset/squib", "cpuset/squib/vm",
					   "cpu",    "cpu/squib",    "cpu/squib/vm"};

	open_tree_of_files(tree);
	for (size_t i = 0; i < ARRAY_COUNT(dirs); i++) {
		make(tree, dirs[i]);
	}
	put(tree, "cpuset/cpuset.cpus", "0-3\n");
	put(tree, "cpuset/cpuset.mems", "0\n");
	put(tree, "cpuset/squib/cpuset.cpus", "\n");
	put(tree, "cpuset/squib/cpuset.mems", "1\n");
	put(tree, "cpuset/squib/vm/cpuset.cpus", "\n");
	put(tree, "cpuset/squib/vm/cpuset.mems", "\n");
	put(tree, "cpuset/squib/vm/tasks", "");
	put(tree, "cpu/squib/vm/cpu.shares", "1024\n");
	put(tree, "cpu/squib/vm/cpuacct.usage", "0\n");
	put(tree, "cpu/squib/vm/tasks", "");
	/* Mount points may be symbolic links: they are the host's. */
	cr_assert_eq(symlink("cpu", path_in(tree, "linked")), 0);
	put_mounts(tree,
		   "cgroup2 %s/unified cgroup2 rw 0 0\n"
		   "cgroup %s/cpuset cgroup rw,cpuset 0 0\n"
		   "cgroup %s/linked cgroup rw,cpu,cpuacct 0 0\n",
		   tree->dir, tree->dir, tree->dir);
}

Test(jailer_cgroup, version_1_fills_what_is_empty_from_above)
{
	const char *const settings[] = {"cpuset.cpus=2", NULL};
	struct cgroup_config config = config_of(1, settings);
	struct error err = {0};
	struct tree tree;

	make_v1(&tree);
	cr_expect_eq(cgroup_setup(&config, tree.mounts, "vm", 5, &err), 0, "%s", err.msg);
	cr_expect_str_eq(get(&tree, "cpuset/squib/cpuset.cpus"), "0-3\n");
	cr_expect_str_eq(get(&tree, "cpuset/squib/cpuset.mems"), "1\n");
	cr_expect_str_eq(get(&tree, "cpuset/squib/vm/cpuset.cpus"), "2\n");
	cr_expect_str_eq(get(&tree, "cpuset/squib/vm/cpuset.mems"), "1\n");
	cr_expect_str_eq(get(&tree, "cpuset/squib/vm/tasks"), "5\n");
	close_tree(&tree);
}

Test(jailer_cgroup, version_1_moves_the_process_in_every_hierarchy)
{
	const char *const settings[] = {"cpuset.cpus=2", "cpu.shares=10", "cpuacct.usage=0", NULL};
	struct cgroup_config config = config_of(1, settings);
	struct error err = {0};
	struct tree tree;

	make_v1(&tree);
	cr_expect_eq(cgroup_setup(&config, tree.mounts, "vm", 6, &err), 0, "%s", err.msg);
	cr_expect_str_eq(get(&tree, "cpu/squib/vm/cpu.shares"), "10\n");
	cr_expect_str_eq(get(&tree, "cpu/squib/vm/tasks"), "6\n");
	cr_expect_str_eq(get(&tree, "cpuset/squib/vm/tasks"), "6\n");
	close_tree(&tree);
}

Test(jailer_cgroup, version_1_says_where_there_is_nothing_to_inherit)
{
	const char *const settings[] = {"cpuset.cpus=2", NULL};
	struct cgroup_config config = config_of(1, settings);
	struct error err = {0};
	struct tree tree;

	make_v1(&tree);
	put(&tree, "cpuset/cpuset.cpus", "\n");
	cr_expect_eq(cgroup_setup(&config, tree.mounts, "vm", 5, &err), -1);
	cr_expect_eq(strncmp(err.msg,
			     "Failed to inherit cgroups configurations from file cpuset.cpus in "
			     "path /tmp/",
			     75),
		     0, "%s", err.msg);
	close_tree(&tree);
}

Test(jailer_cgroup, what_the_host_lacks_is_named)
{
	static const struct {
		unsigned version;
		const char *setting;
		const char *mounts;
		const char *msg;
	} cases[] = {
		{1, "pids.max=1", "cgroup /c cgroup rw,cpuset 0 0\n",
		 "Controller pids is unavailable"},
		{1, "cpu.shares=1", "cgroup /c cgroup rw,cpuacct 0 0\n",
		 "Controller cpu is unavailable"},
		{1, "cpu.shares=1", "cgroup2 /c cgroup2 rw 0 0\n",
		 "Hierarchy not found: No hierarchy found for this cgroup version. This host has "
		 "the "
		 "other one: add --cgroup-version 2"},
		{2, "cpu.weight=1", "cgroup /c cgroup rw,cpu 0 0\n",
		 "Hierarchy not found: No hierarchy found for this cgroup version. This host has "
		 "the "
		 "other one: add --cgroup-version 1"},
		{2, "cpu.weight=1", "cgroup2 /nowhere cgroup2 rw 0 0\n",
		 "Controller cpu is unavailable"},
		{1, "cpu.shares=1", "",
		 "Hierarchy not found: No hierarchy found for this cgroup version."},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const char *const settings[] = {cases[i].setting, NULL};
		struct cgroup_config config = config_of(cases[i].version, settings);
		struct error err = {0};
		struct tree tree;

		open_tree_of_files(&tree);
		put(&tree, "mounts", cases[i].mounts);
		cr_expect_eq(cgroup_setup(&config, tree.mounts, "vm", 1, &err), -1, "case %zu", i);
		cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
		close_tree(&tree);
	}
}

Test(jailer_cgroup, without_settings_version_1_needs_no_cgroups)
{
	struct cgroup_config config = {.version = 1, .parent = "squib"};
	struct error err = {0};

	cr_expect_eq(cgroup_setup(&config, "/nonexistent", "vm", 1, &err), 0);
}

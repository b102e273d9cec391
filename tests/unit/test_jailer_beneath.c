/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/jailer/beneath.c, and of populate.c's files. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/jailer/beneath.h"
#include "tools/jailer/populate.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

/* The working directory of each test: `in` is what the jailer works below, `out` is the host's. */
static struct beneath_dir in;
static char home[] = "/tmp/squib-beneath-XXXXXX";

static void put(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");

	cr_assert_not_null(out, "%s", path);
	fputs(text, out);
	cr_assert_eq(fclose(out), 0);
}

static void set_up(void)
{
	struct error err = {0};

	cr_assert_not_null(mkdtemp(home));
	cr_assert_eq(chdir(home), 0);
	cr_assert(mkdir("in", 0755) == 0 && mkdir("out", 0755) == 0);
	put("out/file", "host's");
	cr_assert_eq(beneath_open("in", &in, &err), 0, "%s", err.msg);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static void tear_down(void)
{
	beneath_close(&in);
	cr_assert_eq(nftw(home, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

TestSuite(jailer_beneath, .init = set_up, .fini = tear_down);

enum planted {
	LINK_TO_FILE,
	LINK_TO_DIR,
	LINK_TO_NOTHING,
	LINK_ABSOLUTE,
	HARD_LINK,
	FIFO,
	DIRECTORY,
	SOCKET,
	PLAIN
};

static void plant(enum planted kind, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	AUTO_FD fd = -1;

	switch (kind) {
	case LINK_TO_FILE:
		cr_assert_eq(symlink("../out/file", path), 0);
		break;
	case LINK_TO_DIR:
		cr_assert_eq(symlink("../out", path), 0);
		break;
	case LINK_TO_NOTHING:
		cr_assert_eq(symlink("../out/new", path), 0);
		break;
	case LINK_ABSOLUTE:
		cr_assert_eq(symlink("/proc/self/root", path), 0);
		break;
	case HARD_LINK:
		cr_assert_eq(link("out/file", path), 0);
		break;
	case FIFO:
		cr_assert_eq(mkfifo(path, 0666), 0);
		break;
	case DIRECTORY:
		cr_assert_eq(mkdir(path, 0777), 0);
		break;
	case SOCKET:
		strcpy(address.sun_path, path);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
		break;
	case PLAIN:
		put(path, "planted");
		break;
	}
}

static void expect_host_untouched(enum planted kind)
{
	struct stat st;
	char text[16] = "";
	FILE *file = fopen("out/file", "r");

	cr_expect_not_null(fgets(text, sizeof(text), file));
	(void)!fclose(file);
	cr_expect_str_eq(text, "host's", "object %d", kind);
	cr_expect_neq(lstat("out/new", &st), 0, "object %d", kind);
}

Test(jailer_beneath, a_file_replaces_plain_files_and_nothing_else)
{
	static const struct {
		enum planted kind;
		const char *msg; /* NULL: fine */
	} cases[] = {
		{LINK_TO_FILE, "Failed to open in/f: Symbolic link loop (os error 40)"},
		{LINK_TO_DIR, "Failed to open in/f: Symbolic link loop (os error 40)"},
		{LINK_TO_NOTHING, "Failed to open in/f: Symbolic link loop (os error 40)"},
		{LINK_ABSOLUTE, "Failed to open in/f: Symbolic link loop (os error 40)"},
		{HARD_LINK, "Detected hard link at: in/f"},
		{FIFO, "in/f is not a file"},
		{SOCKET, "in/f is not a file"},
		{DIRECTORY, "Failed to open in/f: Is a directory (os error 21)"},
		{PLAIN, NULL},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err = {0};
		AUTO_FD fd = -1;

		plant(cases[i].kind, "in/f");
		int status = beneath_replace_file(&in, "f", 0600, &fd, &err);

		cr_expect_eq(status, cases[i].msg != NULL ? -1 : 0, "object %d", cases[i].kind);
		if (cases[i].msg != NULL) {
			cr_expect_str_eq(err.msg, cases[i].msg, "object %d: %s", cases[i].kind,
					 err.msg);
		} else {
			cr_expect_eq(lseek(fd, 0, SEEK_END), 0);
		}
		expect_host_untouched(cases[i].kind);
		cr_assert_eq(remove("in/f"), 0);
	}
}

Test(jailer_beneath, a_new_file_replaces_nothing)
{
	for (enum planted kind = LINK_TO_FILE; kind <= PLAIN; kind++) {
		struct beneath_owner owner = {.uid = getuid(), .gid = getgid()};
		struct error err = {0};

		plant(kind, "in/f");
		cr_expect_eq(beneath_new_file(&in, "f", "text", owner, &err), -1, "object %d",
			     kind);
		cr_expect_eq(strncmp(err.msg, "Failed to open file in/f: ", 26), 0, "%s", err.msg);
		expect_host_untouched(kind);
		cr_assert_eq(remove("in/f"), 0);
	}
}

Test(jailer_beneath, only_directories_are_entered)
{
	for (enum planted kind = LINK_TO_FILE; kind <= PLAIN; kind++) {
		struct beneath_dir dir = BENEATH_NONE;
		struct error err = {0};

		plant(kind, "in/d");
		int status = beneath_enter(&in, "d/below", &dir, &err);

		cr_expect_eq(status, kind == DIRECTORY ? 0 : -1, "object %d", kind);
		if (kind != DIRECTORY) {
			cr_expect_eq(strncmp(err.msg, "Failed to create directory in/d: ", 33), 0,
				     "%s", err.msg);
		} else {
			cr_expect_eq(rmdir("in/d/below"), 0);
		}
		cr_expect_neq(access("out/below", F_OK), 0);
		beneath_close(&dir);
		cr_assert_eq(remove("in/d"), 0);
	}
}

Test(jailer_beneath, parts_that_are_missing_are_made)
{
	struct beneath_dir dir = BENEATH_NONE;
	struct error err = {0};
	struct stat st;

	cr_assert_eq(beneath_enter(&in, "a/b//c", &dir, &err), 0, "%s", err.msg);
	cr_expect_str_eq(dir.path, "in/a/b/c");
	cr_expect(stat("in/a/b/c", &st) == 0 && S_ISDIR(st.st_mode));
	beneath_close(&dir);
}

Test(jailer_beneath, two_dots_do_not_lead_out)
{
	struct beneath_dir dir = BENEATH_NONE;
	struct error err = {0};

	cr_expect_eq(beneath_enter(&in, "a/../../out", &dir, &err), -1);
	cr_expect_neq(access("out/a", F_OK), 0);
}

Test(jailer_beneath, a_device_replaces_nothing)
{
	struct beneath_owner owner = {.uid = 1, .gid = 2};

	if (geteuid() != 0) {
		cr_skip_test("needs root");
	}
	for (enum planted kind = LINK_TO_FILE; kind <= PLAIN; kind++) {
		struct error err = {0};

		plant(kind, "in/null");
		cr_expect_eq(beneath_new_device(&in, "null", makedev(1, 3), owner, &err), -1);
		cr_expect_str_eq(err.msg, "Failed to create in/null via mknod inside the jail: "
					  "File exists (os error 17)");
		expect_host_untouched(kind);
		cr_assert_eq(remove("in/null"), 0);
	}
}

/* --- populate.c --- */

Test(jailer_beneath, misc_devices_are_found_by_their_whole_name)
{
	unsigned minor = 0;

	put("misc", "234 btrfs-control\n57 userfaultfd2\n257 userfaultfd\n232 kvm\nx y\n");
	cr_expect(populate_find_misc("misc", "userfaultfd", &minor));
	cr_expect_eq(minor, 257);
	cr_expect(populate_find_misc("misc", "kvm", &minor));
	cr_expect_eq(minor, 232);
	cr_expect_not(populate_find_misc("misc", "btrfs", &minor));
	cr_expect_not(populate_find_misc("misc", "y", &minor));
	cr_expect_not(populate_find_misc("none", "kvm", &minor));
}

#define JAIL_CPU "in/sys/devices/system/cpu/cpu0"

Test(jailer_beneath, the_cpus_files_are_copied_where_there_is_a_midr)
{
	struct beneath_owner owner = {.uid = getuid(), .gid = getgid()};
	struct error err = {0};
	struct stat st;

	cr_assert(mkdir("cpu", 0755) == 0 && mkdir("cpu/cache", 0755) == 0 &&
		  mkdir("cpu/cache/index0", 0755) == 0 && mkdir("cpu/cache/index2", 0755) == 0);
	put("cpu/cache/index0/level", "1\n");
	put("cpu/cache/index0/ways_of_associativity", "8\n");
	cr_assert_eq(populate_cpu("cpu", &in, owner, &err), 0, "%s", err.msg);
	cr_expect_neq(access("in/sys", F_OK), 0, "not without a midr_el1");

	cr_assert(mkdir("cpu/regs", 0755) == 0 && mkdir("cpu/regs/identification", 0755) == 0);
	put("cpu/regs/identification/midr_el1", "0x00000000410fd0c0\n");
	cr_assert_eq(populate_cpu("cpu", &in, owner, &err), 0, "%s", err.msg);
	cr_expect(stat(JAIL_CPU "/regs/identification/midr_el1", &st) == 0 && st.st_size == 19);
	cr_expect(stat(JAIL_CPU "/cache/index0/level", &st) == 0 && st.st_size == 2);
	cr_expect_neq(access(JAIL_CPU "/cache/index0/ways_of_associativity", F_OK), 0);
	cr_expect_neq(access(JAIL_CPU "/cache/index2", F_OK), 0, "the first gap ends the list");

	cr_expect_eq(populate_cpu("cpu", &in, owner, &err), -1);
	cr_expect_not_null(strstr(err.msg, "midr_el1: File exists"), "%s", err.msg);
}

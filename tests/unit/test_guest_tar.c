/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/guest_init/tar*.c: trees that go through an archive, and archives that mean no
 * good. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/guest_init/tar.h"
#include "vmm/base/bytes.h"

enum {
	ENTRIES_MAX = 4
};

static char home[] = "/tmp/squib-tar-XXXXXX";
static struct tar_fault fault;

/* An empty directory, which is the working directory, with "in" in it. */
static void enter_home(void)
{
	cr_assert(mkdtemp(home) != NULL && chdir(home) == 0 && mkdir("in", 0755) == 0);
}

static void sh(const char *command)
{
	cr_assert_eq(system(command), 0, "%s", command);
}

static void leave_home(void)
{
	char command[sizeof("rm -r ") + sizeof(home)];

	cr_assert(chdir("/") == 0);
	snprintf(command, sizeof(command), "rm -r %s", home);
	sh(command);
}

static bool pack(const char *path)
{
	int fd = open("archive", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	bool is_done = tar_pack(fd, path, &fault);

	close(fd);
	return is_done;
}

static bool unpack(const char *path)
{
	int fd = open("archive", O_RDONLY);
	bool is_done = tar_unpack(fd, path, &fault);

	close(fd);
	return is_done;
}

#define LONG_40 "0123456789012345678901234567890123456789"

Test(guest_tar, a_tree_goes_through_an_archive, .init = enter_home, .fini = leave_home)
{
	sh("mkdir -p tree/sub/" LONG_40 LONG_40 "/" LONG_40 LONG_40 "/" LONG_40 LONG_40 LONG_40
	   " tree/empty && cd tree && echo x >sub/" LONG_40 LONG_40 "/" LONG_40 LONG_40 "/" LONG_40
	   " && echo a >a && chmod 751 a && head -c 100000 /dev/urandom >big && : >nothing"
	   " && ln -s a near && ln -s /etc/" LONG_40 LONG_40 LONG_40 " far && touch -d 2001-02-03 a"
	   " && mkfifo pipe");
	cr_expect(pack("tree/"), "%s", fault.text);
	cr_expect_eq(fault.left_out, 1);
	cr_expect(unpack("in"), "%s", fault.text);
	sh("rm tree/pipe && diff -r --no-dereference tree in/tree");
	sh("test \"$(stat -c '%a %Y' tree/a)\" = \"$(stat -c '%a %Y' in/tree/a)\"");
	/* A second time over what is there, and by another name. */
	cr_expect(unpack("in"), "%s", fault.text);
	cr_expect(unpack("other"), "%s", fault.text);
	sh("diff -r --no-dereference tree in/tree && diff -r --no-dereference tree other");
	/* Its content, without itself. */
	cr_expect(pack("tree/.") && unpack("in"), "%s", fault.text);
	sh("rm -r in/tree && diff -r --no-dereference tree in");
	cr_expect(pack("tree/.") && unpack("third"), "%s", fault.text);
	sh("diff -r --no-dereference tree third");
}

Test(guest_tar, a_file_has_the_name_of_its_destination, .init = enter_home, .fini = leave_home)
{
	sh("echo a >a");
	cr_expect(pack("a"));
	cr_expect(unpack("in") && unpack("in/b") && unpack("b"), "%s", fault.text);
	sh("cmp a in/a && cmp a in/b && cmp a b");
	cr_expect(!unpack("none/"));
	cr_expect_str_eq(fault.text, "Cannot open the directory none/: No such file or directory");
	cr_expect(!unpack("none/b"));
	cr_expect(!pack("none"));
	cr_expect_str_eq(fault.text, "Cannot look at none: No such file or directory");
	/* A directory takes no file's place, nor a file a directory's. */
	cr_expect(pack("in") && !unpack("b"));
	cr_expect_str_eq(fault.text, "Cannot make the directory in/: File exists");
	sh("rm in/a && mkdir in/a");
	cr_expect(pack("a") && !unpack("in"));
	cr_expect_str_eq(fault.text, "Cannot replace a: Is a directory");
}

static const char *const formats[] = {"gnu", "pax", "ustar"};

Test(guest_tar, others_read_and_write_the_same, .init = enter_home, .fini = leave_home)
{
	char command[PATH_MAX];

	sh("mkdir -p tree/" LONG_40 "/" LONG_40 "/" LONG_40 " && cd tree && echo x >" LONG_40
	   "/" LONG_40 "/" LONG_40 "/f && echo y >a && ln a hard && ln -s hard soft");
	for (size_t i = 0; i < ARRAY_COUNT(formats); i++) {
		snprintf(command, sizeof(command), "tar c --format=%s tree >archive", formats[i]);
		sh(command);
		cr_expect(unpack("in"), "%s: %s", formats[i], fault.text);
		sh("diff -r --no-dereference tree in/tree && rm -r in/tree");
	}
	cr_expect(pack("tree"), "%s", fault.text);
	sh("tar x -C in <archive && diff -r --no-dereference tree in/tree");
}

/* --- archives that mean no good --- */

static const struct {
	struct tar_head entries[ENTRIES_MAX]; /* each with 512 bytes if it has a size */
	const char *part;		      /* of the sentence */
} bad[] = {
	{{{.kind = TAR_FILE, .name = "../x"}}, "a name that leads elsewhere: ../x"},
	{{{.kind = TAR_FILE, .name = "/x"}}, "leads elsewhere"},
	{{{.kind = TAR_FILE, .name = "a/../../x"}}, "leads elsewhere"},
	{{{.kind = TAR_DIR, .name = ".."}}, "leads elsewhere"},
	{{{.kind = TAR_FILE, .name = "./"}}, "a file without a name"},
	{{{.kind = TAR_SYMLINK, .name = "."}}, "a file without a name"},
	{{{.kind = TAR_SYMLINK, .name = "d", .link = ".."}, {.kind = TAR_FILE, .name = "d/x"}},
	 "Cannot go into the directory of d/x: Not a directory"},
	{{{.kind = TAR_SYMLINK, .name = "d", .link = ".."}, {.kind = TAR_DIR, .name = "d/x"}},
	 "Not a directory"},
	{{{.kind = TAR_SYMLINK, .name = "d", .link = ".."},
	  {.kind = TAR_LINK, .name = "x", .link = "d/victim"}},
	 "Not a directory"},
	{{{.kind = TAR_LINK, .name = "x", .link = "../victim"}}, "a link that leads elsewhere"},
	{{{.kind = TAR_LINK, .name = "x", .link = "/etc/passwd"}}, "a link that leads elsewhere"},
	{{{.kind = TAR_LONG_NAME, .name = "l", .size = 5000}}, "a name that is too long"},
	{{{.kind = TAR_PAX, .name = "l", .size = 1ULL << 40}}, "members that are too long"},
	{{{.kind = TAR_PAX, .name = "l", .size = 512}}, "members that are malformed"},
	{{{.kind = TAR_FILE, .name = "x", .size = UINT64_MAX >> 2}}, "cut off, behind: x"},
	{{{.kind = 'S', .name = "x", .size = 1024}}, "cut off"},
};

static void write_archive(const struct tar_head *entries)
{
	int fd = open("archive", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	uint8_t block[TAR_BLOCK];

	for (unsigned i = 0; i < ENTRIES_MAX && entries[i].kind != 0; i++) {
		tar_head_write(&entries[i], block);
		cr_assert_eq(write(fd, block, sizeof(block)), sizeof(block));
		memset(block, '9', sizeof(block));
		if (entries[i].size > 0) {
			cr_assert_eq(write(fd, block, sizeof(block)), sizeof(block));
		}
	}
	close(fd);
}

Test(guest_tar, nothing_is_made_outside, .init = enter_home, .fini = leave_home)
{
	sh("echo mine >victim");
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		write_archive(bad[i].entries);
		cr_expect(!unpack("in"), "%zu", i);
		cr_expect(strstr(fault.text, bad[i].part) != NULL, "%zu: %s", i, fault.text);
		cr_expect(!unpack("in/renamed"), "%zu", i);
		sh("test \"$(echo *)\" = 'archive in victim' && test \"$(cat victim)\" = mine && "
		   "rm -rf in/*");
	}
}

Test(guest_tar, what_is_there_is_replaced_and_not_written_to, .init = enter_home,
     .fini = leave_home)
{
	static const struct tar_head entries[] = {
		{.kind = TAR_FILE, .mode = 06777, .name = "link", .size = 512}, {.kind = 0}};

	sh("echo mine >victim && ln -s ../victim in/link");
	write_archive(entries);
	/* Cut off behind the file. */
	cr_expect(!unpack("in"));
	sh("test \"$(cat victim)\" = mine && test ! -L in/link");
	sh("test \"$(stat -c '%a %s' in/link)\" = '777 512'");
	sh("ln -f victim in/link");
	cr_expect(!unpack("in"));
	sh("test \"$(cat victim)\" = mine");
}

Test(guest_tar, what_is_no_archive_is_told, .init = enter_home, .fini = leave_home)
{
	sh(": >archive");
	cr_expect(!unpack("in"));
	cr_expect_str_eq(fault.text, "The archive is cut off, behind: ");
	sh("head -c 1024 /dev/urandom >archive");
	cr_expect(!unpack("in"));
	cr_expect_str_eq(fault.text, "This is no tar archive, behind: ");
}

Test(guest_tar, a_tree_that_is_too_deep_is_refused, .init = enter_home, .fini = leave_home)
{
	cr_assert(chdir("in") == 0);
	for (unsigned i = 0; i < TAR_DEPTH_MAX; i++) {
		cr_assert(mkdir("d", 0755) == 0 && chdir("d") == 0);
	}
	cr_assert(chdir(home) == 0);
	cr_expect(pack("in/d"), "%s", fault.text);
	cr_expect(!pack("in"));
	cr_expect(strstr(fault.text, "Cannot go as deep as in/d/d") != NULL, "%s", fault.text);
}

static const char *const malformed[] = {
	"path=x\n",
	"0 path=x\n",
	"7 path=x\n",
	"99 path=x\n",
	"9 path=x",
	"9\n",
	"99999999999999999999 path=x\n",
	"12 size=12a\n",
};

Test(guest_tar, pax_members)
{
	static struct tar_head head;

	cr_expect(tar_pax_read("11 path=ab\n13 linkpath=\n14 size=12345\n8 a=b=c\n", 46, &head));
	cr_expect_str_eq(head.name, "ab");
	cr_expect_eq(head.size, 12345);
	for (size_t i = 0; i < ARRAY_COUNT(malformed); i++) {
		cr_expect(!tar_pax_read(malformed[i], strlen(malformed[i]), &head), "%zu", i);
	}
}

static const uint64_t numbers[] = {0, 7, 0777777777777, 01000000000000, UINT64_MAX >> 1};

Test(guest_tar, numbers_of_heads_are_as_large_as_they_are)
{
	static struct tar_head head = {.kind = TAR_FILE, .name = "x", .uid = UINT32_MAX};
	static struct tar_head got;
	uint8_t block[TAR_BLOCK];

	for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
		head.size = numbers[i];
		tar_head_write(&head, block);
		cr_expect(tar_head_read(block, &got));
		cr_expect(got.size == numbers[i] && got.uid == UINT32_MAX, "%zu", i);
	}
	block[0] ^= 1;
	cr_expect(!tar_head_read(block, &got));
}

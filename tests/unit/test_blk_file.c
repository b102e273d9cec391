/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the file behind a drive. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/virtio/blk/blk.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"

static char path[] = "/tmp/squib-blk-XXXXXX";

static int log_fd;

static void set_up(void)
{
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	close(fd);
	log_fd = capture_log(LOG_WARN);
}

static void tear_down(void)
{
	unlink(path);
	rmdir(path);
}

TestSuite(blk_file, .init = set_up, .fini = tear_down);

static void make_fifo(void)
{
	cr_assert(unlink(path) == 0 && mkfifo(path, 0600) == 0);
}

static void make_folder(void)
{
	cr_assert(unlink(path) == 0 && mkdir(path, 0700) == 0);
}

Test(blk_file, the_size_is_counted_in_sectors_and_a_tail_dropped)
{
	static const struct {
		off_t size;
		uint64_t sectors;
	} cases[] = {{0, 0}, {511, 0}, {512, 1}, {1023, 1}, {1 << 20, 2048}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct blk_file file = {.fd = -1};
		struct error err = {0};

		cr_assert_eq(truncate(path, cases[i].size), 0);
		cr_assert_eq(blk_file_open(path, false, &file, &err), 0, "%s", err.msg);
		cr_assert_eq(file.sectors, cases[i].sectors, "%lu", (unsigned long)file.sectors);
		blk_file_close(&file);
		cr_assert_eq(file.fd, -1);
	}
	cr_assert_not_null(strstr(captured(log_fd), "Disk size 1023 is not a multiple of sector "
						    "size 512; the remainder will not be visible"));
}

Test(blk_file, the_id_is_made_of_device_and_inode_numbers)
{
	struct blk_file file = {.fd = -1};
	struct error err = {0};
	struct stat st;
	char expected[64] = {0};

	cr_assert_eq(stat(path, &st), 0);
	snprintf(expected, sizeof(expected), "%ju%ju%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)st.st_rdev, (uintmax_t)st.st_ino);
	cr_assert_eq(blk_file_open(path, true, &file, &err), 0, "%s", err.msg);
	cr_assert_arr_eq(file.id, expected, sizeof(file.id));
	blk_file_close(&file);
}

Test(blk_file, a_file_in_memory_is_known_as_one)
{
	char memory[64];
	int fd = memfd_create("disk", MFD_CLOEXEC);
	const struct {
		const char *path;
		bool is_in_memory;
	} cases[] = {{memory, true}, {"/proc/version", false}, {"/dev/null", false}};

	snprintf(memory, sizeof(memory), "/proc/self/fd/%d", fd);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct blk_file file = {.fd = -1};
		struct error err = {0};

		cr_assert_eq(blk_file_open(cases[i].path, true, &file, &err), 0, "%s", err.msg);
		cr_assert_eq(file.is_in_memory, cases[i].is_in_memory, "%s", cases[i].path);
		blk_file_close(&file);
	}
	close(fd);
}

Test(blk_file, the_descriptor_is_ours_alone_and_waits_for_the_disk)
{
	static const struct {
		bool is_read_only;
		int mode;
	} cases[] = {{true, O_RDONLY}, {false, O_RDWR}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct blk_file file = {.fd = -1};
		struct error err = {0};

		cr_assert_eq(blk_file_open(path, cases[i].is_read_only, &file, &err), 0);
		int flags = fcntl(file.fd, F_GETFL);

		cr_assert_eq(flags & O_ACCMODE, cases[i].mode);
		cr_assert_eq(flags & O_NONBLOCK, 0);
		cr_assert_eq(fcntl(file.fd, F_GETFD), FD_CLOEXEC);
		blk_file_close(&file);
	}
}

Test(blk_file, a_file_that_is_not_there_is_named_as_clients_know_it)
{
	struct blk_file file = {.fd = -1};
	struct error err = {0};

	cr_assert_eq(blk_file_open("/nonexistent/disk", false, &file, &err), -1);
	cr_assert_str_eq(err.msg, "Error manipulating the backing file: No such file or directory "
				  "(os error 2) /nonexistent/disk");
	cr_assert_eq(err.kind, ERR_HOST);
	cr_assert_eq(err.sys, ENOENT);
	cr_assert_eq(file.fd, -1);
}

Test(blk_file, only_regular_files_and_block_devices_are_opened)
{
	static const struct {
		const char *name;
		void (*make)(void);
		bool is_read_only;
	} cases[] = {
		{"a FIFO to read", make_fifo, true},
		{"a FIFO", make_fifo, false},
		{"a folder to read", make_folder, true},
		{"a folder", make_folder, false},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct blk_file file = {.fd = -1};
		struct error err = {0};

		cases[i].make();
		cr_assert_eq(blk_file_open(path, cases[i].is_read_only, &file, &err), -1, "%s",
			     cases[i].name);
		cr_assert_eq(strncmp(err.msg, "Error manipulating the backing file: ", 37), 0);
		cr_assert_eq(file.fd, -1);
		tear_down();
		cr_assert_geq(close(creat(path, 0600)), 0);
	}
}

Test(blk_file, a_character_device_has_no_sectors)
{
	struct blk_file file = {.fd = -1};
	struct error err = {0};

	cr_assert_eq(blk_file_open("/dev/zero", true, &file, &err), 0, "%s", err.msg);
	cr_assert_eq(file.sectors, 0);
	blk_file_close(&file);
}

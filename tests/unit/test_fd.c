/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/fd.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

Test(fd, close_is_idempotent_and_keeps_errno)
{
	int fd = dup(1);
	int was = fd;

	errno = EXDEV;
	fd_close(&fd);
	cr_assert(fd == -1 && errno == EXDEV && !is_open(was));
	errno = EXDEV;
	fd_close(&fd);
	cr_assert(fd == -1 && errno == EXDEV);
}

Test(fd, auto_fd_closes_unless_taken)
{
	int closed;
	int taken;

	{
		AUTO_FD one = dup(1);
		AUTO_FD two = dup(1);

		closed = one;
		taken = fd_take(&two);
		cr_assert(two == -1);
	}
	cr_assert(!is_open(closed) && is_open(taken));
}

Test(fd, auto_free_leaves_null)
{
	char *block = malloc(1);

	free_pointer(&block);
	cr_assert(block == NULL);
	free_pointer(&block);
}

Test(fd, open_file_gives_length_and_close_on_exec)
{
	char path[] = "/tmp/test_fd_XXXXXX";
	int made = mkstemp(path);
	int fd = -1;
	uint64_t len = 0;
	struct error err = {0};

	cr_assert(write(made, "abc", 3) == 3);
	cr_assert(fd_open_file(path, "The file", &fd, &len, &err) == 0, "%s", err.msg);
	cr_assert(len == 3 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	close(fd);
	cr_assert(fd_open_file(path, "The file", &fd, NULL, &err) == 0);
	unlink(path);
}

Test(fd, open_file_refuses_what_could_block_for_ever, .timeout = 5)
{
	char dir[] = "/tmp/test_fd_XXXXXX";
	char fifo[64];

	cr_assert(mkdtemp(dir) != NULL);
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	cr_assert(mkfifo(fifo, 0600) == 0);
	struct {
		const char *path;
		const char *sentence;
	} cases[] = {
		{fifo, "is not a regular file"},
		{dir, "is not a regular file"},
		{"/dev/null", "is not a regular file"},
		{"/tmp/no/such/file", "No such file or directory (os error 2)"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int fd = -1;
		struct error err = {0};

		cr_expect(fd_open_file(cases[i].path, "The kernel file", &fd, NULL, &err) == -1);
		cr_expect(fd == -1);
		cr_expect(strstr(err.msg, cases[i].sentence) != NULL, "%s", err.msg);
		cr_expect(strncmp(err.msg, "The kernel file", 15) == 0, "%s", err.msg);
	}
	unlink(fifo);
	rmdir(dir);
}

Test(fd, pread_full_reads_exactly_or_fails)
{
	static const struct {
		size_t len;
		uint64_t offset;
		int result;
		enum error_kind kind;
	} cases[] = {
		{6, 0, 0, ERR_NONE},	 {2, 4, 0, ERR_NONE},	  {0, 100, 0, ERR_NONE},
		{7, 0, -1, ERR_CORRUPT}, {1, 6, -1, ERR_CORRUPT}, {1, UINT64_MAX, -1, ERR_HOST},
	};
	int fd = file_of("abcdef", 6);

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char buf[8] = {0};
		struct error err = {0};

		cr_expect(pread_full(fd, buf, cases[i].len, cases[i].offset, &err) ==
				  cases[i].result,
			  "case %zu", i);
		cr_expect(err.kind == cases[i].kind, "case %zu", i);
		if (cases[i].result == 0) {
			cr_expect(memcmp(buf, &"abcdef"[cases[i].offset % 7], cases[i].len) == 0);
		}
	}
}

Test(fd, read_file_gives_text_with_nul)
{
	char path[] = "/tmp/test_fd_XXXXXX";
	int made = mkstemp(path);
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	struct error err = {0};

	cr_assert(write(made, "hello", 5) == 5);
	cr_assert(read_file(path, "The file", 5, &text, &len, &err) == 0, "%s", err.msg);
	cr_assert_str_eq(text, "hello");
	cr_assert(len == 5);
	char *untouched = NULL;

	cr_assert(read_file(path, "The file", 4, &untouched, &len, &err) == -1);
	cr_assert(err.kind == ERR_TOO_LARGE && untouched == NULL);
	unlink(path);
}

Test(fd, closed_standard_descriptors_are_opened_on_nothing)
{
	struct error err = {0};
	struct stat st;

	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	cr_assert_eq(fd_open_standard(&err), 0, "%s", err.msg);
	cr_expect(fstat(STDIN_FILENO, &st) == 0 && S_ISCHR(st.st_mode));
	cr_expect(fstat(STDOUT_FILENO, &st) == 0 && S_ISCHR(st.st_mode));

	int next = open("/dev/null", O_RDONLY);

	cr_expect_gt(next, STDERR_FILENO);
	close(next);
}

Test(fd, all_descriptors_but_some_are_closed)
{
	/* In a process of its own: criterion has descriptors, too. */
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		struct error err = {0};
		int first = fcntl(STDOUT_FILENO, F_DUPFD, 3);
		int second = fcntl(STDOUT_FILENO, F_DUPFD, 20);
		int third = fcntl(STDOUT_FILENO, F_DUPFD, 90);
		int keep[] = {third, -1, first};

		if (fd_close_all_but(keep, 3, &err) < 0 || fcntl(first, F_GETFD) < 0 ||
		    fcntl(second, F_GETFD) >= 0 || fcntl(third, F_GETFD) < 0 ||
		    fcntl(third + 1, F_GETFD) >= 0 || fcntl(STDERR_FILENO, F_GETFD) < 0) {
			_exit(1);
		}
		_exit(0);
	}
	cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid);
	cr_expect_eq(status, 0);
}

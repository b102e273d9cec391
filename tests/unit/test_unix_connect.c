/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/unix_connect.c. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/unix_connect.h"
#include "vmm/base/unix_listen.h"

static char dir[] = "/tmp/squib-unix-XXXXXX";

static void set_up(void)
{
	cr_assert(mkdtemp(dir) != NULL && chdir(dir) == 0);
}

static void tear_down(void)
{
	cr_assert(chdir("/") == 0 && rmdir(dir) == 0);
}

TestSuite(unix_connect, .init = set_up, .fini = tear_down);

Test(unix_connect, reaches_who_listens_and_never_waits)
{
	struct error err = {0};
	AUTO_FD listener = -1;
	AUTO_FD fd = -1;

	cr_assert(unix_listen("there", false, &listener) == UNIX_LISTENS);
	cr_assert_eq(unix_connect("there", &fd, &err), 0, "%s", err.msg);
	cr_expect((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	cr_expect((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	cr_assert(unlink("there") == 0);
}

/* A listener whose queue is full, which a connect that waits would wait for. */
static int listen_to_nobody(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct error err = {0};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	AUTO_FD waits = -1;

	memcpy(address.sun_path, path, strlen(path) + 1);
	cr_assert(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	cr_assert(listen(fd, 0) == 0);
	cr_assert_eq(unix_connect(path, &waits, &err), 0, "%s", err.msg);
	return fd;
}

Test(unix_connect, what_can_not_be_reached_has_a_sentence)
{
	char longest[UNIX_PATH_MAX + 2];

	memset(longest, 'l', UNIX_PATH_MAX + 1);
	longest[UNIX_PATH_MAX + 1] = '\0';
	fd_close(&(int){open("file", O_CREAT | O_CLOEXEC, 0600)});
	AUTO_FD busy = listen_to_nobody("busy");
	unsigned fds = kvm_fake_open_fds();
	const struct {
		const char *path;
		const char *message;
	} cases[] = {
		{"", "The path of a back-end's socket has 1 to 107 bytes, not 0"},
		{longest, "The path of a back-end's socket has 1 to 107 bytes, not 108"},
		{"gone", "Failed to connect to UDS Unix stream: No such file or directory (os "
			 "error 2)"},
		{"file", "Failed to connect to UDS Unix stream: Connection refused (os error 111)"},
		{"busy", "Failed to connect to UDS Unix stream: Resource temporarily unavailable "
			 "(os error 11)"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err = {0};
		int fd = 7;

		cr_expect_eq(unix_connect(cases[i].path, &fd, &err), -1);
		cr_expect_str_eq(err.msg, cases[i].message);
		cr_expect_eq(fd, -1);
	}
	cr_expect_eq(kvm_fake_open_fds(), fds, "a descriptor leaks");
	cr_assert(unlink("file") == 0 && unlink("busy") == 0);
}

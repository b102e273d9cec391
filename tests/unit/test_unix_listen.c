/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/unix_listen.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
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

TestSuite(unix_listen, .init = set_up, .fini = tear_down);

Test(unix_listen, clients_can_connect_to_it)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "api"};
	AUTO_FD fd = -1;
	AUTO_FD client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(unix_listen("api", false, &fd) == UNIX_LISTENS);
	cr_assert(connect(client, (struct sockaddr *)&address, sizeof(address)) == 0);
	cr_assert((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	cr_assert((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	cr_assert(unlink("api") == 0);
}

Test(unix_listen, what_can_not_be_bound_has_a_cause_and_leaves_nothing)
{
	char longest[UNIX_PATH_MAX + 1];
	char too_long[UNIX_PATH_MAX + 2];
	struct stat st;

	memset(longest, 'l', UNIX_PATH_MAX);
	longest[UNIX_PATH_MAX] = '\0';
	snprintf(too_long, sizeof(too_long), "%sl", longest);
	fd_close(&(int){open("there", O_CREAT | O_CLOEXEC, 0600)});

	const struct {
		const char *path;
		enum unix_listen result;
		int sys;
	} cases[] = {
		{"", UNIX_PATH_EMPTY, 0},
		{too_long, UNIX_PATH_TOO_LONG, 0},
		{"there", UNIX_REFUSED, EADDRINUSE},
		{"none/api", UNIX_REFUSED, ENOENT},
		{longest, UNIX_LISTENS, 0},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		unsigned fds = kvm_fake_open_fds();
		int fd = -1;

		errno = 0;
		cr_expect(unix_listen(cases[i].path, false, &fd) == cases[i].result, "case %zu", i);
		cr_expect(cases[i].sys == 0 || errno == cases[i].sys, "case %zu: %d", i, errno);
		fd_close(&fd);
		cr_expect(kvm_fake_open_fds() == fds, "case %zu", i);
	}
	cr_assert(stat("there", &st) == 0 && S_ISREG(st.st_mode));
	cr_assert(unlink("there") == 0 && unlink(longest) == 0);
}

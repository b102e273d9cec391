/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/gmem_pager.c against a page fault handler that is a thread of the test. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_pager.h"
#include "vmm/base/gmem_pages.h"
#include "vmm/persist/memory_file.h"

enum {
	PAGE = 4096
};

static const struct gmem_range ranges[] = {{{0}, MIB}, {{8 * MIB}, MIB}};

/* The handler: what it was told, and how many pages it brought. */
static struct {
	char dir[32];
	char path[64];
	int listener;
	pthread_t thread;
	char message[512];
	int uffd;
	int socket;
	_Atomic unsigned brought;
} handler;

static void receive(void)
{
	struct iovec iov = {handler.message, sizeof(handler.message) - 1};
	char control[CMSG_SPACE(sizeof(int))];
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};

	handler.socket = accept(handler.listener, NULL, NULL);
	ssize_t len = recvmsg(handler.socket, &msg, MSG_CMSG_CLOEXEC);

	if (len > 0 && CMSG_FIRSTHDR(&msg) != NULL) {
		handler.message[len] = '\0';
		memcpy(&handler.uffd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	}
}

/* Each page is full of the byte that its place in the memory file says. */
static void bring(const struct uffd_msg *event, const unsigned long long *bases)
{
	static uint8_t page[PAGE];
	uint64_t address = event->arg.pagefault.address & ~(uint64_t)(PAGE - 1);
	uint64_t offset = address >= bases[1] && address < bases[1] + MIB ? address - bases[1] + MIB
									  : address - bases[0];

	memset(page, (int)(offset / PAGE % 251), sizeof(page));
	struct uffdio_copy copy = {.dst = address, .src = (uintptr_t)page, .len = PAGE};

	/* Before the page is there, whose reader looks at the count next. */
	atomic_fetch_add(&handler.brought, 1);
	cr_assert(ioctl(handler.uffd, UFFDIO_COPY, &copy) == 0);
}

static void *serve(void *arg)
{
	unsigned long long bases[2];

	receive();
	if (sscanf(handler.message,
		   "[{\"base_host_virt_addr\":%llu,\"size\":1048576,\"offset\":0,\"page_size\":"
		   "4096,"
		   "\"page_size_kib\":4096},{\"base_host_virt_addr\":%llu,\"size\":1048576,"
		   "\"offset\":1048576,",
		   &bases[0], &bases[1]) != 2) {
		return arg;
	}
	struct pollfd fds[] = {{.fd = handler.uffd, .events = POLLIN},
			       {.fd = handler.socket, .events = POLLIN}};

	while (poll(fds, 2, -1) > 0 && fds[1].revents == 0) {
		struct uffd_msg event;

		if (read(handler.uffd, &event, sizeof(event)) == sizeof(event) &&
		    event.event == UFFD_EVENT_PAGEFAULT) {
			bring(&event, bases);
		}
	}
	return arg;
}

static void start_handler(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(handler.dir, "/tmp/squib-pager-XXXXXX");
	cr_assert(mkdtemp(handler.dir) != NULL);
	snprintf(handler.path, sizeof(handler.path), "%s/socket", handler.dir);
	strcpy(address.sun_path, handler.path);
	handler.uffd = -1;
	handler.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(bind(handler.listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		  listen(handler.listener, 1) == 0);
	cr_assert(pthread_create(&handler.thread, NULL, serve, NULL) == 0);
}

static void end_handler(void)
{
	pthread_join(handler.thread, NULL);
	fd_close(&handler.uffd);
	fd_close(&handler.socket);
	fd_close(&handler.listener);
	unlink(handler.path);
	rmdir(handler.dir);
}

static struct gmem *make(void)
{
	struct gmem *mem = NULL;
	struct error err = {0};

	cr_assert(gmem_new(ranges, 2, GMEM_ANON, &mem, &err) == 0, "%s", err.msg);
	return mem;
}

Test(gmem_pager, pages_come_from_the_handler_when_they_are_touched, .timeout = 20)
{
	struct gmem *mem = make();
	struct gmem_pager pager = {0};
	struct error err = {0};
	uint8_t byte;

	start_handler();
	if (gmem_pager_open(mem, handler.path, &pager, &err) < 0 && err.sys == EPERM) {
		cr_skip_test("the host keeps userfaultfd from this user");
	}
	cr_assert(pager.is_made, "%s", err.msg);
	cr_assert(gmem_read(mem, GPA(5 * PAGE), &byte, 1) == 0 && byte == 5);
	cr_assert(gmem_read(mem, GPA(8 * MIB + PAGE), &byte, 1) == 0 && byte == (256 + 1) % 251);
	cr_assert(handler.brought == 2);

	/* A save has all of the memory, also what was not there yet. */
	char file[64];

	snprintf(file, sizeof(file), "%s/memory", handler.dir);
	cr_assert(memory_file_save(mem, file, NULL, &err) == 0, "%s", err.msg);
	AUTO_FD fd = open(file, O_RDONLY | O_CLOEXEC);

	for (unsigned page = 0; page < 512; page++) {
		cr_assert(pread(fd, &byte, 1, (off_t)page * PAGE) == 1 && byte == page % 251,
			  "page %u: %u", page, byte);
	}
	cr_assert(handler.brought == 512);
	unlink(file);
	gmem_free(mem);
	gmem_pager_close(&pager);
	end_handler();
}

/* In place of libc's, for all units: a host that swaps only where a test wants that. */
static bool host_swaps;

int sysinfo(struct sysinfo *info)
{
	*info = (struct sysinfo){.totalswap = host_swaps};
	return 0;
}

/* Without page tables, and where mincore(2) does not tell, a page that the guest cleared counts. */
Test(gmem_pager, what_was_behind_is_unknown_so_all_pages_are_own, .timeout = 20)
{
	struct gmem *mem = make();
	struct gmem_pager pager = {0};
	uint64_t bits[4] = {0};
	struct error err = {0};

	host_swaps = true;
	start_handler();
	if (gmem_pager_open(mem, handler.path, &pager, &err) < 0 && err.sys == EPERM) {
		cr_skip_test("the host keeps userfaultfd from this user");
	}
	cr_assert(pager.is_made, "%s", err.msg);
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/proc", "tmpfs", 0, NULL) < 0) {
		cr_skip_test("/proc can't be hidden from here");
	}
	cr_assert(gmem_own_pages(mem, 0, bits, &err) == 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(bits); i++) {
		cr_expect(bits[i] == UINT64_MAX, "word %zu: %#llx", i, (unsigned long long)bits[i]);
	}
	cr_expect(handler.brought == 0);
	gmem_free(mem);
	gmem_pager_close(&pager);
	end_handler();
}

Test(gmem_pager, without_a_handler_nothing_is_left)
{
	unsigned fds = kvm_fake_open_fds();
	struct gmem *mem = make();
	struct gmem_pager pager = {0};
	char path[200];

	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';

	const struct {
		const char *path;
		const char *message;
	} rows[] = {
		{"/nowhere/socket", "Failed to connect to UDS Unix stream: No such file or "
				    "directory (os error 2)"},
		{path, "Failed to connect to UDS Unix stream: Filename too long (os error 36)"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct error err = {0};

		cr_assert(gmem_pager_open(mem, rows[i].path, &pager, &err) == -1);
		cr_expect(err.sys == EPERM || strcmp(err.msg, rows[i].message) == 0, "%s", err.msg);
		cr_assert(!pager.is_made);
	}
	gmem_free(mem);
	cr_assert(kvm_fake_open_fds() == fds);
}

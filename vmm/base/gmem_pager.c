/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands guest memory to a page fault handler.
 *
 * Theory of operation. The handshake is Firecracker's, byte for byte: one message with a JSON array
 * of the regions, as many as there are, and the userfaultfd beside it. Nothing is read back. The
 * handler must serve UFFD_EVENT_REMOVE too, which a balloon's discards cause.
 */
#include "vmm/base/gmem_pager.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_internal.h"
#include "vmm/base/text.h"

/* Not in every libc's headers [linux Documentation/admin-guide/mm/userfaultfd.rst]. */
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

/*
 * The system call wants a privilege, since KVM's faults are the kernel's own; the device node
 * (Linux 6.1) wants only that it may be opened. A jail has the node.
 */
int gmem_pager_new_uffd(int *uffd, struct error *err)
{
	static const unsigned long flags = O_CLOEXEC | O_NONBLOCK;
	AUTO_FD node = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	*uffd = node >= 0 ? ioctl(node, USERFAULTFD_IOC_NEW, flags)
			  : (int)syscall(SYS_userfaultfd, flags);
	if (*uffd >= 0) {
		return 0;
	}
	error_sys(err, "Failed to UFFD object");
	return err->sys == EPERM || err->sys == EACCES
		       ? error_wrap(err, "The host keeps userfaultfd from this user; give it "
					 "/dev/userfaultfd, or set vm.unprivileged_userfaultfd=1")
		       : -1;
}

static int register_regions(const struct gmem *mem, int uffd, struct error *err)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE};

	if (ioctl(uffd, UFFDIO_API, &api) < 0) {
		return error_sys(err, "Failed to UFFD object");
	}
	for (size_t i = 0; i < mem->count; i++) {
		struct uffdio_register region = {
			.range = {.start = (uintptr_t)mem->regions[i].hva,
				  .len = mem->regions[i].len},
			.mode = UFFDIO_REGISTER_MODE_MISSING,
		};

		if (ioctl(uffd, UFFDIO_REGISTER, &region) < 0) {
			return error_sys(err, "Failed to register memory address range with the "
					      "userfaultfd object");
		}
	}
	return 0;
}

void gmem_describe(const struct gmem *mem, struct text *text)
{
	uint64_t offset = 0;

	for (size_t i = 0; i < mem->count; i++) {
		const struct gmem_region *region = &mem->regions[i];
		unsigned page = (unsigned)gmem_slot(mem, i).page_len;

		text_add(text,
			 "%s{\"base_host_virt_addr\":%llu,\"size\":%llu,\"offset\":%llu,"
			 "\"page_size\":%u,\"page_size_kib\":%u}",
			 i == 0 ? "[" : ",", (unsigned long long)(uintptr_t)region->hva,
			 (unsigned long long)region->len, (unsigned long long)offset, page, page);
		offset += region->len;
	}
	text_add(text, "]");
}

static int connect_to(const char *path, int *socket_fd, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	/* A handler that accepts nobody must not hold the VMM thread: a full backlog is an error.
	 */
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return error_sys(err, "Failed to connect to UDS Unix stream");
	}
	memcpy(address.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		return error_sys(err, "Failed to connect to UDS Unix stream");
	}
	*socket_fd = fd_take(&fd);
	return 0;
}

static int send_handshake(const struct gmem *mem, const struct gmem_pager *pager, struct error *err)
{
	char message[GMEM_DESCRIBE_MAX];
	struct text text;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};

	text_init(&text, message, sizeof(message));
	gmem_describe(mem, &text);

	struct iovec iov = {message, text.len};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &pager->uffd, sizeof(int));
	if (sendmsg(pager->socket, &msg, MSG_NOSIGNAL) != (ssize_t)text.len) {
		return error_sys(err, "Failed to sends file descriptor"); /* [compat] sic */
	}
	return 0;
}

int gmem_pager_open(struct gmem *mem, const char *path, struct gmem_pager *pager, struct error *err)
{
	*pager = (struct gmem_pager){.is_made = true, .uffd = -1, .socket = -1};
	if (gmem_pager_new_uffd(&pager->uffd, err) < 0 ||
	    register_regions(mem, pager->uffd, err) < 0 ||
	    connect_to(path, &pager->socket, err) < 0 || send_handshake(mem, pager, err) < 0) {
		gmem_pager_close(pager);
		return -1;
	}
	for (size_t i = 0; i < mem->count; i++) {
		mem->regions[i].is_paged = true;
	}
	return 0;
}

void gmem_pager_close(struct gmem_pager *pager)
{
	if (pager->is_made) {
		fd_close(&pager->uffd);
		fd_close(&pager->socket);
		*pager = (struct gmem_pager){0};
	}
}

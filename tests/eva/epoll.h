/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <sys/epoll.h> and <sys/eventfd.h> for EVA, since Frama-C can't read the system's, and an event
 * loop that takes sources or does not.
 */
#ifndef TESTS_EVA_EPOLL_H
#define TESTS_EVA_EPOLL_H

#include <stdint.h>

#include "tests/eva/error.h"
#include "tests/eva/eva.h"
#include "vmm/base/evloop.h"
#include "vmm/base/fd.h"

#define _SYS_EPOLL_H 1
#define _SYS_EVENTFD_H 1

enum {
	EPOLLIN = 0x1,
	EPOLLOUT = 0x4,
	EPOLLERR = 0x8,
	EPOLLHUP = 0x10,
	EFD_CLOEXEC = 02000000,
	EFD_NONBLOCK = 04000,
};

#define EPOLLET (1u << 31)

typedef uint64_t eventfd_t;

int eventfd(unsigned count, int flags)
{
	keep(count + (unsigned)flags);
	return (int)any_between(0, 1000);
}

int eventfd_write(int fd, eventfd_t value)
{
	keep((uint64_t)fd + value);
	return 0;
}

void fd_close(int *fd)
{
	*fd = -1;
}

int ev_add(struct evloop *loop, struct ev_source *source, uint32_t mask, struct error *err)
{
	(void)loop;
	(void)source;
	(void)mask;
	return any_bool() ? 0 : error_sys(err, "");
}

void ev_del(struct evloop *loop, struct ev_source *source)
{
	(void)loop;
	(void)source;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* <sys/epoll.h> and <sys/eventfd.h> for EVA, since Frama-C can't read the system's. */
#ifndef TESTS_EVA_EPOLL_H
#define TESTS_EVA_EPOLL_H

#include <stdint.h>

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

int eventfd(unsigned count, int flags);
int eventfd_write(int fd, eventfd_t value);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends of a conversation in frames, for units. */
#ifndef TESTS_LIB_FRAMES_PAIR_H
#define TESTS_LIB_FRAMES_PAIR_H

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>

#include "tools/guest_init/frames.h"

/* Whoever calls closes the descriptors. */
static inline void frames_pair(struct frames *one, struct frames *other)
{
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	memset(one, 0, sizeof(*one));
	memset(other, 0, sizeof(*other));
	one->fd = ends[0];
	other->fd = ends[1];
}

#endif

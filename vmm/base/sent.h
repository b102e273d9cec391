/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that a client sends with a request (SCM_RIGHTS), and the names by which the request
 * means them: "sent:0" is the first one. So a file gets into a jail that has no name for it.
 */
#ifndef VMM_BASE_SENT_H
#define VMM_BASE_SENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	SENT_MAX = 4 /* with one request */
};

/* Zeroed: none. The descriptors are the owner's until they are taken. */
struct sent {
	int fds[SENT_MAX]; /* negative: taken, or no regular file */
	size_t count;
	bool has_too_many; /* more came than there is room for; those are closed */
};

/*
 * recv(2) of a Unix socket, without flags; descriptors that come with the bytes are added,
 * close-on-exec. What is no regular file is closed, and remembered.
 */
ssize_t sent_receive(struct sent *sent, int socket, void *buf, size_t len);

/* Closes what was not taken; then there are none. */
void sent_close(struct sent *sent);

/* Whether `name` is one of a sent descriptor, and no path. */
bool sent_is_name(const char *name);

/*
 * Takes the descriptor that `name` means, a regular file; *fd is the caller's to close. Fails where
 * no such one has come, and for one that was taken. `sent` NULL: none came.
 */
MUST_CHECK int sent_take(struct sent *sent, const char *name, int *fd, struct error *err);

#endif

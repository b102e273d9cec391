/* SPDX-License-Identifier: Apache-2.0 */
/* Connects to Unix sockets of other programs. */
#ifndef VMM_BASE_UNIX_CONNECT_H
#define VMM_BASE_UNIX_CONNECT_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * Connects to a back-end's stream socket, without waiting: *fd is non-blocking and closed on exec,
 * and -1 after a failure. A path that no socket can have is ERR_BAD_REQUEST. The sentence for what
 * the host refuses is one that clients know [compat]. Any thread.
 */
MUST_CHECK int unix_connect(const char *path, int *fd, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of Unix sockets. */
#ifndef VMM_BASE_UNIX_ADDRESS_H
#define VMM_BASE_UNIX_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vmm/base/attr.h"

enum {
	UNIX_PATH_MAX = 107 /* bytes of a socket's path */
};

/*
 * The address of the socket at `path`. false: no socket can have that path, which is longer than
 * UNIX_PATH_MAX, or empty: that would be an abstract address that the kernel chooses.
 */
MUST_CHECK bool unix_address(const char *path, struct sockaddr_un *address);

#endif

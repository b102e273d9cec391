/* SPDX-License-Identifier: Apache-2.0 */
/* Makes Unix sockets that listen. */
#ifndef VMM_BASE_UNIX_LISTEN_H
#define VMM_BASE_UNIX_LISTEN_H

#include <stdbool.h>

#include "vmm/base/attr.h"
#include "vmm/base/unix_address.h"

enum unix_listen {
	UNIX_LISTENS,
	UNIX_PATH_EMPTY, /* an empty path would bind an abstract address that the kernel chooses */
	UNIX_PATH_TOO_LONG,
	UNIX_REFUSED, /* by the host: errno has the cause */
};

/*
 * Makes the file of a stream socket, which must not be there, and listens on it; *fd is
 * non-blocking and closed on exec. After a failure no file was made. Clients know each caller's
 * sentences for the causes, so those are the caller's. Of a private one, the file is for its owner
 * alone, whatever the umask.
 */
MUST_CHECK enum unix_listen unix_listen(const char *path, bool is_private, int *fd);

#endif

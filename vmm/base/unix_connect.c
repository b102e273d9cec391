/* SPDX-License-Identifier: Apache-2.0 */
/* Connecting to Unix sockets. */
#include "vmm/base/unix_connect.h"

#include <string.h>

#include "vmm/base/fd.h"
#include "vmm/base/unix_address.h"

int unix_connect(const char *path, int *fd, struct error *err)
{
	struct sockaddr_un address;

	*fd = -1;
	if (!unix_address(path, &address)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The path of a back-end's socket has 1 to %d bytes, not %zu",
				 UNIX_PATH_MAX, strlen(path));
	}
	AUTO_FD made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (made < 0) {
		return error_sys(err, "Cannot make a socket for a back-end");
	}
	if (connect(made, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		return error_sys(err, "Failed to connect to UDS Unix stream");
	}
	*fd = fd_take(&made);
	return 0;
}

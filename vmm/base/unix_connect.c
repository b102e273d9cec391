/* SPDX-License-Identifier: Apache-2.0 */
/* Connecting to Unix sockets. */
#include "vmm/base/unix_connect.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vmm/base/fd.h"

int unix_connect(const char *path, int *fd, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = strlen(path);

	*fd = -1;
	if (len == 0 || len >= sizeof(address.sun_path)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The path of a back-end's socket has 1 to %zu bytes, not %zu",
				 sizeof(address.sun_path) - 1, len);
	}
	memcpy(address.sun_path, path, len);
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

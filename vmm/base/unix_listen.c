/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets that listen. */
#include "vmm/base/unix_listen.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"

enum unix_listen unix_listen(const char *path, bool is_private, int *fd)
{
	struct sockaddr_un address;

	if (!unix_address(path, &address)) {
		return path[0] == '\0' ? UNIX_PATH_EMPTY : UNIX_PATH_TOO_LONG;
	}
	AUTO_FD made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	/* The file gets the mode of the socket [unix(7): what bind() makes], so it never has
	 * another. */
	if (made < 0 || (is_private && fchmod(made, S_IRUSR | S_IWUSR) < 0) ||
	    bind(made, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		return UNIX_REFUSED;
	}
	if (listen(made, SOMAXCONN) < 0) {
		int saved = errno;

		unlink(path);
		errno = saved;
		return UNIX_REFUSED;
	}
	*fd = fd_take(&made);
	return UNIX_LISTENS;
}

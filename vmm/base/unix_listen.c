/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets that listen. */
#include "vmm/base/unix_listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/fd.h"

_Static_assert(UNIX_PATH_MAX == sizeof(((struct sockaddr_un *)0)->sun_path) - 1, "with a NUL");

enum unix_listen unix_listen(const char *path, bool is_private, int *fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = strlen(path);

	if (len == 0) {
		return UNIX_PATH_EMPTY;
	}
	if (len > UNIX_PATH_MAX) {
		return UNIX_PATH_TOO_LONG;
	}
	memcpy(address.sun_path, path, len + 1);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of Unix sockets. */
#include "vmm/base/unix_address.h"

#include <string.h>

bool unix_address(const char *path, struct sockaddr_un *address)
{
	_Static_assert(UNIX_PATH_MAX == sizeof(address->sun_path) - 1, "with a NUL");
	size_t len = strlen(path);

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (len == 0 || len > UNIX_PATH_MAX) {
		return false;
	}
	memcpy(address->sun_path, path, len);
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Seals of memfds [linux memfd_create(2), fcntl(2)]. */
#include "vmm/persist/sealed.h"

#include <fcntl.h>

enum {
	ALL_SEALS = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL,
	NEEDED_SEALS = F_SEAL_WRITE | F_SEAL_SHRINK,
};

int sealed_check_open(int fd, const char *name, struct error *err)
{
	int seals = fcntl(fd, F_GET_SEALS);
	int flags = fcntl(fd, F_GETFL);

	if (seals < 0 || (seals & ALL_SEALS) != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "%s can't be sealed: a live snapshot goes to files by name, or to "
				 "empty memfds, made with MFD_ALLOW_SEALING",
				 name);
	}
	if (flags < 0 || (flags & O_ACCMODE) != O_RDWR) {
		return error_set(err, ERR_BAD_REQUEST, "%s is not open for reading and writing",
				 name);
	}
	return 0;
}

int sealed_close(int fd, const char *name, struct error *err)
{
	return fcntl(fd, F_ADD_SEALS, ALL_SEALS) == 0
		       ? 0
		       : error_sys(err,
				   "Cannot seal %s, as somebody has mapped it for writing perhaps",
				   name);
}

int sealed_check(int fd, const char *name, struct error *err)
{
	int seals = fcntl(fd, F_GET_SEALS);

	/* Files of a tmpfs have F_SEAL_SEAL alone: nobody could have sealed them. */
	return seals < 0 || seals == F_SEAL_SEAL || (seals & NEEDED_SEALS) == NEEDED_SEALS
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "%s is not sealed: who has it could cut or change it under the "
				   "guest; give it F_SEAL_WRITE and F_SEAL_SHRINK",
				   name);
}

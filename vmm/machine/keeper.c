/* SPDX-License-Identifier: Apache-2.0 */
/* A file's last holder, an io_uring. */
#include "vmm/machine/keeper.h"

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/fd.h"

/*
 * A file that is registered with an io_uring belongs to it as well, and the kernel takes an
 * io_uring apart in a worker thread [io_uring_register(2)]. So if the ring is the last to have the
 * file, that worker waits for the file's release. The ring is never enabled: who takes over the
 * process can't have it perform anything.
 */
int keeper_open(int fd)
{
	struct io_uring_params params = {.flags = IORING_SETUP_R_DISABLED};
	AUTO_FD ring = (int)syscall(SYS_io_uring_setup, 1, &params);

	if (ring < 0 || syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &fd, 1) < 0) {
		return -1;
	}
	return fd_take(&ring);
}

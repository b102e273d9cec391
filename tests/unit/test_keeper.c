/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/machine/keeper.c. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/machine/keeper.h"

Test(keeper, a_kept_file_is_released_without_us_when_its_keeper_is_closed)
{
	int ends[2];
	char byte;

	cr_assert(pipe2(ends, O_CLOEXEC) == 0);
	int keeper = keeper_open(ends[1]);

	cr_assert(keeper >= 0 && (fcntl(keeper, F_GETFD) & FD_CLOEXEC) != 0);
	fd_close(&ends[1]);
	/* End of file comes once nobody has the writing end. */
	struct pollfd reader = {.fd = ends[0], .events = POLLIN};

	cr_assert(poll(&reader, 1, 0) == 0);
	fd_close(&keeper);
	cr_assert(poll(&reader, 1, 10000) == 1 && read(ends[0], &byte, 1) == 0);
	close(ends[0]);
	cr_assert(keeper_open(-2) == -1);
}

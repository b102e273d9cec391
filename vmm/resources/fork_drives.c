/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of drives that are one machine's alone.
 *
 * Theory of operation. A machine that has been forked, and each child, holds a lock on the file of
 * each of its drives: on one that it writes to a lock of its own, on others one that readers share.
 * The locks belong to open files (F_OFD_SETLK), so the kernel compares files whatever their paths,
 * across all generations and requests, and drops the lock with its machine. A machine that can't be
 * forked takes none. [compat]
 */
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/clock.h"
#include "vmm/resources/fork_drives.h"

enum {
	/* An io_uring has its files a little longer than the process that it was of. */
	PATIENCE_MS = 300,
	STEP_MS = 5,
};

/* The first byte: other programs lock bytes further behind for purposes of theirs. */
static int lock(const struct drive *drive)
{
	struct flock lock = {
		.l_type = drive->config.is_read_only ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
		.l_len = 1,
	};

	return fcntl(drive->file.fd, F_OFD_SETLK, &lock);
}

/* Where there are no locks nobody has one. */
static bool is_in_use(const struct drive *drive)
{
	return lock(drive) < 0 && (errno == EAGAIN || errno == EACCES);
}

void fork_share_drives(const struct vm_config *config)
{
	for (size_t i = 0; i < config->drive_count; i++) {
		(void)lock(&config->drives[i]);
	}
}

static COLD int refuse(const struct blk_config *drive, struct error *err)
{
	return error_set(err, ERR_BAD_REQUEST,
			 "The file of drive `%s`, %s, is in use by the parent or another child, "
			 "and one of them writes to it: give each child a file of its own",
			 drive->drive_id, drive->path_on_host);
}

int fork_claim_drives(const struct vm_config *config, struct error *err)
{
	const struct timespec step = {.tv_nsec = STEP_MS * NS_PER_MS};
	unsigned left = PATIENCE_MS / STEP_MS;

	for (size_t i = 0; i < config->drive_count; i++) {
		const struct drive *drive = &config->drives[i];

		while (is_in_use(drive)) {
			if (left-- == 0) {
				return refuse(&drive->config, err);
			}
			(void)clock_nanosleep(CLOCK_REALTIME, 0, &step, NULL);
		}
	}
	return 0;
}

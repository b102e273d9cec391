/* SPDX-License-Identifier: Apache-2.0 */
/* Writes beside the file and renames. */
#include "tools/snapshot_editor/output.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/persist/durable.h"

int output_open(struct output *output, const char *path, struct error *err)
{
	struct stat st;

	*output = (struct output){.path = path, .fd = -1};
	/* A device or a link must not be replaced by a file: as root /dev/null would be gone. */
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Can not open output file %s: it is not a regular file", path);
	}
	int len = snprintf(output->temporary, sizeof(output->temporary), "%s.XXXXXX", path);

	if (len >= (int)sizeof(output->temporary)) {
		return error_set(err, ERR_BAD_REQUEST, "The name of the output is too long");
	}
	output->fd = mkostemp(output->temporary, O_CLOEXEC);
	return output->fd >= 0 ? 0 : error_sys(err, "Can not open output file %s", path);
}

int output_commit(struct output *output, struct error *err)
{
	if (durable_sync(output->fd, output->temporary, err) < 0) {
		return -1;
	}
	if (rename(output->temporary, output->path) < 0) {
		return error_sys(err, "Cannot rename the output to %s", output->path);
	}
	fd_close(&output->fd);
	return 0;
}

void output_discard(struct output *output)
{
	if (output->fd >= 0) {
		unlink(output->temporary);
		fd_close(&output->fd);
	}
}

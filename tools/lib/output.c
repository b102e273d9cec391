/* SPDX-License-Identifier: Apache-2.0 */
/* Writes beside the file and renames. */
#include "tools/lib/output.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/persist/durable.h"

static int check_inputs(const char *path, const struct stat *st, const char *const *inputs,
			struct error *err)
{
	for (; *inputs != NULL; inputs++) {
		struct stat input;

		if (stat(*inputs, &input) == 0 && input.st_dev == st->st_dev &&
		    input.st_ino == st->st_ino) {
			return error_set(err, ERR_BAD_REQUEST,
					 "The output %s is an input as well: name another file",
					 path);
		}
	}
	return 0;
}

int output_open(struct output *output, const char *path, const char *const *inputs,
		struct error *err)
{
	struct stat st;
	bool is_there = lstat(path, &st) == 0;

	*output = (struct output){.path = path, .fd = -1};
	/* A device or a link must not be replaced by a file: as root /dev/null would be gone. */
	if (is_there && !S_ISREG(st.st_mode)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Can not open output file %s: it is not a regular file", path);
	}
	if (is_there && check_inputs(path, &st, inputs, err) < 0) {
		return -1;
	}
	int len = snprintf(output->temporary, sizeof(output->temporary), "%s.XXXXXX", path);

	if (len >= (int)sizeof(output->temporary)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Can not open output file %.100s...: its name is too long", path);
	}
	output->fd = mkostemp(output->temporary, O_CLOEXEC);
	if (output->fd < 0 || (is_there && fchmod(output->fd, st.st_mode & 0777) < 0)) {
		return error_sys(err, "Can not open output file %s", path);
	}
	return 0;
}

static int sync_file(const struct output *output, struct error *err)
{
	return fsync(output->fd) == 0 ? 0 : error_sys(err, "Cannot sync %s", output->path);
}

int output_fill(struct output *output, const void *bytes, size_t len, struct error *err)
{
	return durable_fill(output->fd, output->path, bytes, len, err) < 0 ? -1
									   : sync_file(output, err);
}

int output_commit(struct output *output, struct error *err)
{
	if (sync_file(output, err) < 0) {
		return -1;
	}
	if (rename(output->temporary, output->path) < 0) {
		return error_sys(err, "Cannot give the output its name %s", output->path);
	}
	fd_close(&output->fd);
	return durable_sync_directory(output->path, err);
}

void output_discard(struct output *output)
{
	if (output->fd >= 0) {
		unlink(output->temporary);
		fd_close(&output->fd);
	}
}

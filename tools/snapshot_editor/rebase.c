/* SPDX-License-Identifier: Apache-2.0 */
/* Merges a layer into its base, extent by extent. The sentences are Firecracker's [compat]. */
#include "tools/snapshot_editor/rebase.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/lib/progress.h"
#include "tools/snapshot_editor/extents.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/persist/durable.h"
#include "vmm/persist/memory_lock.h"

enum {
	STEP = 16 * 1024 * 1024, /* bytes of one call, so that progress is seen */
	BUFFER_LEN = 1024 * 1024,
};

struct files {
	int base;
	int layer;
	uint64_t len;
	bool by_hand; /* these file systems do not copy among each other */
	uint8_t *buffer;
};

static int copy_by_hand(struct files *files, uint64_t at, uint64_t len, uint64_t *done,
			struct error *err)
{
	size_t part = (size_t)min_u64(len, BUFFER_LEN);

	if (files->buffer == NULL) {
		files->buffer = malloc(BUFFER_LEN);
	}
	if (files->buffer == NULL) {
		return error_sys(err, "Cannot allocate a buffer");
	}
	*done = part;
	return pread_full(files->layer, files->buffer, part, at, err) < 0
		       ? -1
		       : write_full(files->base, files->buffer, part, at, err);
}

/* Copies some of the bytes, and says how many. */
static int copy_some(struct files *files, uint64_t at, uint64_t len, uint64_t *done,
		     struct error *err)
{
	off_t from = (off_t)at;
	off_t to = (off_t)at;

	if (files->by_hand) {
		return copy_by_hand(files, at, len, done, err);
	}
	ssize_t put = copy_file_range(files->layer, &from, files->base, &to, min_u64(len, STEP), 0);

	if (put > 0) {
		*done = (uint64_t)put;
		return 0;
	}
	if (put < 0 && (errno == ENOSPC || errno == EIO || errno == EDQUOT || errno == EFBIG)) {
		return error_sys(err, "Failed to send the file");
	}
	/* A reason that is not real comes again when the bytes are read and written. */
	files->by_hand = true;
	*done = 0;
	return 0;
}

static int copy_extents(struct files *files, const struct extents *extents, struct error *err)
{
	struct progress progress;
	uint64_t copied = 0;
	int result = 0;

	progress_begin(&progress, "merging", extents->bytes);
	for (size_t i = 0; i < extents->count && result == 0; i++) {
		struct extent left = extents->items[i];

		while (left.start < left.end && result == 0) {
			uint64_t done = 0;

			result = copy_some(files, left.start, left.end - left.start, &done, err);
			left.start += done;
			copied += done;
			progress_set(&progress, copied);
		}
	}
	progress_end(&progress);
	return result;
}

static int open_files(struct files *files, const char *base, const char *layer, struct error *err)
{
	struct stat base_st;
	struct stat layer_st;

	files->base = open(base, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (files->base < 0 || fstat(files->base, &base_st) < 0) {
		return error_sys(err, "Could not open memory file");
	}
	files->layer = open(layer, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (files->layer < 0 || fstat(files->layer, &layer_st) < 0) {
		return error_sys(err, "Could not open diff file");
	}
	if (!S_ISREG(base_st.st_mode) || !S_ISREG(layer_st.st_mode)) {
		return error_set(err, ERR_BAD_REQUEST, "%s is no regular file",
				 S_ISREG(base_st.st_mode) ? layer : base);
	}
	if (fd_is_same_file(files->base, files->layer)) {
		return error_set(err, ERR_BAD_REQUEST, "%s and %s are one file", base, layer);
	}
	if (base_st.st_size != layer_st.st_size) {
		return error_set(err, ERR_BAD_REQUEST,
				 "%s has %lld bytes and %s has %lld: they are not of one machine, "
				 "so nothing was merged",
				 base, (long long)base_st.st_size, layer,
				 (long long)layer_st.st_size);
	}
	files->len = (uint64_t)layer_st.st_size;
	return memory_lock_begin(files->base, -1, base, err);
}

int rebase(const char *base, const char *layer, struct error *err)
{
	struct files files = {.base = -1, .layer = -1};
	struct extents extents = {0};
	int result = open_files(&files, base, layer, err);

	if (result == 0) {
		result = extents_find(files.layer, files.len, &extents, err);
	}
	if (result == 0) {
		result = copy_extents(&files, &extents, err);
	}
	if (result == 0) {
		result = durable_sync(files.base, base, err);
	}
	extents_destroy(&extents);
	free(files.buffer);
	fd_close(&files.layer);
	fd_close(&files.base);
	return result;
}

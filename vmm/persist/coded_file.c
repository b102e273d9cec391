/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes files of the codec. */
#include "vmm/persist/coded_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/persist/durable.h"

/* *bytes is the caller's to free, after a failure too. */
static int encode(const struct coded_file *file, void *thing, uint8_t **bytes, size_t *len,
		  struct error *err)
{
	struct codec codec;

	*bytes = malloc(CODEC_FILE_MAX); /* untouched pages cost nothing */
	if (*bytes == NULL) {
		return error_sys(err, "Cannot allocate the bytes of a file");
	}
	codec_save(&codec, &file->head, *bytes, CODEC_FILE_MAX);
	file->code(&codec, thing);
	return codec_finish(&codec, len, err);
}

int coded_file_write(const struct coded_file *file, const char *path, void *thing,
		     struct error *err)
{
	AUTO_FREE uint8_t *bytes = NULL;
	size_t len = 0;

	return encode(file, thing, &bytes, &len, err) < 0
		       ? -1
		       : durable_write(path, file->cannot_make, bytes, len, err);
}

int coded_file_fill(const struct coded_file *file, int fd, const char *name, void *thing,
		    struct error *err)
{
	AUTO_FREE uint8_t *bytes = NULL;
	size_t len = 0;

	return encode(file, thing, &bytes, &len, err) < 0 ? -1
							  : durable_fill(fd, name, bytes, len, err);
}

/* [compat] Clients look for the sentence, which has the path at its end. */
COLD static int cannot_open(const struct coded_file *file, const char *path, struct error *err)
{
	int sys = errno;

	error_set(err, ERR_HOST, "%s: %s (os error %d): %s", file->cannot_open, error_os_text(sys),
		  sys, path);
	err->sys = sys;
	return -1;
}

static int read_bytes(const struct coded_file *file, int fd, const char *path, uint8_t **bytes,
		      size_t *len, struct error *err)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		return cannot_open(file, path, err);
	}
	if (!S_ISREG(st.st_mode)) {
		return error_set(err, ERR_BAD_REQUEST, "%s: it is not a regular file: %s",
				 file->cannot_open, path);
	}
	if (st.st_size > CODEC_FILE_MAX) {
		return error_set(err, ERR_TOO_LARGE,
				 "%s: it has %lld bytes, more than the limit of %d",
				 file->cannot_load, (long long)st.st_size, CODEC_FILE_MAX);
	}
	*len = (size_t)st.st_size;
	*bytes = malloc(*len + 1);
	if (*bytes == NULL) {
		return error_sys(err, "Cannot allocate the bytes of %s", path);
	}
	return pread_full(fd, *bytes, *len, 0, err);
}

int coded_file_read(const struct coded_file *file, const char *path, void *thing, struct error *err)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return coded_file_read_from(file, fd, path, thing, err);
}

int coded_file_read_from(const struct coded_file *file, int fd, const char *path, void *thing,
			 struct error *err)
{
	AUTO_FREE uint8_t *bytes = NULL;
	struct codec codec;
	size_t len = 0;

	if (read_bytes(file, fd, path, &bytes, &len, err) < 0) {
		return -1;
	}
	codec_load(&codec, &file->head, bytes, len);
	file->code(&codec, thing);
	return codec_finish(&codec, NULL, err) < 0
		       ? error_wrap(err, "%s: %s", file->cannot_load, path)
		       : 0;
}

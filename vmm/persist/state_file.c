/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes a machine's state. */
#include "vmm/persist/state_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/virtio/classes.h"
#include "vmm/base/fd.h"
#include "vmm/persist/durable.h"
#include "vmm/version.h"

static struct codec_file this_file(void)
{
	return (struct codec_file){
		.magic = arch_state_magic, .format = STATE_FORMAT, .writer = SQUIB_VERSION};
}

int state_file_write(struct machine_state *state, const char *path, struct error *err)
{
	const struct codec_file file = this_file();
	AUTO_FREE uint8_t *bytes = malloc(CODEC_FILE_MAX); /* untouched pages cost nothing */
	struct codec codec;
	size_t len;

	if (bytes == NULL) {
		return error_sys(err, "Cannot allocate the state's bytes");
	}
	codec_save(&codec, &file, bytes, CODEC_FILE_MAX);
	machine_state_codec(&codec, state, virtio_class_of);
	return codec_finish(&codec, &len, err) < 0 ? -1 : durable_write(path, bytes, len, err);
}

int state_file_bytes(const char *path, uint8_t **bytes, size_t *len, struct error *err)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		return error_sys(err, "Failed to open snapshot file");
	}
	if (!S_ISREG(st.st_mode)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Failed to open snapshot file: it is not a regular file");
	}
	if (st.st_size > CODEC_FILE_MAX) {
		return error_set(err, ERR_TOO_LARGE,
				 "Failed to load snapshot state from file: it has %lld bytes, more "
				 "than the limit of %d",
				 (long long)st.st_size, CODEC_FILE_MAX);
	}
	*len = (size_t)st.st_size;
	*bytes = malloc(*len + 1);
	if (*bytes == NULL) {
		return error_sys(err, "Cannot allocate the state's bytes");
	}
	return pread_full(fd, *bytes, *len, 0, err);
}

int state_file_read(const char *path, struct machine_state *state, struct error *err)
{
	const struct codec_file file = this_file();
	AUTO_FREE uint8_t *bytes = NULL;
	struct codec codec;
	size_t len = 0;

	if (state_file_bytes(path, &bytes, &len, err) < 0) {
		return -1;
	}
	codec_load(&codec, &file, bytes, len);
	state->format = codec.format;
	machine_state_codec(&codec, state, virtio_class_of);
	if (codec_finish(&codec, NULL, err) < 0) {
		return error_wrap(err, "Failed to load snapshot state from file");
	}
	return 0;
}

void state_file_dump(struct machine_state *state, FILE *out)
{
	struct error ignored = {0};
	struct codec codec;

	codec_dump(&codec, out);
	machine_state_codec(&codec, state, virtio_class_of);
	(void)!codec_finish(&codec, NULL, &ignored);
}

int state_file_dump_json(struct machine_state *state, FILE *out, struct error *err)
{
	struct codec codec;

	codec_dump_json(&codec, state->format, out);
	machine_state_codec(&codec, state, virtio_class_of);
	return codec_finish(&codec, NULL, err);
}

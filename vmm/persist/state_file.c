/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes a machine's state. */
#include "vmm/persist/state_file.h"

#include "devices/virtio/classes.h"
#include "vmm/persist/coded_file.h"
#include "vmm/version.h"

const char state_file_cannot_make[] = "Cannot perform open on the snapshot backing file";

static void code(struct codec *codec, void *state)
{
	struct machine_state *machine = state;

	if (codec->mode == CODEC_LOAD) {
		machine->format = codec->format;
	}
	machine_state_codec(codec, machine, virtio_class_of);
}

/* The sentences are Firecracker's [compat]. */
static struct coded_file this_file(void)
{
	return (struct coded_file){
		.head = {.magic = arch_state_magic,
			 .format = STATE_FORMAT,
			 .writer = SQUIB_VERSION},
		.code = code,
		.cannot_make = state_file_cannot_make,
		.cannot_open = "Failed to open snapshot file",
		.cannot_load = "Failed to load snapshot state from file",
	};
}

int state_file_write(struct machine_state *state, const char *path, struct error *err)
{
	const struct coded_file file = this_file();

	return coded_file_write(&file, path, state, err);
}

int state_file_fill(struct machine_state *state, int fd, const char *name, struct error *err)
{
	const struct coded_file file = this_file();

	return coded_file_fill(&file, fd, name, state, err);
}

int state_file_read_from(int fd, const char *name, struct machine_state *state, struct error *err)
{
	const struct coded_file file = this_file();

	return coded_file_read_from(&file, fd, name, state, err);
}

int state_file_read(const char *path, struct machine_state *state, struct error *err)
{
	const struct coded_file file = this_file();

	return coded_file_read(&file, path, state, err);
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

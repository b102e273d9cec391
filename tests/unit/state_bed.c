/* SPDX-License-Identifier: Apache-2.0 */
/* Moves a driver from one virtio device to another. */
#include "tests/unit/state_bed.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/crc64.h"

enum {
	CRC_LEN = 8
};

const struct codec_file state_file = {.magic = 0x5371756962, .format = 1, .writer = "test"};

static const struct virtio_class *found;

static const struct virtio_class *find(uint32_t type)
{
	return found != NULL && (uint32_t)found->type == type ? found : NULL;
}

static void code(struct state_bed *bed, struct codec *codec, struct virtio_state *state,
		 struct virtio_mmio_state *mmio)
{
	found = bed->class;
	virtio_mmio_state_codec(codec, mmio);
	virtio_state_codec(codec, state, find);
}

static size_t write_file(struct state_bed *bed, struct vdriver *driver, uint8_t *file)
{
	struct virtio_state state;
	struct virtio_mmio_state mmio;
	struct codec codec;
	struct error err = {0};
	size_t len = 0;

	memset(&state, 0xa7, sizeof(state)); /* nothing is left as it was */
	virtio_save(driver->dev, &state);
	virtio_mmio_save(&driver->mmio, &mmio);
	codec_save(&codec, &state_file, file, STATE_FILE_LEN);
	code(bed, &codec, &state, &mmio);
	cr_assert(codec_finish(&codec, &len, &err) == 0, "%s", err.msg);
	return len;
}

void state_bed_take(struct state_bed *bed, struct vdriver *driver)
{
	struct error err = {0};

	vdriver_pause(driver);
	*bed = (struct state_bed){.class = driver->dev->class};
	bed->len = write_file(bed, driver, bed->file);
	cr_assert(state_bed_read(bed, &err) == 0, "%s", err.msg);
}

int state_bed_read(struct state_bed *bed, struct error *err)
{
	struct codec codec;

	bed->state = (struct virtio_state){0};
	bed->mmio = (struct virtio_mmio_state){0};
	store_le64(bed->file + bed->len - CRC_LEN, crc64(bed->file, bed->len - CRC_LEN));
	codec_load(&codec, &state_file, bed->file, bed->len);
	code(bed, &codec, &bed->state, &bed->mmio);
	return codec_finish(&codec, NULL, err);
}

int state_bed_load(struct state_bed *bed, struct vdriver *driver, struct virtio_dev *dev,
		   struct error *err)
{
	vdriver_plug(driver, dev);
	if (virtio_load(dev, &bed->state, err) < 0) {
		return -1;
	}
	return virtio_mmio_load(&driver->mmio, &bed->mmio, err);
}

void state_bed_give(struct state_bed *bed, struct vdriver *driver, struct virtio_dev *dev)
{
	struct error err = {0};

	cr_assert(state_bed_load(bed, driver, dev, &err) == 0, "%s", err.msg);
	vdriver_resume(driver);
}

void state_bed_dump(struct state_bed *bed, char *text, size_t cap)
{
	FILE *stream = fmemopen(text, cap, "w");
	struct codec codec;
	struct error err = {0};

	codec_dump(&codec, stream);
	code(bed, &codec, &bed->state, &bed->mmio);
	cr_assert(codec_finish(&codec, NULL, &err) == 0, "%s", err.msg);
	cr_assert(fclose(stream) == 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves a driver from one virtio device to another over the same guest memory, by way of a file, as
 * a machine that is saved and loaded:
 *
 *	static struct state_bed bed;
 *	state_bed_take(&bed, &driver);             // pauses the device and saves it
 *	x_free(x);                             // or vdriver_resume: the saved machine goes on
 *	x_new(vdriver_env(&driver), ..., &x, &err);
 *	state_bed_give(&bed, &driver, x_virtio(x)); // loads, and resumes
 */
#ifndef TESTS_UNIT_STATE_BED_H
#define TESTS_UNIT_STATE_BED_H

#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/core/mmio.h"
#include "devices/virtio/core/virtio_state.h"
#include "tests/lib/vdriver.h"
#include "vmm/base/codec.h"

enum {
	STATE_FILE_LEN = 16 * 1024
};

struct state_bed {
	const struct virtio_class *class;
	/* As read from the file. */
	struct virtio_state state;
	struct virtio_mmio_state mmio;
	uint8_t file[STATE_FILE_LEN];
	size_t len;
};

extern const struct codec_file state_file;

/* Pauses the device, saves it to a file, and reads that. */
void state_bed_take(struct state_bed *bed, struct vdriver *driver);

/* Reads bed->file again, which a test may have changed. */
int state_bed_read(struct state_bed *bed, struct error *err);

/* Gives the driver another device: asserts that it loads, and resumes it. */
void state_bed_give(struct state_bed *bed, struct vdriver *driver, struct virtio_dev *dev);

/* The same without the end: for a look before it resumes, or a load that fails. */
int state_bed_load(struct state_bed *bed, struct vdriver *driver, struct virtio_dev *dev,
		   struct error *err);

/* As text, at most `cap` bytes. */
void state_bed_dump(struct state_bed *bed, char *text, size_t cap);

#endif
